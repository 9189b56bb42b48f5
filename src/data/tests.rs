//! The readers over files written byte by byte: what is read, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::diag::*;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn put(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn load(text: &str) -> Result<Dataset> {
    DataSpec::parse(text).unwrap().load(None)
}

fn load_dir(kind: &str, dir: &TempDir, keys: &str) -> Result<Dataset> {
    load(&format!("{kind}:{}{keys}", dir.path().display()))
}

fn codes(result: Result<Dataset>) -> Vec<Code> {
    result
        .expect_err("must be refused")
        .0
        .iter()
        .map(|d| d.code)
        .collect()
}

fn bytes(data: &Dataset) -> &[u8] {
    match &data.pixels {
        Pixels::U8(p) => p,
        Pixels::F32(_) => panic!("raw pixels expected"),
    }
}

/// CIFAR-10 records of the given labels; pixel `i` of record `r` is `r + i` modulo 256.
fn records(labels: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (r, &label) in labels.iter().enumerate() {
        out.push(label);
        out.extend((0..3072).map(|i| (r + i) as u8));
    }
    out
}

#[test]
fn cifar10_reads_the_files_of_a_split_in_order() {
    let dir = folder();
    put(&dir, "data_batch_2.bin", &records(&[7]));
    put(&dir, "data_batch_1.bin", &records(&[3, 9]));
    put(&dir, "test_batch.bin", &records(&[0]));
    let train = load_dir("cifar10", &dir, "").unwrap();
    assert_eq!(train.labels, Some(vec![3, 9, 7]));
    assert_eq!(train.shape, Shape::map(3, 32, 32));
    assert_eq!((train.len(), train.class_count), (3, 10));
    assert_eq!(bytes(&train)[3072..3075], [1, 2, 3]);
    let test = load_dir("cifar10", &dir, ",split=test").unwrap();
    assert_eq!(test.labels, Some(vec![0]));
    let limited = load_dir("cifar10", &dir, ",limit=2").unwrap();
    assert_eq!(limited.labels, Some(vec![3, 9]));
    assert_eq!(bytes(&limited).len(), 2 * 3072);
}

#[test]
fn cifar10_refuses_what_is_not_whole() {
    let dir = folder();
    assert_eq!(codes(load_dir("cifar10", &dir, "")), [DATA_SPLIT_MISSING]);
    assert_eq!(codes(load("cifar10:/nowhere/at/all")), [DATA_NOT_FOUND]);
    put(&dir, "data_batch_1.bin", b"");
    assert_eq!(codes(load_dir("cifar10", &dir, "")), [DATA_EMPTY]);
    put(&dir, "data_batch_1.bin", &records(&[1])[..3072]);
    put(&dir, "data_batch_2.bin", &[0; 3074]);
    assert_eq!(
        codes(load_dir("cifar10", &dir, "")),
        [DATA_FILE_SIZE, DATA_FILE_SIZE]
    );
    put(&dir, "data_batch_1.bin", &records(&[1, 10]));
    put(&dir, "data_batch_2.bin", &records(&[255]));
    assert_eq!(
        codes(load_dir("cifar10", &dir, "")),
        [DATA_LABEL_RANGE, DATA_LABEL_RANGE]
    );
}

fn idx(magic: u32, extents: &[u32], body: &[u8]) -> Vec<u8> {
    let mut out = magic.to_be_bytes().to_vec();
    for e in extents {
        out.extend(e.to_be_bytes());
    }
    out.extend(body);
    out
}

#[test]
fn idx_reads_images_and_labels() {
    let dir = folder();
    let body: Vec<u8> = (0..18).collect();
    put(
        &dir,
        "train-images-idx3-ubyte",
        &idx(0x803, &[3, 2, 3], &body),
    );
    put(
        &dir,
        "train-labels.idx1-ubyte",
        &idx(0x801, &[3], &[4, 0, 6]),
    );
    let all = load_dir("idx", &dir, "").unwrap();
    assert_eq!(all.shape, Shape::map(1, 2, 3));
    assert_eq!(all.labels, Some(vec![4, 0, 6]));
    assert_eq!(all.class_count, 7);
    assert_eq!(bytes(&all), body);
    let two = load_dir("idx", &dir, ",limit=2").unwrap();
    assert_eq!((two.len(), two.class_count), (2, 7));
    assert_eq!(
        codes(load_dir("idx", &dir, ",split=test")),
        [DATA_SPLIT_MISSING]
    );
}

