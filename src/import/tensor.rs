//! Constants: a `TensorProto`, in whichever of its forms, as extents and elements.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::proto::{EXTERNAL, TensorProto, data_type};
use crate::diag::{self, Diagnostic};

pub use crate::ir::verify::MAX_ELEMENTS;

/// Elements of a constant. Every float type is widened or rounded to `f32`, every integer type and
/// the truth values to `i64`.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Floats.
    Float(Vec<f32>),
    /// Integers.
    Int(Vec<i64>),
}

impl Elements {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Elements::Float(v) => v.len(),
            Elements::Int(v) => v.len(),
        }
    }
}

/// A constant tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Extents; a scalar has none.
    pub dims: Vec<usize>,
    /// Elements.
    pub elements: Elements,
}

impl Constant {
    /// A vector of integers.
    pub fn ints(values: Vec<i64>) -> Self {
        Self {
            dims: vec![values.len()],
            elements: Elements::Int(values),
        }
    }
    /// The floats, if it holds floats.
    pub fn floats(&self) -> Option<&[f32]> {
        match &self.elements {
            Elements::Float(v) => Some(v),
            Elements::Int(_) => None,
        }
    }
    /// The integers, if it holds integers.
    pub fn integers(&self) -> Option<&[i64]> {
        match &self.elements {
            Elements::Int(v) => Some(v),
            Elements::Float(_) => None,
        }
    }
    /// `[16, 3, 3, 3]`.
    pub fn extents(&self) -> String {
        format!("{:?}", self.dims)
    }
}

/// Most elements of a stored tensor, which the file itself must hold. Fully connected layers of large
/// classifiers (VGG: 103 million weights) are beyond what a value may have.
const MAX_STORED: usize = 1 << 27;

/// The product of extents, if it stays within [`MAX_ELEMENTS`].
pub fn element_count(dims: &[usize]) -> Option<usize> {
    product(dims, MAX_ELEMENTS)
}

/// The product of extents, if it stays within `most`.
fn product(dims: &[usize], most: usize) -> Option<usize> {
    // A zero anywhere must not hide an overflow before it.
    let mut count = 1usize;
    let mut empty = false;
    for &d in dims {
        if d == 0 {
            empty = true;
        } else {
            count = count.checked_mul(d).filter(|&n| n <= most)?;
        }
    }
    Some(if empty { 0 } else { count })
}

/// Bytes of one element in `raw_data` and in external files, for the types nestc reads.
fn element_bytes(code: i32) -> Option<usize> {
    use data_type::*;
    Some(match code {
        UINT8 | INT8 | BOOL => 1,
        UINT16 | INT16 | FLOAT16 | BFLOAT16 => 2,
        FLOAT | INT32 | UINT32 => 4,
        DOUBLE | INT64 | UINT64 => 8,
        _ => return None,
    })
}

/// Reads constants; external ones from the model's folder.
#[derive(Debug)]
pub struct TensorReader {
    folder: PathBuf,
}

