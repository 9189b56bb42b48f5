//! The reader over a set written file by file.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::data::{BBox, Dataset};
use crate::diag::{BOX_DEGENERATE, Code, DATA_SPLIT_MISSING, IMAGE_SIZES, IMAGE_UNREADABLE};
use crate::ir::float::Shape;

fn object(class: &str, corners: [i32; 4], more: &str) -> String {
    let [l, t, r, b] = corners;
    format!(
        "<object><name>{class}</name>{more}<bndbox><xmin>{l}</xmin><ymin>{t}</ymin>\
         <xmax>{r}</xmax><ymax>{b}</ymax></bndbox></object>"
    )
}

/// A set of black pictures of 8 columns and 4 rows, all in the list `train`.
struct Set {
    dir: TempDir,
    names: Vec<String>,
}

impl Set {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["Annotations", "JPEGImages", "ImageSets/Main"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        Self {
            dir,
            names: Vec::new(),
        }
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// Adds a picture with this annotation.
    fn add(&mut self, name: &str, xml: impl AsRef<[u8]>) {
        self.put(&format!("Annotations/{name}.xml"), xml);
        let path = self.dir.path().join(format!("JPEGImages/{name}.png"));
        image::GrayImage::new(8, 4).save(path).unwrap();
        self.names.push(name.to_string());
        self.put("ImageSets/Main/train.txt", self.names.join("\n"));
    }

    /// Adds a picture with these objects.
    fn add_objects(&mut self, name: &str, objects: &[String]) {
        self.add(
            name,
            format!("<annotation>{}</annotation>", objects.concat()),
        );
    }

    fn load(&self, keys: &str) -> Result<Dataset> {
        let text = format!("voc:{}{keys}", self.dir.path().display());
        DataSpec::parse(&text).unwrap().load(None)
    }

    fn faults(&self, keys: &str) -> Vec<(Code, String)> {
        let found = self.load(keys).expect_err("must be refused").0;
        found.into_iter().map(|d| (d.code, d.message)).collect()
    }
}

fn bbox(left: f32, top: f32, right: f32, bottom: f32) -> BBox {
    BBox {
        left,
        top,
        right,
        bottom,
    }
}

#[test]
fn boxes_are_fractions_of_the_input() {
    let mut set = Set::new();
    let difficult = "<difficult> 1 </difficult>";
    // Parts have boxes of their own, which are not the object's.
    let part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>\
                <difficult>0</difficult>";
    set.add_objects(
        "1",
        &[
            object("dog", [2, 1, 6, 3], part),
            object("cat", [0, 0, 8, 4], difficult),
        ],
    );
    set.add_objects("2", &[]);
    let data = set.load("").unwrap();
    assert_eq!((data.len(), data.shape), (2, Shape::map(3, 4, 8)));
    assert_eq!((data.labels, data.class_count), (None, 0));
    let boxes = data.boxes.unwrap();
    assert_eq!(boxes.classes, ["cat", "dog"]);
    assert_eq!(boxes.warning("set"), None);
    let dog = GroundTruthBox {
        class: 1,
        bbox: bbox(0.25, 0.25, 0.75, 0.75),
        difficult: false,
    };
    let cat = GroundTruthBox {
        class: 0,
        bbox: bbox(0.0, 0.0, 1.0, 1.0),
        difficult: true,
    };
    assert_eq!(boxes.of_image, [vec![dog, cat], vec![]]);

    // Stretched, boxes stay where they are; letterboxed, they follow the picture.
    let stretched = set.load(",resize=16").unwrap().boxes.unwrap();
    assert_eq!(stretched.of_image, boxes.of_image);
    let letterboxed = set.load(",resize=16,letterbox=114,channels=1").unwrap();
    assert_eq!(letterboxed.shape, Shape::map(1, 16, 16));
    let boxes = letterboxed.boxes.unwrap();
    assert_eq!(boxes.of_image[0][0].bbox, bbox(0.25, 0.375, 0.75, 0.625));
}

#[test]
fn lists_choose_the_pictures() {
    let mut set = Set::new();
    set.add_objects("a", &[object("x", [0, 0, 1, 1], "")]);
    set.add_objects("b", &[object("y", [0, 0, 1, 1], "")]);
    set.add_objects("c", &[]);
    set.put("ImageSets/Main/val.txt", "b\n\n");
    set.put("ImageSets/Main/x_train.txt", "a  1\nb -1\n");
    let classes = |keys: &str| set.load(keys).unwrap().boxes.unwrap();
    assert_eq!(classes(",split=train").of_image.len(), 3);
    assert_eq!(classes(",split=test").classes, ["y"]);
    assert_eq!(classes(",set=val").classes, ["y"]);
    assert_eq!(classes(",set=x_train").of_image.len(), 2);
    assert_eq!(classes(",split=train,limit=1").classes, ["x"]);
    assert_eq!(classes(",set=all").of_image.len(), 3);
    assert_eq!(set.faults(",set=none")[0].0, DATA_SPLIT_MISSING);
    set.put("ImageSets/Main/test.txt", "c");
    assert_eq!(classes(",split=test").of_image, [vec![]]);
    let spec = format!("voc:{}", set.dir.path().display());
    let test = DataSpec::parse(&spec).unwrap().test_split();
    assert_eq!(test.unwrap().split, Some(Split::Test));

    // Without lists, every annotated picture belongs to every split.
    fs::remove_dir_all(set.dir.path().join("ImageSets")).unwrap();
    assert_eq!(classes(",split=test").of_image.len(), 3);
    assert_eq!(set.faults(",set=val")[0].0, DATA_SPLIT_MISSING);
    assert_eq!(DataSpec::parse(&spec).unwrap().test_split(), None);
}

#[test]
fn malformed_annotations_are_listed_together() {
    let mut set = Set::new();
    let good = object("x", [0, 0, 1, 1], "");
    let cases: &[(&str, &str, &str)] = &[
        ("cut", "<annotation><object>", "not well-formed"),
        ("empty", "", "not well-formed"),
        ("other", "<html/>", "its root element is `html`"),
        (
            "bomb",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><annotation>&b;</annotation>",
            "not well-formed",
        ),
        (
            "nameless",
            "<annotation>\n<object><bndbox/></object></annotation>",
            "line 2 has no `name`",
        ),
        (
            "boxless",
            "<annotation><object><name>x</name></object></annotation>",
            "no `bndbox`",
        ),
        (
            "sideless",
            "<annotation><object><name>x</name><bndbox><xmin>1</xmin></bndbox></object></annotation>",
            "no `ymin`",
        ),
    ];
    for (name, xml, _) in cases {
        set.add(name, xml);
    }
    set.add("latin", b"<annotation>\xe9</annotation>");
    set.add("deep", "<a>".repeat(300_000));
    set.add_objects("nan", &[good.replace("<xmax>1", "<xmax>nan")]);
    set.add_objects("text", &[good.replace("<xmax>1", "<xmax>1px")]);
    set.add_objects(
        "hard",
        &[
            object("x", [0, 0, 1, 1], "<difficult>yes</difficult>"),
            good.clone(),
        ],
    );
    set.add_objects("good", &[good]);
    // Unreadable pictures and missing files join them.
    set.put("JPEGImages/good.png", "no picture");
    fs::remove_file(set.dir.path().join("JPEGImages/cut.png")).unwrap();
    fs::remove_file(set.dir.path().join("Annotations/empty.xml")).unwrap();

    let faults = set.faults("");
    let mut expected: Vec<(Code, &str)> = (cases.iter())
        .map(|&(_, _, message)| (ANNOTATION_MALFORMED, message))
        .collect();
    expected[1] = (DATA_NOT_FOUND, "nothing at this path");
    expected.extend([
        (ANNOTATION_MALFORMED, "not UTF-8"),
        (ANNOTATION_MALFORMED, "not well-formed"),
        (ANNOTATION_MALFORMED, "`nan` as `xmax`"),
        (ANNOTATION_MALFORMED, "`1px` as `xmax`"),
        (ANNOTATION_MALFORMED, "`difficult` yes"),
        (DATA_NOT_FOUND, "no picture `cut.jpg`"),
        (IMAGE_UNREADABLE, "cannot be decoded"),
    ]);
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for ((code, message), (expected, part)) in faults.iter().zip(expected) {
        assert_eq!(*code, expected, "{message}");
        assert!(message.contains(part), "{message} / {part}");
    }
}

#[test]
fn boxes_without_area_are_counted_and_boxes_outside_refused() {
    let mut set = Set::new();
    set.add_objects(
        "1",
        &[
            object("x", [3, 1, 3, 2], ""),
            object("x", [3, 2, 5, 1], ""),
            // Half a pixel over the edge is a matter of how pixels are numbered.
            object("x", [-1, 0, 9, 5], ""),
            object("only degenerate", [0, 0, 0, 0], ""),
        ],
    );
    let boxes = set.load("").unwrap().boxes.unwrap();
    assert_eq!((boxes.degenerate, boxes.of_image[0].len()), (3, 1));
    assert_eq!(boxes.classes, ["only degenerate", "x"]);
    let warning = boxes.warning("set").unwrap();
    assert_eq!(warning.code, BOX_DEGENERATE);
    assert!(warning.message.starts_with("3 boxes"), "{warning}");

    let sized = |w, h| {
        format!("<annotation><size><width>{w}</width><height>{h}</height></size></annotation>")
    };
    set.add("zero", sized(0, 0));
    set.add("right", sized(8, 4));
    assert_eq!(set.load("").unwrap().len(), 3);
    set.add("turned", sized(4, 8));
    set.add_objects(
        "2",
        &[
            object("x", [0, 0, 10, 4], ""),
            object("x", [0, -2, 8, 4], ""),
        ],
    );
    let faults = set.faults("");
    assert!(
        faults.iter().all(|f| f.0 == ANNOTATION_OUTSIDE),
        "{faults:?}"
    );
    let messages: Vec<&str> = faults.iter().map(|f| f.1.as_str()).collect();
    assert_eq!(
        messages,
        [
            "it is for a picture of 4x8, and the picture is 8x4",
            "the box from 0, 0 to 10, 4 leaves the picture of 8x4",
            "the box from 0, -2 to 8, 4 leaves the picture of 8x4"
        ]
    );
}

#[test]
fn a_folder_that_is_no_set_is_refused() {
    let set = Set::new();
    set.put("ImageSets/Main/train.txt", "\n");
    assert_eq!(set.faults("")[0].0, DATA_EMPTY);
    fs::remove_dir_all(set.dir.path().join("Annotations")).unwrap();
    assert_eq!(set.faults("")[0].0, DATA_NOT_FOUND);
    let nowhere = DataSpec::parse("voc:there/is/no/such").unwrap();
    assert_eq!(nowhere.load(None).unwrap_err().0[0].code, DATA_NOT_FOUND);
}

#[test]
fn pictures_of_different_extents_need_resizing() {
    let mut set = Set::new();
    set.add_objects("1", &[]);
    set.add_objects("2", &[]);
    let path: &Path = &set.dir.path().join("JPEGImages/2.png");
    image::GrayImage::new(5, 4).save(path).unwrap();
    assert_eq!(set.faults("")[0].0, IMAGE_SIZES);
    assert_eq!(set.load(",resize=4").unwrap().len(), 2);
}
