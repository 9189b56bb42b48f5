//! `program.bin`: a program as bytes, so that a folder can be measured without its model.
//!
//! Layout: 8 bytes magic, version (u32), SHA-256 of the rest, then every field in order. Integers
//! are little-endian, sequences have their length (u32) in front.

use nest_format::{AddParams, ProductParams, Requant};
use nest_kernels::layer::{Geometry, Tile};
use sha2::{Digest, Sha256};

use crate::diag::{Diagnostic, PROGRAM_FILE};
use crate::ir::float::Shape;
use crate::ir::ids::{Id, IdVec, LayerId, TensorId};
use crate::ir::int::{IntBinary, IntMove, IntNest, Quant};
use crate::ir::nested::{ChannelOrder, Preprocessing};
use crate::ir::program::{
    Candidate, EncodedBlocks, EncodedCompact, EncodedStream, Patches, Payload, PlacedTensor,
    Program, Step,
};
use crate::units::{Bytes, Cycles, Macs};

const MAGIC: &[u8; 8] = b"NESTPROG";
/// Version of the layout; it includes that of the weights.
const VERSION: u32 = 4 << 16 | nest_format::FORMAT_VERSION;
const HEAD: usize = 8 + 4 + 32;

/// The program as bytes.
pub fn write_program(program: &Program) -> Vec<u8> {
    let mut body = Vec::new();
    program.put(&mut body);
    let mut out = Vec::with_capacity(HEAD + body.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&Sha256::digest(&body));
    out.extend_from_slice(&body);
    out
}

/// The program that [`write_program`] wrote; `place` names the file.
///
/// # Errors
/// `E606` if the bytes are damaged or of another version.
pub fn read_program(place: &str, bytes: &[u8]) -> Result<Program, Diagnostic> {
    let fault =
        |message: String| Diagnostic::new(PROGRAM_FILE, place, message, "compile the model again");
    let (Some(magic), Some(version), Some(hash), Some(body)) = (
        bytes.get(..8),
        bytes.get(8..12),
        bytes.get(12..HEAD),
        bytes.get(HEAD..),
    ) else {
        return Err(fault(format!(
            "the file has {} bytes, and its head alone has {HEAD}",
            bytes.len()
        )));
    };
    if magic != MAGIC {
        return Err(fault("the file is no program of nestc".into()));
    }
    if version != VERSION.to_le_bytes() {
        return Err(fault(format!(
            "the file has version {:#x}, and this nestc reads {VERSION:#x}",
            u32::get(&mut Reader(version)).unwrap_or(0)
        )));
    }
    if hash != Sha256::digest(body).as_slice() {
        return Err(fault("the file's SHA-256 is not the one it states".into()));
    }
    let mut reader = Reader(body);
    match Program::get(&mut reader) {
        Some(program) if reader.0.is_empty() => Ok(program),
        _ => Err(fault("the file's fields do not add up".into())),
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
}

/// A value with a form in bytes.
trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(from: &mut Reader<'_>) -> Option<Self>;
}

macro_rules! numbers {
    ($($ty:ty)*) => {$(
        impl Field for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                from.take(size_of::<$ty>())?.try_into().ok().map(<$ty>::from_le_bytes)
            }
        }
    )*};
}
numbers!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

macro_rules! structs {
    ($($ty:ident { $($field:ident)* })*) => {$(
        impl Field for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                Some(Self { $($field: Field::get(from)?),* })
            }
        }
    )*};
}
structs! {
    Geometry { in_h in_w in_c out_h out_w out_c kernel_h kernel_w stride_h stride_w dilation_h dilation_w pad_top pad_left }
    AddParams { factor_a factor_b bias shift }
    ProductParams { zero_a zero_b zero multiplier }
    IntNest { from to loops }
    IntMove { nests tables }
    Shape { c h w }
    Quant { scale zero_point }
    Preprocessing { scale mean std order }
    EncodedStream { rows columns levels words prefix }
    EncodedBlocks { rows columns levels words steps prefix }
    EncodedCompact { rows columns wide gap_bits bytes }
    PlacedTensor { name shape quant offset part_of }
    Patches { layers stripes whole_arena again }
    Step { name op kernel payload same_as inputs output scratch_words scratch_offset macs live_macs effective_macs nonzero_weights weights model_channels weight_bytes index_bytes requant_bytes estimated_cycles candidates }
    Candidate { kernel refused cycles flash scratch_words }
    Program { name sparsities tensors steps input outputs arena_bytes fast_bytes arena_bound patches preprocessing }
}

