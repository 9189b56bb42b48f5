//! NumPy arrays (format versions 1.0, 2.0 and 3.0), read without evaluating anything: the header's
//! dictionary is matched against the one form NumPy writes
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use std::path::Path;

use super::Raw;
use super::files::{Source, room};
use super::spec::{DataSpec, Layout};
use crate::data::Pixels;
use crate::diag::{
    DATA_EMPTY, DATA_FILE_SIZE, DATA_HEADER, DATA_LABEL_COUNT, DATA_LABEL_RANGE, DATA_NOT_FINITE,
    DATA_SPEC_KEY, Diagnostic, NPY_SHAPE, NPY_TYPE, Result,
};
use crate::ir::float::Shape;

/// The longest header accepted; NumPy's own limit is 10,000 characters.
const MAX_HEADER: usize = 65_536;

/// The most classes labels may name.
const MAX_CLASSES: i64 = 65_536;

/// Reads the images and, if named, their labels.
pub(super) fn read(spec: &DataSpec) -> Result<Raw> {
    let mut images = Array::open(&spec.path)?;
    let (held, shape) = images.image_shape(spec.layout.unwrap_or(Layout::Nchw))?;
    let labels = spec
        .labels
        .as_deref()
        .map(|path| read_labels(path, held))
        .transpose()?;
    let count = spec.limit.map_or(held, |limit| limit.min(held));
    let nhwc = spec.layout == Some(Layout::Nhwc);

    let pixels = if images.element == Element::U8 {
        let mut raw = room(&spec.path, count, shape)?;
        images.read_bytes(count * shape.len(), &mut raw)?;
        Pixels::U8(channel_major(raw, shape, nhwc))
    } else {
        refuse_preparation(spec, images.element)?;
        let mut values: Vec<f32> = room(&spec.path, count, shape)?;
        let mut bytes = Vec::new();
        images.read_bytes(count * shape.len() * images.element.size(), &mut bytes)?;
        let element = images.element;
        values.extend(bytes.chunks_exact(element.size()).map(|b| element.float(b)));
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Diagnostic::new(
                DATA_NOT_FINITE,
                spec.path.display().to_string(),
                format!(
                    "element {} of image {} is {}",
                    at % shape.len(),
                    at / shape.len(),
                    values[at]
                ),
                "write the array again with finite values only",
            )
            .into());
        }
        Pixels::F32(channel_major(values, shape, nhwc))
    };
    let (labels, class_count) = match labels {
        Some((mut labels, classes)) => {
            labels.truncate(count);
            (Some(labels), classes)
        }
        None => (None, 0),
    };
    Ok(Raw {
        shape,
        pixels,
        labels,
        class_count,
        boxes: None,
    })
}

/// Arrays that are not bytes are network inputs already; keys that would prepare them are refused
/// rather than ignored.
fn refuse_preparation(spec: &DataSpec, element: Element) -> Result<(), Diagnostic> {
    let given = [
        ("mean", spec.mean.is_some()),
        ("std", spec.std.is_some()),
        ("scale", spec.scale.is_some()),
        ("order", spec.order.is_some()),
        ("resize", spec.resize.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((key, _)) => Err(Diagnostic::new(
            DATA_SPEC_KEY,
            spec.path.display().to_string(),
            format!(
                "the key `{key}` prepares raw pixels, and this array holds {}, taken as network inputs",
                element.name()
            ),
            format!("leave `{key}` out, or store the raw pixels as uint8"),
        )),
    }
}

/// Labels of `images` images and how many classes they name.
fn read_labels(path: &Path, images: usize) -> Result<(Vec<u32>, usize)> {
    let mut array = Array::open(path)?;
    if array.element.is_float() {
        return Err(Diagnostic::new(
            NPY_TYPE,
            path.display().to_string(),
            format!(
                "labels are {}, and integers are needed",
                array.element.name()
            ),
            "convert them, for example with labels.astype('int64')",
        )
        .into());
    }
    let [count] = array.extents[..] else {
        return Err(Diagnostic::new(
            NPY_SHAPE,
            path.display().to_string(),
            format!(
                "labels have {} axes, and one is needed",
                array.extents.len()
            ),
            "store one class number an image",
        )
        .into());
    };
    if count != images {
        return Err(Diagnostic::new(
            DATA_LABEL_COUNT,
            path.display().to_string(),
            format!("{count} labels for {images} images"),
            "take the images and the labels of one set",
        )
        .into());
    }
    let element = array.element;
    let mut bytes = Vec::new();
    array.read_bytes(count * element.size(), &mut bytes)?;
    let mut labels = Vec::with_capacity(count);
    for (i, b) in bytes.chunks_exact(element.size()).enumerate() {
        let label = element.integer(b);
        if !(0..MAX_CLASSES).contains(&label) {
            return Err(Diagnostic::new(
                DATA_LABEL_RANGE,
                path.display().to_string(),
                format!(
                    "label {i} is {label}; class numbers run from 0 to {}",
                    MAX_CLASSES - 1
                ),
                "number the classes from 0 on",
            )
            .into());
        }
        labels.push(label as u32);
    }
    let classes = labels.iter().max().map_or(0, |&l| l as usize + 1);
    Ok((labels, classes))
}

/// Turns each image from `h, w, c` to `c, h, w` if `nhwc`.
fn channel_major<T: Copy + Default>(data: Vec<T>, shape: Shape, nhwc: bool) -> Vec<T> {
    if !nhwc || shape.c == 1 {
        return data;
    }
    let mut out = vec![T::default(); data.len()];
    for (image, out) in data
        .chunks_exact(shape.len())
        .zip(out.chunks_exact_mut(shape.len()))
    {
        for (pixel, channels) in image.chunks_exact(shape.c).enumerate() {
            for (c, &value) in channels.iter().enumerate() {
                out[c * shape.pixels() + pixel] = value;
            }
        }
    }
    out
}

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    I64,
    F32,
    F64,
}