impl TensorReader {
    /// For a model in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The constant, or what is wrong with it. `place` names it in the finding.
    pub fn read(&self, tensor: &TensorProto, place: &str) -> Result<Constant, Diagnostic> {
        let code = tensor.data_type;
        let Some(width) = element_bytes(code) else {
            return Err(Diagnostic::new(
                diag::TENSOR_TYPE,
                place,
                format!("elements of type {}", data_type::name(code)),
                "store the constant as FLOAT (weights) or INT64 (shapes and indices)",
            ));
        };
        let dims = extents(tensor, place)?;
        let Some(count) = product(&dims, MAX_STORED) else {
            return Err(Diagnostic::new(
                diag::TENSOR_SIZE,
                place,
                format!("extents {dims:?} exceed {MAX_STORED} elements"),
                "the file is damaged, or the network is far beyond a microcontroller",
            ));
        };
        if tensor.segment.is_some() {
            return Err(Diagnostic::new(
                diag::TENSOR_SIZE,
                place,
                "the tensor is stored in segments",
                "save the model again with current onnx, which writes tensors whole",
            ));
        }
        let elements = if tensor.data_location == EXTERNAL {
            let raw = self.external(tensor, count * width, place)?;
            from_raw(code, &raw)
        } else if let Some(raw) = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty()) {
            if raw.len() != count * width {
                let found = format!("{} bytes", raw.len());
                return Err(size_mismatch(place, code, &dims, count, &found));
            }
            from_raw(code, raw)
        } else {
            let elements = from_typed(tensor);
            if elements.len() != count {
                let found = format!("{} elements", elements.len());
                return Err(size_mismatch(place, code, &dims, count, &found));
            }
            elements
        };
        Ok(Constant { dims, elements })
    }

    /// The bytes of a tensor stored in another file.
    fn external(
        &self,
        tensor: &TensorProto,
        need: usize,
        place: &str,
    ) -> Result<Vec<u8>, Diagnostic> {
        let entry = |key: &str| {
            (tensor.external_data.iter())
                .find(|e| e.key == key)
                .map(|e| e.value.as_str())
        };
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
                Diagnostic::new(
                    diag::EXTERNAL_DATA,
                    place,
                    format!("external data: {key} is '{text}', not a number of bytes"),
                    "save the model and its external data again",
                )
            }),
        };
        let Some(location) = entry("location").filter(|l| !l.is_empty()) else {
            return Err(Diagnostic::new(
                diag::EXTERNAL_DATA,
                place,
                "external data without a location",
                "save the model again with its weights inside (onnx.save with save_as_external_data=False)",
            ));
        };
        let offset = number("offset")?.unwrap_or(0);
        if let Some(length) = number("length")?.filter(|&n| n != need as u64) {
            return Err(Diagnostic::new(
                diag::EXTERNAL_DATA,
                place,
                format!("external data of {length} bytes for a tensor of {need} bytes"),
                "save the model and its external data again",
            ));
        }
        let path = self.inside_folder(location, place)?;
        let missing = |error: std::io::Error| {
            Diagnostic::new(
                diag::EXTERNAL_DATA,
                place,
                format!("external data file '{location}' cannot be read: {error}"),
                format!("put '{location}' beside the model, as its exporter wrote it"),
            )
        };
        let mut file = File::open(&path).map_err(missing)?;
        let meta = file.metadata().map_err(missing)?;
        if !meta.is_file() {
            return Err(missing(std::io::Error::other("it is not a file")));
        }
        let end = offset.checked_add(need as u64);
        if end.is_none_or(|end| end > meta.len()) {
            return Err(Diagnostic::new(
                diag::EXTERNAL_DATA,
                place,
                format!(
                    "external data file '{location}' has {} bytes, the tensor needs {need} from byte {offset} on",
                    meta.len()
                ),
                "the data file is cut short or belongs to another model: copy both again",
            ));
        }
        file.seek(SeekFrom::Start(offset)).map_err(missing)?;
        let mut raw = vec![0; need];
        file.read_exact(&mut raw).map_err(missing)?;
        Ok(raw)
    }

    /// The path of an external file, which must lie in the model's folder (also after following
    /// links): a model must not be a way to read arbitrary files.
    fn inside_folder(&self, location: &str, place: &str) -> Result<PathBuf, Diagnostic> {
        let refuse = || {
            Diagnostic::new(
                diag::EXTERNAL_OUTSIDE,
                place,
                format!("external data file '{location}' is outside the model's folder"),
                "keep external data beside the model and name them by a plain relative path",
            )
        };
        let relative = Path::new(location);
        let plain = relative
            .components()
            .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !plain || location.contains(['\\', '\0']) {
            return Err(refuse());
        }
        let path = self.folder.join(relative);
        // A path that cannot be resolved does not exist; opening it reports that.
        if let (Ok(real), Ok(folder)) = (path.canonicalize(), self.folder.canonicalize())
            && !real.starts_with(folder)
        {
            return Err(refuse());
        }
        Ok(path)
    }
}

/// The extents as `usize`, none negative.
fn extents(tensor: &TensorProto, place: &str) -> Result<Vec<usize>, Diagnostic> {
    tensor
        .dims
        .iter()
        .map(|&d| usize::try_from(d))
        .collect::<Result<_, _>>()
        .map_err(|_| {
            Diagnostic::new(
                diag::TENSOR_SIZE,
                place,
                format!("negative extent in {:?}", tensor.dims),
                "the file is damaged: export the model again",
            )
        })
}

fn size_mismatch(place: &str, code: i32, dims: &[usize], count: usize, found: &str) -> Diagnostic {
    Diagnostic::new(
        diag::TENSOR_SIZE,
        place,
        format!(
            "extents {dims:?} of {} need {count} elements, the file holds {found}",
            data_type::name(code)
        ),
        "the file is damaged or was edited by hand: export the model again",
    )
}