#[test]
fn idx_headers_are_checked_against_the_file() {
    let dir = folder();
    let labels = idx(0x801, &[2], &[0, 1]);
    let cases: [(Vec<u8>, &[u8], Code); 7] = [
        (vec![0, 0, 8], &labels, DATA_FILE_SIZE),
        (idx(0x801, &[2, 1, 1], &[0; 2]), &labels, DATA_HEADER),
        (idx(0x803, &[2, 1, 1], &[0; 1]), &labels, DATA_FILE_SIZE),
        (idx(0x803, &[2, 1, 1], &[0; 3]), &labels, DATA_FILE_SIZE),
        (
            idx(0x803, &[u32::MAX, u32::MAX, u32::MAX], &[0; 2]),
            &labels,
            DATA_FILE_SIZE,
        ),
        (idx(0x803, &[3, 1, 1], &[0; 3]), &labels, DATA_LABEL_COUNT),
        (idx(0x803, &[2, 0, 1], &[]), &labels, DATA_EMPTY),
    ];
    for (images, labels, code) in cases {
        put(&dir, "train-images-idx3-ubyte", &images);
        put(&dir, "train-labels-idx1-ubyte", labels);
        assert_eq!(codes(load_dir("idx", &dir, "")), [code], "{images:?}");
    }
}

/// A version 1.0 array file as `numpy.save` writes it.
fn npy(descr: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out.extend(body);
    out
}

#[test]
fn npy_reads_every_type_and_both_layouts() {
    let dir = folder();
    let body: Vec<u8> = (0..12).collect();
    let x = put(&dir, "x.npy", &npy("|u1", "2, 2, 1, 3", &body));
    let at = |path: &Path, keys: &str| load(&format!("npy:{}{keys}", path.display()));
    let nchw = at(&x, "").unwrap();
    assert_eq!(nchw.shape, Shape::map(2, 1, 3));
    assert_eq!(bytes(&nchw), body);
    assert_eq!((nchw.labels, nchw.class_count), (None, 0));
    let x = put(&dir, "x.npy", &npy("|u1", "2, 1, 2, 3", &body));
    let nhwc = at(&x, ",layout=nhwc,limit=1").unwrap();
    assert_eq!(nhwc.shape, Shape::map(3, 1, 2));
    assert_eq!(bytes(&nhwc), [0, 3, 1, 4, 2, 5]);
    // Three axes are grey pictures, unless they are signals.
    let x = put(&dir, "x.npy", &npy("|u1", "1, 4, 3", &body));
    let pictures = at(&x, "").unwrap();
    assert_eq!(pictures.shape, Shape::map(1, 4, 3));
    let signals = at(&x, ",layout=ncl").unwrap();
    assert_eq!(signals.shape, Shape::map(4, 3, 1));
    assert_eq!(bytes(&signals), body);
    assert_eq!(signals.preprocessing.mean.len(), 4);
    let fault = pictures.expect_shape("x", signals.shape).unwrap_err();
    assert!(fault.hint.contains("layout=ncl"), "{}", fault.hint);

    let typed: [(&str, Vec<u8>); 8] = [
        ("|i1", vec![1, 0xfe]),
        ("<i2", [1i16, -2].map(i16::to_le_bytes).concat()),
        ("<u2", [1u16, 65535].map(u16::to_le_bytes).concat()),
        ("<i4", [1i32, -2].map(i32::to_le_bytes).concat()),
        ("<u4", [1u32, 2].map(u32::to_le_bytes).concat()),
        ("<i8", [1i64, -2].map(i64::to_le_bytes).concat()),
        ("<f4", [1f32, -2.5].map(f32::to_le_bytes).concat()),
        ("<f8", [1f64, -2.5].map(f64::to_le_bytes).concat()),
    ];
    let second = [-2.0, -2.0, 65535.0, -2.0, 2.0, -2.0, -2.5, -2.5];
    for ((descr, body), second) in typed.iter().zip(second) {
        let x = put(&dir, "t.npy", &npy(descr, "2, 1", body));
        let data = at(&x, "").unwrap();
        assert_eq!(data.shape, Shape::vector(1));
        assert_eq!(data.pixels, Pixels::F32(vec![1.0, second]), "{descr}");
    }
    let x = put(&dir, "t.npy", &npy("<f4", "1, 2", &typed[6].1));
    let y = put(&dir, "y.npy", &npy("<i8", "1,", &5i64.to_le_bytes()));
    let data = at(&x, &format!(",labels={}", y.display())).unwrap();
    assert_eq!((data.labels, data.class_count), (Some(vec![5]), 6));
}