impl Element {
    /// From NumPy's type string, little-endian or of one byte.
    fn parse(descr: &str) -> Option<Self> {
        Some(match descr {
            "|u1" | "<u1" => Element::U8,
            "|i1" | "<i1" => Element::I8,
            "<u2" => Element::U16,
            "<i2" => Element::I16,
            "<u4" => Element::U32,
            "<i4" => Element::I32,
            "<i8" => Element::I64,
            "<f4" => Element::F32,
            "<f8" => Element::F64,
            _ => return None,
        })
    }
    fn name(self) -> &'static str {
        match self {
            Element::U8 => "uint8",
            Element::I8 => "int8",
            Element::U16 => "uint16",
            Element::I16 => "int16",
            Element::U32 => "uint32",
            Element::I32 => "int32",
            Element::I64 => "int64",
            Element::F32 => "float32",
            Element::F64 => "float64",
        }
    }
    fn size(self) -> usize {
        match self {
            Element::U8 | Element::I8 => 1,
            Element::U16 | Element::I16 => 2,
            Element::U32 | Element::I32 | Element::F32 => 4,
            Element::I64 | Element::F64 => 8,
        }
    }
    fn is_float(self) -> bool {
        matches!(self, Element::F32 | Element::F64)
    }
    /// The value of `size()` bytes, rounded to f32.
    fn float(self, b: &[u8]) -> f32 {
        match self {
            Element::F32 => f32::from_le_bytes(array(b)),
            Element::F64 => f64::from_le_bytes(array(b)) as f32,
            _ => self.integer(b) as f32,
        }
    }
    /// The value of `size()` bytes; 0 for the float types.
    fn integer(self, b: &[u8]) -> i64 {
        match self {
            Element::U8 => i64::from(b[0]),
            Element::I8 => i64::from(b[0] as i8),
            Element::U16 => i64::from(u16::from_le_bytes(array(b))),
            Element::I16 => i64::from(i16::from_le_bytes(array(b))),
            Element::U32 => i64::from(u32::from_le_bytes(array(b))),
            Element::I32 => i64::from(i32::from_le_bytes(array(b))),
            Element::I64 => i64::from_le_bytes(array(b)),
            Element::F32 | Element::F64 => 0,
        }
    }
}

/// The first `N` bytes of a chunk that has them.
fn array<const N: usize>(b: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| b[i])
}

/// An array whose header has been checked against the file's length.
struct Array {
    source: Source,
    element: Element,
    extents: Vec<usize>,
    data_start: u64,
}

