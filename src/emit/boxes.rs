//! The module of a model that makes boxes of its outputs.

use askama::Template;
use nest_detect::{BoxCoding, Decoder, Form, PriorMap, Rows, ScoreCoding, YoloForm, YoloMap};

use super::rust_text::{Expr, array, array_ref, atom, atoms, float, literal};
use super::view::OutputView;
use crate::detect::{self, Head};
use crate::diag::Diagnostic;
use crate::ir::float::Shape;
use crate::ir::program::Program;
use crate::units::Bytes;

/// `templates/model_detect.rs.j2`.
#[derive(Template)]
#[template(path = "model_detect.rs.j2")]
struct ModelDetect<'a> {
    name: &'a str,
    head: String,
    outputs: &'a [OutputView],
    imports: String,
    class_count: usize,
    classes: String,
    score: String,
    overlap: String,
    candidates: usize,
    items: Vec<String>,
    /// The outputs as a parameter, and its name.
    argument: &'static str,
    value: &'static str,
}

/// The head held against what a program computes.
///
/// # Errors
/// `E801` if it does not fit.
pub fn decoder(program: &Program, head: &Head) -> Result<detect::Decoder, Diagnostic> {
    let shape = |tensor| program.tensors[tensor].shape;
    let outputs: Vec<Shape> = program.outputs.iter().map(|&t| shape(t)).collect();
    head.fit(shape(program.input), &outputs)
}

/// Bytes of RAM that the bench image keeps for the boxes of a decoder.
pub fn box_bytes(decoder: &detect::Decoder) -> Bytes {
    Bytes((decoder.candidates() * size_of::<nest_detect::Detection>()) as u64)
}

/// The module's text.
pub(super) fn module(
    name: &str,
    head: &Head,
    decoder: &detect::Decoder,
    outputs: &[OutputView],
) -> String {
    let (imports, items) = decoder.with_device(constants);
    let names = head.classes.names();
    let lead = format!("pub static CLASSES: [&str; {}] = ", names.len());
    let (argument, value) = match outputs {
        [_] => ("output: &[i8; OUTPUT_LEN]", "output"),
        _ => ("outputs: Outputs<'_>", "outputs"),
    };
    super::text(&ModelDetect {
        name,
        head: super::rust_text::for_comment(&head.to_string()),
        outputs,
        imports: imports.join(", "),
        class_count: names.len(),
        classes: atoms(names.iter().map(|name| literal(name))).print(0, lead.len()),
        score: float(head.score),
        overlap: float(head.overlap),
        candidates: decoder.candidates(),
        items,
        argument,
        value,
    })
}

/// What the module imports, and the constants `FORM` and `ROWS` with those that they need.
fn constants(decoder: &Decoder<'_>) -> (Vec<&'static str>, Vec<String>) {
    let mut imports = vec!["Decoder", "Form", "Int8", "Rows"];
    let mut items = Vec::new();
    let mut item = |name: &str, ty: &str, value: Expr| {
        let lead = format!("const {name}: {ty} = ");
        items.push(format!("{lead}{};", value.print(0, lead.len())));
    };
    let form = match decoder.form {
        Form::Fastestdet(head) => {
            imports.push("Fastestdet");
            let value = vec![
                ("grid", atoms(head.grid)),
                ("classes", atom(head.classes)),
                ("unit", pair(head.unit)),
            ];
            item("HEAD", "Fastestdet", Expr::Struct("Fastestdet", value));
            atom("Form::Fastestdet(HEAD)")
        }
        Form::Ssd {
            head,
            boxes,
            priors,
        } => {
            imports.extend(["BoxCoding", "ScoreCoding", "Ssd"]);
            let value = vec![
                ("boxes", atom(box_coding(head.boxes))),
                ("scores", atom(score_coding(head.scores))),
                ("columns", atom(head.columns)),
                ("background", atom(head.background)),
            ];
            item("HEAD", "Ssd", Expr::Struct("Ssd", value));
            let of_form = match priors {
                [] => atom("&[]"),
                _ => {
                    imports.push("PriorMap");
                    let ty = format!("[PriorMap<'static>; {}]", priors.len());
                    item("PRIORS", &ty, array(priors.iter().map(prior_map)));
                    atom("&PRIORS")
                }
            };
            let fields = vec![
                ("head", atom("HEAD")),
                ("boxes", atom(boxes)),
                ("priors", of_form),
            ];
            Expr::Struct("Form::Ssd", fields)
        }
        Form::Yolo {
            form,
            classes,
            maps,
        } => {
            imports.extend(["YoloForm", "YoloMap"]);
            let ty = format!("[YoloMap<'static>; {}]", maps.len());
            item("MAPS", &ty, array(maps.iter().map(yolo_map)));
            let form = match form {
                YoloForm::V3 => "YoloForm::V3",
                YoloForm::V5 => "YoloForm::V5",
            };
            let fields = vec![
                ("form", atom(form)),
                ("classes", atom(classes)),
                ("maps", atom("&MAPS")),
            ];
            Expr::Struct("Form::Yolo", fields)
        }
    };
    item("FORM", "Form<'static>", form);
    let ty = format!("[Rows; {}]", decoder.outputs.len());
    item("ROWS", &ty, array(decoder.outputs.iter().map(rows)));
    imports.sort_unstable();
    (imports, items)
}

fn pair(values: [f32; 2]) -> Expr {
    atoms(values.map(float))
}

fn pairs(values: &[[f32; 2]]) -> Expr {
    array_ref(values.iter().map(|&value| pair(value)))
}

fn box_coding(coding: BoxCoding) -> String {
    match coding {
        BoxCoding::Corners => "BoxCoding::Corners".into(),
        BoxCoding::Centres => "BoxCoding::Centres".into(),
        BoxCoding::Priors([centre, extent]) => {
            format!("BoxCoding::Priors([{}, {}])", float(centre), float(extent))
        }
    }
}

fn score_coding(coding: ScoreCoding) -> &'static str {
    match coding {
        ScoreCoding::Plain => "ScoreCoding::Plain",
        ScoreCoding::Softmax => "ScoreCoding::Softmax",
        ScoreCoding::Sigmoid => "ScoreCoding::Sigmoid",
    }
}

fn prior_map(map: &PriorMap<'_>) -> Expr {
    Expr::Struct(
        "PriorMap",
        vec![
            ("grid", atoms(map.grid)),
            ("step", pair(map.step)),
            ("extents", pairs(map.extents)),
        ],
    )
}

fn yolo_map(map: &YoloMap<'_>) -> Expr {
    Expr::Struct(
        "YoloMap",
        vec![("grid", atoms(map.grid)), ("anchors", pairs(map.anchors))],
    )
}

fn rows(rows: &Rows) -> Expr {
    if *rows == Rows::pixels(rows.rows, rows.row) {
        return atom(format!("Rows::pixels({}, {})", rows.rows, rows.row));
    }
    Expr::Struct(
        "Rows",
        vec![
            ("runs", atom(rows.runs)),
            ("run", atom(rows.run)),
            ("rows", atom(rows.rows)),
            ("row", atom(rows.row)),
            ("column", atom(rows.column)),
        ],
    )
}
