//! Every finding about data sets, rendered as users see it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use nestc::data::{DataSpec, Dataset};
use nestc::diag::{CODES, Diagnostics};
use nestc::ir::float::Shape;

use crate::golden;

fn load(spec: &str) -> Result<Dataset, Diagnostics> {
    DataSpec::parse(spec)?.load(None)
}

fn npy(descr: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out.extend(body);
    out
}

fn picture(path: &Path, width: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::new(width, 1)
        .save_with_format(path, image::ImageFormat::Png)
        .unwrap();
}

#[test]
fn findings_read_as_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let mut record = vec![0u8; 3073];
    put("cut/data_batch_1.bin", &record[..3000]);
    record[0] = 9;
    put("good/test_batch.bin", &record);
    record[0] = 12;
    put("label/data_batch_1.bin", &record);
    put("empty/data_batch_1.bin", b"");
    put(
        "idx/train-images-idx3-ubyte",
        b"\x1f\x8b\x08\x00 compressed by gzip",
    );
    put(
        "short/train-images-idx3-ubyte",
        b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x01\x05",
    );
    put("x.npy", &npy("<f4", "2, 1", &[0; 8]));
    put("u8.npy", &npy("|u1", "1, 2, 2, 2", &[0; 8]));
    put("nan.npy", &npy("<f4", "1, 1", &f32::NAN.to_le_bytes()));
    put("y.npy", &npy("<i8", "3,", &[0; 24]));
    put("big.npy", &npy(">f4", "2, 1", &[0; 8]));
    put("axes.npy", &npy("<f4", "2,", &[0; 8]));
    put("pictures/a/2.png", b"not a picture");
    picture(&dir.path().join("pictures/a/1.png"), 2);
    picture(&dir.path().join("pictures/b/1.png"), 1);
    picture(&dir.path().join("flat/1.png"), 1);
    put(
        "voc/Annotations/1.xml",
        b"<annotation><object><bndbox/></object></annotation>",
    );
    put("voc/Annotations/2.xml", b"<annotation>");
    let object = |right: i32| {
        let sides = format!("<xmin>0</xmin><ymin>0</ymin><xmax>{right}</xmax><ymax>1</ymax>");
        format!(
            "<annotation><object><name>dog</name><bndbox>{sides}</bndbox></object></annotation>"
        )
    };
    put("outside/Annotations/1.xml", object(5).as_bytes());
    put("boxes/Annotations/1.xml", object(0).as_bytes());
    for folder in ["voc", "outside", "boxes"] {
        picture(&dir.path().join(folder).join("JPEGImages/1.png"), 2);
    }
    picture(&dir.path().join("mixed/1.png"), 1);
    picture(&dir.path().join("mixed/a/1.png"), 1);
    // 700 pictures of 48 MB each are more than may be held.
    fs::create_dir(dir.path().join("many")).unwrap();
    for i in 0..700 {
        let link = dir.path().join(format!("many/{i}.png"));
        fs::hard_link(dir.path().join("flat/1.png"), link).unwrap();
    }

    let mut text = String::new();
    let mut show = |title: &str, findings: Diagnostics| {
        let rendered = findings
            .to_string()
            .replace(&format!("{}/", dir.path().display()), "");
        let _ = writeln!(text, "# {title}\n{rendered}\n");
    };
    for spec in [
        "data/cifar10",
        "cifar100:D",
        "cifar10:D,split=valid,limit=0,mean=1/x,what=1",
        "cifar10:D,labels=y.npy",
        "coco:annotations.json",
    ] {
        show(spec, DataSpec::parse(spec).unwrap_err());
    }
    for (kind, rest) in [
        ("cifar10", "nowhere"),
        ("cifar10", "cut"),
        ("cifar10", "label"),
        ("cifar10", "empty"),
        ("cifar10", "good,split=train"),
        ("cifar10", "good,split=test,mean=1/2"),
        ("idx", "idx"),
        ("idx", "short"),
        ("npy", "nan.npy"),
        ("npy", "big.npy"),
        ("npy", "axes.npy"),
        ("npy", "u8.npy,resize=4"),
        ("folder", "pictures"),
        ("folder", "many,resize=4096"),
        ("folder", "mixed"),
        ("voc", "nowhere"),
        ("voc", "voc"),
        ("voc", "voc,set=trainval"),
        ("voc", "outside"),
    ] {
        let spec = format!("{kind}:{}/{rest}", dir.path().display());
        match load(&spec) {
            Ok(_) => panic!("{rest} must be refused"),
            Err(findings) => show(&format!("{kind}:{rest}"), findings),
        }
    }
    let labels = format!("npy:{0}/x.npy,labels={0}/y.npy", dir.path().display());
    show("npy:x.npy,labels=y.npy", load(&labels).unwrap_err());

    let good = load(&format!("cifar10:{}/good,split=test", dir.path().display())).unwrap();
    let place = "net.onnx";
    show(
        "a network of another size",
        good.expect_shape(place, Shape::map(3, 96, 96))
            .unwrap_err()
            .into(),
    );
    show(
        "a network of fewer classes",
        good.expect_labels(place, 5).unwrap_err().into(),
    );
    let flat = load(&format!("folder:{}/flat", dir.path().display())).unwrap();
    show(
        "no labels",
        flat.expect_labels(place, 10).unwrap_err().into(),
    );
    let boxes = load(&format!("voc:{}/boxes", dir.path().display()));
    let warning = boxes.unwrap().boxes.unwrap().warning("voc:boxes");
    show("boxes without area", warning.unwrap().into());
    golden::check("data", &text);

    for row in CODES.iter().filter(|row| row.code.starts_with("E3")) {
        let shown = text.contains(&format!("error[{}]", row.code));
        assert!(shown, "{} is not shown", row.code);
    }
}