#[test]
fn npy_refuses_each_fault_with_its_code() {
    let dir = folder();
    let good = npy("|u1", "2, 1", &[1, 2]);
    let with = |from: &str, to: &str| {
        let at = good
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        let mut out = good.clone();
        out[at..at + from.len()].copy_from_slice(to.as_bytes());
        out
    };
    let mut version = good.clone();
    version[6] = 9;
    let mut long_header = good.clone();
    long_header[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
    let cases: Vec<(Vec<u8>, Code)> = vec![
        (vec![], DATA_HEADER),
        (b"PK\x03\x04 zipped".to_vec(), DATA_HEADER),
        (good[..9].to_vec(), DATA_HEADER),
        (good[..40].to_vec(), DATA_HEADER),
        (version, DATA_HEADER),
        (long_header, DATA_HEADER),
        (good[..good.len() - 1].to_vec(), DATA_FILE_SIZE),
        ([&good[..], &[0]].concat(), DATA_FILE_SIZE),
        (with("|u1", ">f4"), NPY_TYPE),
        (with("|u1", "|O8"), NPY_TYPE),
        (with("False", "True "), NPY_SHAPE),
        (with("False", "Maybe"), DATA_HEADER),
        (with("'descr'", "'desc_'"), DATA_HEADER),
        (with("(2, 1)", "(2; 1)"), DATA_HEADER),
        (npy("|u1", "99999999999999999999, 2", &[0]), DATA_HEADER),
        (npy("|u1", "9999999999, 9999999999", &[0]), DATA_FILE_SIZE),
        (npy("|u1", "2,", &[1, 2]), NPY_SHAPE),
        (npy("|u1", "0, 3", &[]), DATA_EMPTY),
        (npy("<f4", "1, 1", &f32::NAN.to_le_bytes()), DATA_NOT_FINITE),
    ];
    for (i, (bytes, code)) in cases.iter().enumerate() {
        let x = put(&dir, "x.npy", bytes);
        assert_eq!(
            codes(load(&format!("npy:{}", x.display()))),
            [*code],
            "case {i}"
        );
    }
    let x = put(&dir, "x.npy", &npy("<f4", "1, 1", &1f32.to_le_bytes()));
    assert_eq!(
        codes(load(&format!("npy:{},scale=2", x.display()))),
        [DATA_SPEC_KEY]
    );
    assert_eq!(
        codes(load(&format!("npy:{}", dir.path().display()))),
        [DATA_NOT_FOUND]
    );
    let labels: [(Vec<u8>, Code); 5] = [
        (npy("<f4", "1,", &[0; 4]), NPY_TYPE),
        (npy("<i4", "1, 1", &[0; 4]), NPY_SHAPE),
        (npy("<i4", "2,", &[0; 8]), DATA_LABEL_COUNT),
        (npy("<i4", "1,", &(-1i32).to_le_bytes()), DATA_LABEL_RANGE),
        (npy("<i4", "1,", &65_536i32.to_le_bytes()), DATA_LABEL_RANGE),
    ];
    for (bytes, code) in labels {
        let y = put(&dir, "y.npy", &bytes);
        let text = format!("npy:{},labels={}", x.display(), y.display());
        assert_eq!(codes(load(&text)), [code]);
    }
}

/// Writes a picture whose pixel in row `y`, column `x` is `(x, y, 7)`.
fn picture(dir: &TempDir, name: &str, w: u32, h: u32) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(w, h, |x, y| image::Rgb([x as u8, y as u8, 7]))
        .save_with_format(path, image::ImageFormat::Png)
        .unwrap();
}