impl Array {
    fn open(path: &Path) -> Result<Self, Diagnostic> {
        let mut source = Source::open(path)?;
        let place = path.display().to_string();
        let header = |message: String| {
            Diagnostic::new(
                DATA_HEADER,
                place.clone(),
                message,
                "write the array with numpy.save",
            )
        };
        let mut start = Vec::new();
        source.read(0, source.len.min(12) as usize, &mut start)?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err(header(
                "the file does not begin with NumPy's magic number \\x93NUMPY".into(),
            ));
        }
        let (header_start, header_len) = match start[6..] {
            [1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
            [2 | 3, _, a, b, c, d] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
            [version, ..] if source.len >= 12 => {
                return Err(header(format!(
                    "the format version is {version}; versions 1, 2 and 3 are read"
                )));
            }
            _ => {
                return Err(header(format!(
                    "the file ends after {} bytes, inside its header",
                    source.len
                )));
            }
        };
        let data_start = header_start + header_len as u64;
        if header_len > MAX_HEADER || data_start > source.len {
            return Err(header(format!(
                "the header is declared as {header_len} bytes; the file has {} and {MAX_HEADER} are the limit",
                source.len
            )));
        }
        let mut text = Vec::new();
        source.read(header_start, header_len, &mut text)?;
        let text = String::from_utf8_lossy(&text);
        let descr = quoted(&text, "descr")
            .ok_or_else(|| header("the header has no `descr` of one simple type".into()))?;
        let element = Element::parse(descr).ok_or_else(|| {
            Diagnostic::new(
                NPY_TYPE,
                place.clone(),
                format!(
                    "elements are of type `{descr}`; uint8, int8, uint16, int16, uint32, int32, int64, float32 and float64 in little-endian order are read"
                ),
                "convert the array, for example with x.astype('float32')",
            )
        })?;
        match after_key(&text, "fortran_order") {
            Some(rest) if rest.starts_with("False") => {}
            Some(rest) if rest.starts_with("True") => {
                return Err(Diagnostic::new(
                    NPY_SHAPE,
                    place,
                    "the array is in column-major order, and row-major order is read",
                    "save numpy.ascontiguousarray(x)",
                ));
            }
            _ => return Err(header("the header has no `fortran_order`".into())),
        }
        let extents =
            extents(&text).ok_or_else(|| header("the header has no valid `shape`".into()))?;
        let bytes = extents
            .iter()
            .try_fold(element.size() as u64, |n, &e| n.checked_mul(e as u64))
            .and_then(|n| n.checked_add(data_start));
        if bytes != Some(source.len) {
            return Err(Diagnostic::new(
                DATA_FILE_SIZE,
                place,
                format!(
                    "shape {extents:?} of {} needs a file of {} bytes; the file has {}",
                    element.name(),
                    bytes.map_or("more than 2^64".into(), |n| n.to_string()),
                    source.len
                ),
                "the file is cut short: write it again",
            ));
        }
        Ok(Self {
            source,
            element,
            extents,
            data_start,
        })
    }

    /// How many images there are and their extent.
    fn image_shape(&self, layout: Layout) -> Result<(usize, Shape), Diagnostic> {
        let (count, shape) = match (&self.extents[..], layout) {
            (&[n, c, h, w], Layout::Nchw) => (n, Shape::map(c, h, w)),
            (&[n, h, w, c], Layout::Nhwc) => (n, Shape::map(c, h, w)),
            (&[n, c, l], Layout::Ncl) => (n, Shape::map(c, l, 1)),
            (&[n, h, w], _) => (n, Shape::map(1, h, w)),
            (&[n, c], _) => (n, Shape::vector(c)),
            _ => {
                return Err(Diagnostic::new(
                    NPY_SHAPE,
                    self.source.path.display().to_string(),
                    format!(
                        "the array has {} axes; images need 4, grey images 3, vectors 2",
                        self.extents.len()
                    ),
                    "save one array of all images, the image number first",
                ));
            }
        };
        if count == 0 || shape.is_empty() {
            return Err(Diagnostic::new(
                DATA_EMPTY,
                self.source.path.display().to_string(),
                format!("the array holds {count} images of {shape}"),
                "save an array that holds images",
            ));
        }
        Ok((count, shape))
    }

    /// Appends the first `count` bytes of the elements.
    fn read_bytes(&mut self, count: usize, out: &mut Vec<u8>) -> Result<(), Diagnostic> {
        self.source.read(self.data_start, count, out)
    }
}

/// What follows `'key':` in the header's dictionary.
fn after_key<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// The string value of `key`.
fn quoted<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let rest = after_key(header, key)?.strip_prefix('\'')?;
    rest.split_once('\'').map(|(value, _)| value)
}

/// The tuple value of `shape`.
fn extents(header: &str) -> Option<Vec<usize>> {
    let rest = after_key(header, "shape")?.strip_prefix('(')?;
    let (inside, _) = rest.split_once(')')?;
    inside
        .split(',')
        .map(str::trim)
        .filter(|x| !x.is_empty())
        .map(|x| x.parse().ok())
        .collect()
}