/// Elements from little-endian bytes; the caller has checked type and length.
fn from_raw(code: i32, raw: &[u8]) -> Elements {
    use data_type::*;
    fn each<const N: usize, T>(raw: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = raw.as_chunks::<N>();
        chunks.iter().map(|&bytes| f(bytes)).collect()
    }
    match code {
        FLOAT => Elements::Float(each(raw, f32::from_le_bytes)),
        DOUBLE => Elements::Float(each(raw, |b| f64::from_le_bytes(b) as f32)),
        FLOAT16 => Elements::Float(each(raw, |b| half_to_f32(u16::from_le_bytes(b)))),
        BFLOAT16 => Elements::Float(each(raw, |b| bfloat_to_f32(u16::from_le_bytes(b)))),
        INT8 => Elements::Int(each(raw, |b| i8::from_le_bytes(b).into())),
        INT16 => Elements::Int(each(raw, |b| i16::from_le_bytes(b).into())),
        UINT16 => Elements::Int(each(raw, |b| u16::from_le_bytes(b).into())),
        INT32 => Elements::Int(each(raw, |b| i32::from_le_bytes(b).into())),
        UINT32 => Elements::Int(each(raw, |b| u32::from_le_bytes(b).into())),
        INT64 => Elements::Int(each(raw, i64::from_le_bytes)),
        UINT64 => Elements::Int(each(raw, |b| saturate(u64::from_le_bytes(b)))),
        _ => Elements::Int(raw.iter().map(|&b| b.into()).collect()),
    }
}

/// Elements from the typed fields; the caller has checked the type.
fn from_typed(tensor: &TensorProto) -> Elements {
    use data_type::*;
    let bits = |v: &i32| *v as u16;
    match tensor.data_type {
        FLOAT => Elements::Float(tensor.float_data.clone()),
        DOUBLE => Elements::Float(tensor.double_data.iter().map(|&v| v as f32).collect()),
        FLOAT16 => Elements::Float(
            (tensor.int32_data.iter().map(bits))
                .map(half_to_f32)
                .collect(),
        ),
        BFLOAT16 => Elements::Float(
            (tensor.int32_data.iter().map(bits))
                .map(bfloat_to_f32)
                .collect(),
        ),
        INT64 => Elements::Int(tensor.int64_data.clone()),
        UINT32 | UINT64 => {
            Elements::Int(tensor.uint64_data.iter().copied().map(saturate).collect())
        }
        _ => Elements::Int(tensor.int32_data.iter().map(|&v| v.into()).collect()),
    }
}

/// Unsigned values beyond `i64` are only ever "no limit".
fn saturate(v: u64) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}

/// The upper half of an `f32` as that `f32`.
fn bfloat_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// IEEE 754 binary16 as `f32`; every value is exact.
fn half_to_f32(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_edges() {
        let cases = [
            (0x0000, 0.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3c00, 1.0),
            (0x3555, 0.333_251_95),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(half_to_f32(bits), value, "{bits:#06x}");
        }
        assert!(half_to_f32(0x7e00).is_nan());
        assert_eq!(bfloat_to_f32(0x3f80), 1.0);
        assert_eq!(bfloat_to_f32(0xc049), -3.140_625);
    }

    #[test]
    fn element_count_has_no_overflow() {
        assert_eq!(element_count(&[]), Some(1));
        assert_eq!(element_count(&[1 << 24]), Some(1 << 24));
        assert_eq!(element_count(&[(1 << 24) + 1]), None);
        assert_eq!(element_count(&[usize::MAX, usize::MAX]), None);
        assert_eq!(element_count(&[usize::MAX, 0]), None);
        assert_eq!(element_count(&[7, 0]), Some(0));
    }

    #[test]
    fn every_storage_form_reads_the_same() {
        let reader = TensorReader::new(Path::new("."));
        let base = TensorProto {
            dims: vec![2],
            data_type: data_type::FLOAT,
            ..TensorProto::default()
        };
        let forms = [
            TensorProto {
                float_data: vec![1.5, -2.0],
                ..base.clone()
            },
            TensorProto {
                raw_data: Some([1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()),
                ..base.clone()
            },
            TensorProto {
                data_type: data_type::DOUBLE,
                double_data: vec![1.5, -2.0],
                ..base.clone()
            },
            TensorProto {
                data_type: data_type::FLOAT16,
                int32_data: vec![0x3e00, 0xc000],
                ..base.clone()
            },
            TensorProto {
                data_type: data_type::BFLOAT16,
                raw_data: Some(vec![0xc0, 0x3f, 0x00, 0xc0]),
                ..base
            },
        ];
        for form in forms {
            let constant = reader.read(&form, "t").expect("readable");
            assert_eq!(constant.floats(), Some(&[1.5, -2.0][..]), "{form:?}");
        }
    }
}
