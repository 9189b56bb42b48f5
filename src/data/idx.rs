//! MNIST's IDX files, uncompressed: a magic number, big-endian extents, then unsigned bytes
//! (<http://yann.lecun.com/exdb/mnist/>).

use super::Raw;
use super::files::{Source, room};
use super::spec::{DataSpec, Split};
use crate::data::Pixels;
use crate::diag::{
    DATA_EMPTY, DATA_FILE_SIZE, DATA_HEADER, DATA_LABEL_COUNT, DATA_SPLIT_MISSING, Diagnostic,
    Result,
};
use crate::ir::float::Shape;

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

/// Reads the chosen split (`train` if none is chosen).
pub(super) fn read(spec: &DataSpec) -> Result<Raw> {
    let split = spec.split.unwrap_or(Split::Train);
    let stem = match split {
        Split::Train => "train",
        Split::Test => "t10k",
    };
    let (mut images, extents) = open::<3>(spec, split, &format!("{stem}-images"), IMAGES)?;
    let (mut label_file, [label_count]) =
        open::<1>(spec, split, &format!("{stem}-labels"), LABELS)?;
    let [held, h, w] = extents;
    if held != label_count {
        return Err(Diagnostic::new(
            DATA_LABEL_COUNT,
            label_file.path.display().to_string(),
            format!("{label_count} labels for {held} images"),
            "take the images and the labels of one set",
        )
        .into());
    }
    let count = spec.limit.map_or(held, |limit| limit.min(held));
    if count == 0 || h == 0 || w == 0 {
        return Err(Diagnostic::new(
            DATA_EMPTY,
            images.path.display().to_string(),
            format!("the file holds {held} images of {h}x{w}"),
            "point to a set that holds images",
        )
        .into());
    }
    let shape = Shape::map(1, h, w);
    let mut pixels = room(&images.path, count, shape)?;
    images.read(header_len(3) as u64, count * shape.len(), &mut pixels)?;
    // All labels are read even under a limit: they tell how many classes there are.
    let mut labels = Vec::new();
    label_file.read(header_len(1) as u64, held, &mut labels)?;
    let class_count = labels.iter().max().map_or(0, |&l| usize::from(l) + 1);
    labels.truncate(count);
    Ok(Raw {
        shape,
        pixels: Pixels::U8(pixels),
        labels: Some(labels.into_iter().map(u32::from).collect()),
        class_count,
        boxes: None,
    })
}

fn header_len(axes: usize) -> usize {
    4 + 4 * axes
}

/// Opens the file whose name starts with `stem` and checks its magic number and length against
/// its extents.
fn open<const AXES: usize>(
    spec: &DataSpec,
    split: Split,
    stem: &str,
    magic: u32,
) -> Result<(Source, [usize; AXES])> {
    // The files circulate both with a dash and with a dot before `idx`.
    let names = [
        format!("{stem}-idx{AXES}-ubyte"),
        format!("{stem}.idx{AXES}-ubyte"),
    ];
    let Some(path) = names
        .iter()
        .map(|n| spec.path.join(n))
        .find(|p| p.is_file())
    else {
        return Err(Diagnostic::new(
            DATA_SPLIT_MISSING,
            spec.path.display().to_string(),
            format!(
                "split `{}` needs {}, and there is none",
                split.name(),
                names[0]
            ),
            "point to the folder of the IDX files, decompressed with gunzip",
        )
        .into());
    };
    let mut source = Source::open(&path)?;
    let size = |message: String| {
        Diagnostic::new(
            DATA_FILE_SIZE,
            path.display().to_string(),
            message,
            "the file is cut short: fetch it again",
        )
    };
    if source.len < header_len(AXES) as u64 {
        return Err(size(format!(
            "the file has {} bytes, and its header alone takes {}",
            source.len,
            header_len(AXES)
        ))
        .into());
    }
    let mut header = Vec::new();
    source.read(0, header_len(AXES), &mut header)?;
    let word = |i: usize| {
        u32::from_be_bytes([
            header[4 * i],
            header[4 * i + 1],
            header[4 * i + 2],
            header[4 * i + 3],
        ])
    };
    if word(0) != magic {
        return Err(Diagnostic::new(
            DATA_HEADER,
            path.display().to_string(),
            format!(
                "the magic number is {:#010x}, and this file must have {magic:#010x}",
                word(0)
            ),
            "the file is not in IDX format, or still compressed: gunzip it",
        )
        .into());
    }
    let extents: [usize; AXES] = std::array::from_fn(|i| word(i + 1) as usize);
    let body = extents
        .iter()
        .try_fold(1u64, |product, &n| product.checked_mul(n as u64));
    let needed = body.and_then(|n| n.checked_add(header_len(AXES) as u64));
    if needed != Some(source.len) {
        let extents: Vec<String> = extents.iter().map(usize::to_string).collect();
        return Err(size(format!(
            "the header declares {} bytes, which need a file of {}; the file has {}",
            extents.join("x"),
            needed.map_or("more than 2^64".into(), |n| n.to_string()),
            source.len
        ))
        .into());
    }
    Ok((source, extents))
}
