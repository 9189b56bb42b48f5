//! Files damaged at random and numbers driven to their limits: any finding will do, a panic or an
//! absurd allocation will not.

use std::path::Path;

use nestc::import;
use nestc::import::proto::{DimensionValue, ModelProto, TypeValue, data_type};
use prost::Message;

use crate::python;
use crate::small_model::valid;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// A damaged copy of `bytes`.
fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(copy.len());
        match random.below(6) {
            0 => copy[at] ^= 1 << random.below(8),
            1 => copy[at] = random.next() as u8,
            2 => copy[at] = [0x00, 0x01, 0x7f, 0x80, 0xff][random.below(5)],
            3 => copy.insert(at, random.next() as u8),
            4 if copy.len() > 1 => {
                copy.remove(at);
            }
            _ => {
                let length = random.below(16).min(copy.len() - at);
                let part = copy[at..at + length].to_vec();
                let to = random.below(copy.len());
                copy.splice(to..to, part);
            }
        }
    }
    copy
}

/// How many of `count` damaged copies are still accepted.
fn survivors(bytes: &[u8], count: usize, seed: u64) -> usize {
    let mut random = Random(seed);
    (0..count)
        .filter(|_| {
            let copy = damaged(bytes, &mut random);
            import::from_bytes(&copy, Path::new("."), "model.onnx").is_ok()
        })
        .count()
}

/// The process's largest resident set so far, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn assert_modest_memory() {
    if let Some(peak) = peak_bytes() {
        assert!(peak < 1 << 30, "{peak} bytes at the peak");
    }
}

#[test]
fn damaged_small_files_never_panic() {
    let bytes = valid().encode_to_vec();
    let accepted = survivors(&bytes, 20_000, 1);
    // Damage to a weight's bytes leaves a valid file; damage to structure does not.
    assert!((100..15_000).contains(&accepted), "{accepted}");
    assert_modest_memory();
}

#[test]
fn damaged_real_files_never_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(root.join("models/resnet8_cifar10_bn.onnx")).expect("committed");
    let mut model = ModelProto::decode(bytes.as_slice()).expect("valid");
    let accepted = survivors(&bytes, 1_500, 2);
    assert!((100..1_500).contains(&accepted), "{accepted}");
    // Most of the file is weights: shorten them, so that damage meets the structure.
    for tensor in &mut model.graph.as_mut().expect("a graph").initializer {
        let length = tensor.raw_data.as_ref().map_or(0, Vec::len);
        tensor.raw_data = Some(vec![0x3c; length.min(64)]);
        tensor.dims = vec![length.min(64) as i64 / 4];
    }
    survivors(&model.encode_to_vec(), 6_000, 3);
    assert_modest_memory();
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = valid().encode_to_vec();
    for length in 0..bytes.len() {
        let result = import::from_bytes(&bytes[..length], Path::new("."), "model.onnx");
        assert!(
            result.is_err(),
            "cut after {length} of {} bytes",
            bytes.len()
        );
    }
}

/// Every integer of a model, by number: attributes, extents, shape constants.
fn integers(model: &mut ModelProto, mut f: impl FnMut(&mut i64)) {
    let Some(graph) = &mut model.graph else {
        return;
    };
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            attribute.i.iter_mut().for_each(&mut f);
            attribute.ints.iter_mut().for_each(&mut f);
            if let Some(tensor) = &mut attribute.t {
                tensor.dims.iter_mut().for_each(&mut f);
                tensor.int64_data.iter_mut().for_each(&mut f);
            }
        }
    }
    for tensor in &mut graph.initializer {
        tensor.dims.iter_mut().for_each(&mut f);
        if tensor.data_type == data_type::INT64
            && let Some(raw) = &mut tensor.raw_data
        {
            for chunk in raw.as_chunks_mut().0 {
                let mut value = i64::from_le_bytes(*chunk);
                f(&mut value);
                *chunk = value.to_le_bytes();
            }
        }
    }
    for input in &mut graph.input {
        if let Some(TypeValue::Tensor(tensor)) =
            input.r#type.as_mut().and_then(|t| t.value.as_mut())
        {
            for dim in tensor.shape.iter_mut().flat_map(|s| &mut s.dim) {
                if let Some(DimensionValue::DimValue(value)) = &mut dim.value {
                    f(value);
                }
            }
        }
    }
}

#[test]
fn integers_at_their_limits_never_panic() {
    const LIMITS: [i64; 9] = [
        0,
        -1,
        1,
        7,
        1 << 12,
        1 << 24,
        i32::MAX as i64,
        i64::MIN,
        i64::MAX,
    ];
    let folder = tempfile::tempdir().expect("a folder");
    python::run("op_models.py", &[folder.path()]);
    let mut tried = 0;
    for entry in std::fs::read_dir(folder.path()).expect("readable") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(path.join("model.onnx")).expect("readable");
        let model = ModelProto::decode(bytes.as_slice()).expect("valid");
        let mut count = 0;
        integers(&mut model.clone(), |_| count += 1);
        for target in 0..count {
            for limit in LIMITS {
                let mut changed = model.clone();
                let mut i = 0;
                integers(&mut changed, |value| {
                    if i == target {
                        *value = limit;
                    }
                    i += 1;
                });
                // Accepted or refused, as long as it comes back.
                let _ = import::from_bytes(&changed.encode_to_vec(), &path, "model.onnx");
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
    assert_modest_memory();
}