#[test]
fn folder_numbers_classes_by_name() {
    let dir = folder();
    picture(&dir, "dog/1.png", 3, 2);
    picture(&dir, "cat/2.png", 3, 2);
    picture(&dir, "cat/1.PNG", 3, 2);
    put(&dir, "cat/notes.txt", b"not a picture");
    put(&dir, ".hidden/3.png", b"not looked at");
    let data = load_dir("folder", &dir, "").unwrap();
    assert_eq!(data.labels, Some(vec![0, 0, 1]));
    assert_eq!((data.class_count, data.shape), (2, Shape::map(3, 2, 3)));
    assert_eq!(
        bytes(&data)[..18],
        [0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 1, 1, 7, 7, 7, 7, 7, 7]
    );
    let turns = load_dir("folder", &dir, ",limit=2").unwrap();
    assert_eq!(turns.labels, Some(vec![0, 1]));
    let grey = load_dir("folder", &dir, ",channels=1").unwrap();
    assert_eq!(grey.shape, Shape::map(1, 2, 3));
}

#[test]
fn folder_chooses_splits_and_may_be_flat() {
    let dir = folder();
    picture(&dir, "train/a/1.png", 1, 1);
    picture(&dir, "val/a/1.png", 2, 1);
    let shape = |keys| load_dir("folder", &dir, keys).unwrap().shape;
    assert_eq!(shape(""), Shape::map(3, 1, 1));
    assert_eq!(shape(",split=test"), Shape::map(3, 1, 2));
    fs::remove_dir_all(dir.path().join("val")).unwrap();
    assert_eq!(
        codes(load_dir("folder", &dir, ",split=test")),
        [DATA_SPLIT_MISSING]
    );
    let flat = folder();
    picture(&flat, "x.png", 2, 2);
    let data = load_dir("folder", &flat, ",split=test").unwrap();
    assert_eq!((data.labels, data.class_count), (None, 0));
    // A folder of other files makes no class; one of pictures leaves it open which is meant.
    put(&flat, "annotations/x.xml", b"<annotation/>");
    let data = load_dir("folder", &flat, "").unwrap();
    assert_eq!((data.len(), data.labels), (1, None));
    picture(&flat, "more/y.png", 2, 2);
    assert_eq!(codes(load_dir("folder", &flat, "")), [DATA_MIXED]);
}

#[test]
fn folder_lists_all_unreadable_pictures() {
    let dir = folder();
    picture(&dir, "a/1.png", 2, 2);
    put(&dir, "a/2.png", b"\x89PNG\r\n\x1a\n and then nothing");
    put(&dir, "a/3.jpg", b"");
    picture(&dir, "a/4.png", 3, 2);
    assert_eq!(
        codes(load_dir("folder", &dir, "")),
        [IMAGE_UNREADABLE, IMAGE_UNREADABLE, IMAGE_SIZES]
    );
    // Also where the first cannot be read, and where none can.
    fs::remove_file(dir.path().join("a/1.png")).unwrap();
    fs::remove_file(dir.path().join("a/4.png")).unwrap();
    assert_eq!(
        codes(load_dir("folder", &dir, "")),
        [IMAGE_UNREADABLE, IMAGE_UNREADABLE]
    );
    let empty = folder();
    fs::create_dir(empty.path().join("class")).unwrap();
    assert_eq!(codes(load_dir("folder", &empty, "")), [DATA_EMPTY]);
}