macro_rules! enums {
    ($($ty:ident { $($tag:literal $variant:ident)* })*) => {$(
        impl Field for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self { $(Self::$variant => $tag),* });
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                match u8::get(from)? {
                    $($tag => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    )*};
}
enums! {
    Tile { 8 P8 4 P4 2 P2 }
    ChannelOrder { 0 Rgb 1 Bgr }
}

macro_rules! wrapped {
    ($($ty:ident)*) => {$(
        impl Field for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                Field::get(from).map(Self)
            }
        }
    )*};
}
wrapped!(Bytes Cycles Macs);

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        match u8::get(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Field for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        u64::get(from)?.try_into().ok()
    }
}

macro_rules! ids {
    ($($ty:ident)*) => {$(
        impl Field for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                self.index().put(out);
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                usize::get(from).map($ty::from_index)
            }
        }
    )*};
}
ids!(TensorId LayerId);

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for item in self {
            item.put(out);
        }
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        let count = u32::get(from)? as usize;
        // Every item takes a byte or more: a damaged count allocates nothing big.
        if count > from.0.len() {
            return None;
        }
        (0..count).map(|_| T::get(from)).collect()
    }
}

impl<I: Id, T: Field> Field for IdVec<I, T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for item in self {
            item.put(out);
        }
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        Vec::get(from).map(|items: Vec<T>| items.into_iter().collect())
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn put(&self, out: &mut Vec<u8>) {
        for item in self {
            item.put(out);
        }
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        let items: Option<Vec<T>> = (0..N).map(|_| T::get(from)).collect();
        items?.try_into().ok()
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        if bool::get(from)? {
            T::get(from).map(Some)
        } else {
            Some(None)
        }
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        let count = u32::get(from)? as usize;
        String::from_utf8(from.take(count)?.to_vec()).ok()
    }
}

/// Operators and kernels: only names of the kernel table are read.
impl Field for &'static str {
    fn put(&self, out: &mut Vec<u8>) {
        self.to_string().put(out);
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        let name = String::get(from)?;
        nest_kernels::KERNELS
            .iter()
            .flat_map(|row| [row.op, row.name])
            .find(|known| *known == name)
    }
}

impl Field for Requant {
    fn put(&self, out: &mut Vec<u8>) {
        self.bias.put(out);
        self.multiplier.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Option<Self> {
        Some(Requant::new(Field::get(from)?, Field::get(from)?))
    }
}

macro_rules! variants {
    ($ty:ident { $($tag:literal $variant:ident)* }) => {
        impl Field for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($ty::$variant(inner) => {
                        out.push($tag);
                        inner.put(out);
                    })*
                }
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                Some(match u8::get(from)? {
                    $($tag => $ty::$variant(Field::get(from)?),)*
                    _ => return None,
                })
            }
        }
    };
}
variants!(IntBinary { 0 Sum 1 Product 2 Least 3 Largest });

macro_rules! payloads {
    ($($tag:literal $variant:ident { $($field:ident)* })* ; $($tuple_tag:literal $tuple:ident)*) => {
        impl Field for Payload {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Payload::$variant { $($field),* } => {
                        out.push($tag);
                        $($field.put(out);)*
                    })*
                    $(Payload::$tuple(inner) => {
                        out.push($tuple_tag);
                        inner.put(out);
                    })*
                }
            }
            fn get(from: &mut Reader<'_>) -> Option<Self> {
                Some(match u8::get(from)? {
                    $($tag => Payload::$variant { $($field: Field::get(from)?),* },)*
                    $($tuple_tag => Payload::$tuple(Field::get(from)?),)*
                    _ => return None,
                })
            }
        }
    };
}
payloads! {
    1 ConvNested { geometry stream requant pad tile pass_tiles }
    16 ConvBlock { geometry blocks requant pad pass_tiles }
    15 ConvCompact { geometry compact requant pad tile pass_tiles buffer_words }
    2 ConvDense { geometry columns words requant pad pass_tiles }
    3 ConvGeneric { geometry groups weights requant pad }
    4 Depthwise { geometry weights requant pad }
    5 DenseNested { stream requant }
    6 FullyConnected { weights columns requant }
    7 AvgPool { geometry count_include_pad pad requant }
    8 GlobalAvgPool { pixels channels requant }
    9 Pad { input before output value }
    14 Softmax { channels table }
    17 Binary { operation a b output constant }
    18 PRelu { zero params }
    19 Resize { input rows columns };
    10 Add
    11 MaxPool
    12 Clamp
    20 Lookup
    21 Move
}
