//! CIFAR-10's binary files.
//!
//! A record is 3073 bytes: the label, then 1024 bytes each of red, green and blue in row-major
//! order (<https://www.cs.toronto.edu/~kriz/cifar.html>).

use super::Raw;
use super::files::{Source, room, sorted_names};
use super::spec::{DataSpec, Split};
use crate::data::Pixels;
use crate::diag::{
    DATA_EMPTY, DATA_FILE_SIZE, DATA_LABEL_RANGE, DATA_SPLIT_MISSING, Diagnostic, Diagnostics,
    Result,
};
use crate::ir::float::Shape;

const SHAPE: Shape = Shape::map(3, 32, 32);
const RECORD: usize = 1 + SHAPE.len();
const CLASSES: u8 = 10;

/// Reads the chosen split (`train` if none is chosen), file after file.
pub(super) fn read(spec: &DataSpec) -> Result<Raw> {
    let split = spec.split.unwrap_or(Split::Train);
    let mut sources = Vec::new();
    for path in sorted_names(&spec.path)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let wanted = match split {
            Split::Train => name.starts_with("data_batch") && name.ends_with(".bin"),
            Split::Test => name == "test_batch.bin",
        };
        if wanted {
            sources.push(Source::open(&path)?);
        }
    }
    if sources.is_empty() {
        let wanted = match split {
            Split::Train => "data_batch_*.bin",
            Split::Test => "test_batch.bin",
        };
        return Err(Diagnostic::new(
            DATA_SPLIT_MISSING,
            spec.path.display().to_string(),
            format!("split `{}` needs {wanted}, and there is none", split.name()),
            "point to the folder of CIFAR-10's binary files, or choose another split",
        )
        .into());
    }

    let mut faults = Diagnostics::default();
    for source in &sources {
        if source.len % RECORD as u64 != 0 {
            faults.push(Diagnostic::new(
                DATA_FILE_SIZE,
                source.path.display().to_string(),
                format!(
                    "the file has {} bytes, which is not a multiple of the record's {RECORD}",
                    source.len
                ),
                "the file is cut short or not in CIFAR-10's binary format: fetch it again",
            ));
        }
    }
    let held = sources.iter().map(|s| s.len as usize / RECORD).sum();
    let count = spec.limit.map_or(held, |limit| limit.min(held));
    if count == 0 && faults.0.is_empty() {
        faults.push(Diagnostic::new(
            DATA_EMPTY,
            spec.path.display().to_string(),
            format!("split `{}` holds 0 images", split.name()),
            "point to files that hold records",
        ));
    }
    faults.into_result(())?;

    let mut pixels = room(&spec.path, count, SHAPE)?;
    let mut labels = Vec::with_capacity(count);
    let mut faults = Diagnostics::default();
    let mut record = Vec::new();
    for source in &mut sources {
        let here = (source.len as usize / RECORD).min(count - labels.len());
        record.clear();
        source.read(0, here * RECORD, &mut record)?;
        for (i, record) in record.chunks_exact(RECORD).enumerate() {
            let label = record[0];
            if label >= CLASSES {
                faults.push(Diagnostic::new(
                    DATA_LABEL_RANGE,
                    source.path.display().to_string(),
                    format!("record {i} has label {label}, and CIFAR-10 has {CLASSES} classes"),
                    "the file is damaged or not in CIFAR-10's binary format: fetch it again",
                ));
                // One wrong record tells as much about the file as a thousand.
                break;
            }
            labels.push(u32::from(label));
            pixels.extend_from_slice(&record[1..]);
        }
    }
    faults.into_result(Raw {
        shape: SHAPE,
        pixels: Pixels::U8(pixels),
        labels: Some(labels),
        class_count: usize::from(CLASSES),
        boxes: None,
    })
}