#[test]
fn resizing_halves_by_averaging_and_keeps_constants() {
    let image = [10, 20, 30, 40, 0, 0, 0, 0, 255, 255, 255, 255];
    let from = Shape::map(3, 2, 2);
    assert_eq!(resized(&image, from, Shape::map(3, 1, 1)), [25, 0, 255]);
    let out = resized(&image[4..], Shape::map(1, 2, 2), Shape::map(1, 5, 3));
    assert_eq!(out, [0; 15]);
}

#[test]
fn bgr_swaps_the_first_and_last_plane() {
    let dir = folder();
    picture(&dir, "1.png", 2, 1);
    let data = load_dir("folder", &dir, ",order=bgr").unwrap();
    assert_eq!(bytes(&data), [7, 7, 0, 0, 0, 1]);
    assert_eq!(data.preprocessing.order, ChannelOrder::Bgr);
    assert_eq!(
        codes(load_dir("folder", &dir, ",order=bgr,channels=1")),
        [DATA_CHANNELS]
    );
}

#[test]
fn preparation_is_key_over_default_over_identity() {
    let dir = folder();
    picture(&dir, "1.png", 1, 1);
    let spec =
        |keys: &str| DataSpec::parse(&format!("folder:{}{keys}", dir.path().display())).unwrap();
    let stored = Preprocessing {
        scale: 0.5,
        mean: vec![1.0, 2.0, 3.0],
        std: vec![4.0, 5.0, 6.0],
        order: ChannelOrder::Rgb,
    };
    let got = |keys: &str, defaults| spec(keys).load(defaults).unwrap().preprocessing;
    assert_eq!(got("", None), Preprocessing::identity(3));
    assert_eq!(got("", Some(&stored)), stored);
    let mixed = got(",mean=9,scale=2", Some(&stored));
    assert_eq!((mixed.mean, mixed.std), (vec![9.0; 3], stored.std.clone()));
    assert_eq!(mixed.scale, 2.0);
    assert_eq!(
        codes(spec(",mean=1/2,std=1/2/3/4").load(None)),
        [DATA_CHANNELS, DATA_CHANNELS]
    );
    assert_eq!(
        codes(spec(",channels=1").load(Some(&stored))),
        [DATA_CHANNELS, DATA_CHANNELS]
    );
    let data = spec(",mean=1,std=2").load(None).unwrap();
    let mut input = [0.0; 3];
    data.input(0, &mut input);
    assert_eq!(input, [-0.5, -0.5, 3.0]);
}

#[test]
fn a_set_is_checked_against_the_network() {
    let dir = folder();
    put(&dir, "test_batch.bin", &records(&[3, 9]));
    let data = load_dir("cifar10", &dir, ",split=test").unwrap();
    assert!(data.expect_shape("m", Shape::map(3, 32, 32)).is_ok());
    let fault = data.expect_shape("m", Shape::map(3, 96, 96)).unwrap_err();
    assert_eq!(fault.code, DATA_SHAPE);
    assert!(fault.hint.contains("resize=96x96"), "{}", fault.hint);
    assert_eq!(data.expect_labels("m", 10).unwrap(), [3, 9]);
    assert_eq!(data.expect_labels("m", 9).unwrap_err().code, DATA_CLASSES);
    let bare = Dataset {
        labels: None,
        ..data
    };
    assert_eq!(
        bare.expect_labels("m", 10).unwrap_err().code,
        DATA_NO_LABELS
    );
}

#[test]
fn memory_is_asked_for_before_it_is_taken() {
    let huge = files::room::<u8>(Path::new("x"), usize::MAX, Shape::map(3, 4096, 4096));
    assert_eq!(huge.unwrap_err().code, DATA_TOO_LARGE);
    let over = files::room::<u8>(Path::new("x"), files::MAX_BYTES / 3, Shape::map(2, 2, 1));
    assert_eq!(over.unwrap_err().code, DATA_TOO_LARGE);
}
