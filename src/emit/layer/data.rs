//! The constants of a layer as Rust.

use nest_format::{AddParams, ProductParams, Requant};
use nest_kernels::layer::{Geometry, Tile};

use crate::emit::rust_text::{Expr, array, array_ref, atom, atoms, static_item};
use crate::ir::int::{IntNest, RequantTable};
use crate::ir::program::EncodedStream;

pub(super) fn geometry(g: &Geometry) -> Expr {
    Expr::Struct(
        "Geometry",
        vec![
            ("in_h", atom(g.in_h)),
            ("in_w", atom(g.in_w)),
            ("in_c", atom(g.in_c)),
            ("out_h", atom(g.out_h)),
            ("out_w", atom(g.out_w)),
            ("out_c", atom(g.out_c)),
            ("kernel_h", atom(g.kernel_h)),
            ("kernel_w", atom(g.kernel_w)),
            ("stride_h", atom(g.stride_h)),
            ("stride_w", atom(g.stride_w)),
            ("dilation_h", atom(g.dilation_h)),
            ("dilation_w", atom(g.dilation_w)),
            ("pad_top", atom(g.pad_top)),
            ("pad_left", atom(g.pad_left)),
        ],
    )
}

pub(super) fn requant_atom(r: &Requant) -> Expr {
    atom(format!("Requant::new({}, {})", r.bias, r.multiplier))
}

/// The static `REQUANT`, and the reference to it that a layer holds.
pub(super) fn requant(table: &RequantTable) -> (String, Expr) {
    let rows = table.first().map_or(0, Vec::len);
    let item = static_item(
        "REQUANT",
        &format!("[[Requant; {rows}]; {}]", table.len()),
        &array(
            table
                .iter()
                .map(|level| array(level.iter().map(requant_atom))),
        ),
    );
    let reference = array_ref((0..table.len()).map(|level| atom(format!("&REQUANT[{level}]"))));
    (item, reference)
}

/// A static of 32-bit words in hexadecimal.
pub(super) fn words(name: &str, words: &[u32]) -> String {
    static_item(
        name,
        &format!("[u32; {}]", words.len()),
        &array(words.iter().map(|w| atom(format!("{w:#010x}")))),
    )
}

pub(super) fn numbers<T: ToString>(name: &str, ty: &str, items: &[T]) -> String {
    static_item(
        name,
        &format!("[{ty}; {}]", items.len()),
        &atoms(items.iter().map(ToString::to_string)),
    )
}

pub(super) fn per_level(items: &[i8]) -> Expr {
    array_ref(items.iter().map(atom))
}

/// The stream's statics and the field that holds it.
pub(super) fn stream(s: &EncodedStream, data: &mut Vec<String>) -> Expr {
    let (ty, constructor) = match s.count_bytes() {
        1 => ("u8", "narrow"),
        _ => ("u16", "new"),
    };
    data.push(numbers("PREFIX", ty, &s.prefix));
    data.push(words("STREAM", &s.words));
    atom(format!(
        "NestedStream::{constructor}({}, {}, {}, &STREAM, &PREFIX)",
        s.rows, s.columns, s.levels
    ))
}

pub(super) fn extent(e: [u16; 3]) -> Expr {
    atoms(e)
}

pub(super) fn tile_atom(tile: Tile) -> Expr {
    atom(match tile {
        Tile::P8 => "Tile::P8",
        Tile::P4 => "Tile::P4",
        Tile::P2 => "Tile::P2",
    })
}

/// The static of one table of bytes a level.
pub(super) fn tables(name: &str, tables: &[[i8; 256]]) -> String {
    static_item(
        name,
        &format!("[[i8; 256]; {}]", tables.len()),
        &array(tables.iter().map(atoms)),
    )
}

pub(super) fn sum(p: &AddParams) -> Expr {
    Expr::Struct(
        "AddParams",
        vec![
            ("factor_a", atom(p.factor_a)),
            ("factor_b", atom(p.factor_b)),
            ("bias", atom(p.bias)),
            ("shift", atom(p.shift)),
        ],
    )
}

pub(super) fn product(p: &ProductParams) -> Expr {
    Expr::Struct(
        "ProductParams",
        vec![
            ("zero_a", atom(p.zero_a)),
            ("zero_b", atom(p.zero_b)),
            ("zero", atom(p.zero)),
            ("multiplier", atom(p.multiplier)),
        ],
    )
}

pub(super) fn nest(nest: &IntNest) -> Expr {
    Expr::Struct(
        "Nest",
        vec![
            ("from", atom(nest.from)),
            ("to", atom(nest.to)),
            ("loops", array_ref(nest.loops.iter().map(atoms))),
        ],
    )
}
