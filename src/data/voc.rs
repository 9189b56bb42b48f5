//! Sets in the layout of PASCAL VOC: pictures in `JPEGImages`, the objects they show in
//! `Annotations`, one XML file a picture, and lists of pictures in `ImageSets/Main`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use roxmltree::{Document, Node};

use super::boxes::{Boxes, GroundTruthBox, Placement};
use super::files::{Source, refused, sorted_names};
use super::pictures::{self, Form};
use super::spec::{DataSpec, Split};
use super::{Pixels, Raw};
use crate::diag::{
    ANNOTATION_MALFORMED, ANNOTATION_OUTSIDE, DATA_EMPTY, DATA_NOT_FOUND, DATA_SPLIT_MISSING,
    Diagnostic, Diagnostics, Result,
};

/// The most bytes an annotation may have: a picture's take a few thousand.
const MAX_BYTES: u64 = 16 << 20;

/// How far, in pixels, a box may reach over the picture's edge. Tools disagree on whether the first
/// pixel is 0 or 1 and whether the last belongs to the box.
const EDGE: f64 = 1.0;

/// The set `all`: every annotated picture.
pub(super) const ALL: &str = "all";

/// Reads the pictures of the chosen set and what they show.
pub(super) fn read(spec: &DataSpec) -> Result<Raw> {
    let root = &spec.path;
    let mut names = list(spec)?;
    names.truncate(spec.limit.unwrap_or(usize::MAX));
    if names.is_empty() {
        return Err(Diagnostic::new(
            DATA_EMPTY,
            root.display().to_string(),
            "the chosen set names 0 pictures",
            "choose another with split= or set=",
        )
        .into());
    }
    let mut faults = Diagnostics::default();
    let annotations: Vec<_> = names
        .par_iter()
        .map(|name| annotation(&root.join("Annotations").join(format!("{name}.xml"))))
        .collect();
    let annotations: Vec<Option<Annotation>> = annotations
        .into_iter()
        .map(|a| a.map_err(|found| faults.0.extend(found.0)).ok())
        .collect();
    let mut paths = Vec::new();
    for name in &names {
        match picture(root, name) {
            Ok(path) => paths.push(path),
            Err(fault) => faults.push(fault),
        }
    }
    let form = Form {
        channels: spec.channels.unwrap_or(3),
        resize: spec.resize,
        letterbox: spec.letterbox,
    };
    let picture_paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let pictures = pictures::read_all(root, &picture_paths, form, &mut faults)?;
    // Boxes belong to pictures by position, which holds only where all pictures were read.
    if !faults.0.is_empty() {
        return Err(faults);
    }
    let annotations: Vec<Annotation> = annotations.into_iter().flatten().collect();
    let boxes = boxes(&annotations, &pictures.placements, &mut faults);
    faults.into_result(Raw {
        shape: pictures.shape,
        pixels: Pixels::U8(pictures.pixels),
        labels: None,
        class_count: 0,
        boxes: Some(boxes),
    })
}

/// The file of `ImageSets/Main` that lists a split, if there is one.
pub(super) fn split_file(root: &Path, split: Split) -> Option<PathBuf> {
    let names = match split {
        Split::Train => ["train", "trainval"],
        Split::Test => ["test", "val"],
    };
    let sets = root.join("ImageSets").join("Main");
    (names.iter())
        .map(|name| sets.join(format!("{name}.txt")))
        .find(|path| path.is_file())
}

/// The names of the chosen pictures.
fn list(spec: &DataSpec) -> Result<Vec<String>, Diagnostic> {
    let root = &spec.path;
    let annotations = root.join("Annotations");
    if !annotations.is_dir() {
        return Err(Diagnostic::new(
            DATA_NOT_FOUND,
            root.display().to_string(),
            "there is no folder `Annotations` inside",
            "name the folder that holds `Annotations` and `JPEGImages`",
        ));
    }
    let sets = root.join("ImageSets").join("Main");
    let file = match (&spec.set, sets.is_dir()) {
        (Some(set), _) if set == ALL => None,
        (Some(set), _) => Some(sets.join(format!("{set}.txt"))).filter(|path| path.is_file()),
        (None, false) => None,
        (None, true) => split_file(root, spec.split.unwrap_or(Split::Train)),
    };
    let every = spec.set.as_deref() == Some(ALL) || spec.set.is_none() && !sets.is_dir();
    match file {
        Some(file) => {
            let text = std::fs::read_to_string(&file).map_err(|e| refused(&file, "read", &e))?;
            // Lists of one class have a second column that says whether the picture shows it.
            let name = |line: &str| line.split_whitespace().next().map(String::from);
            Ok(text.lines().filter_map(name).collect())
        }
        None if every => Ok(sorted_names(&annotations)?
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "xml"))
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .collect()),
        None => {
            let wanted = match (&spec.set, spec.split.unwrap_or(Split::Train)) {
                (Some(set), _) => format!("`{set}.txt`"),
                (None, Split::Train) => "`train.txt` or `trainval.txt`".into(),
                (None, Split::Test) => "`test.txt` or `val.txt`".into(),
            };
            Err(Diagnostic::new(
                DATA_SPLIT_MISSING,
                sets.display().to_string(),
                format!("the set needs a file {wanted} here, and there is none"),
                "choose a list that is there with set=NAME, or all pictures with set=all",
            ))
        }
    }
}

/// The picture of this name.
fn picture(root: &Path, name: &str) -> Result<PathBuf, Diagnostic> {
    let folder = root.join("JPEGImages");
    ["jpg", "jpeg", "png", "JPG", "JPEG", "PNG"]
        .iter()
        .map(|extension| folder.join(format!("{name}.{extension}")))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Diagnostic::new(
                DATA_NOT_FOUND,
                folder.display().to_string(),
                format!("there is no picture `{name}.jpg`, `.jpeg` or `.png`"),
                "add the picture, or take its name from the list of the set",
            )
        })
}

/// What one XML file says.
#[derive(Debug)]
struct Annotation {
    path: PathBuf,
    /// Width and height, if stated.
    extent: Option<[usize; 2]>,
    objects: Vec<Object>,
}

#[derive(Debug)]
struct Object {
    /// Line of the file.
    line: u32,
    class: String,
    difficult: bool,
    /// Left, top, right, bottom in pixels.
    corners: [f64; 4],
}

fn annotation(path: &Path) -> Result<Annotation> {
    let malformed = |message: String| {
        Diagnostic::new(
            ANNOTATION_MALFORMED,
            path.display().to_string(),
            message,
            "correct the file, or take its picture from the list of the set",
        )
    };
    let mut source = Source::open(path)?;
    if source.len > MAX_BYTES {
        let message = format!("it has {} bytes, and {MAX_BYTES} are the most", source.len);
        return Err(malformed(message).into());
    }
    let mut bytes = Vec::new();
    source.read(0, source.len as usize, &mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8 text".into()))?;
    let document = Document::parse(&text)
        .map_err(|error| malformed(format!("it is not well-formed XML: {error}")))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        let name = root.tag_name().name();
        let message = format!("its root element is `{name}`, and `annotation` is needed");
        return Err(malformed(message).into());
    }
    let mut faults = Diagnostics::default();
    let mut objects = Vec::new();
    for node in root.children().filter(|n| n.has_tag_name("object")) {
        match object(&document, node) {
            Ok(object) => objects.push(object),
            Err(message) => faults.push(malformed(message)),
        }
    }
    let extent = child(root, "size").and_then(|size| {
        let one = |name| child(size, name)?.text()?.trim().parse().ok();
        // Tools that never opened the picture write zeros.
        let [w, h] = [one("width")?, one("height")?];
        (w > 0 && h > 0).then_some([w, h])
    });
    faults.into_result(Annotation {
        path: path.to_path_buf(),
        extent,
        objects,
    })
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|n| n.has_tag_name(name))
}

fn object(document: &Document, node: Node) -> Result<Object, String> {
    let line = document.text_pos_at(node.range().start).row;
    let text = |node: Node, name: &str| {
        child(node, name)
            .and_then(|n| n.text())
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(String::from)
    };
    let place = format!("the object in line {line}");
    let class = text(node, "name").ok_or_else(|| format!("{place} has no `name`"))?;
    let difficult = match text(node, "difficult").as_deref() {
        None | Some("0") => false,
        Some("1") => true,
        Some(other) => return Err(format!("{place} is `difficult` {other}, which is 0 or 1")),
    };
    let bndbox = child(node, "bndbox").ok_or_else(|| format!("{place} has no `bndbox`"))?;
    let mut corners = [0.0; 4];
    for (corner, name) in corners.iter_mut().zip(["xmin", "ymin", "xmax", "ymax"]) {
        let text = text(bndbox, name).ok_or_else(|| format!("{place} has no `{name}`"))?;
        *corner = (text.parse().ok())
            .filter(|x: &f64| x.is_finite())
            .ok_or_else(|| format!("{place} has `{text}` as `{name}`, which is no number"))?;
    }
    Ok(Object {
        line,
        class,
        difficult,
        corners,
    })
}

/// The objects as boxes in the network's input, and what does not fit the pictures.
fn boxes(annotations: &[Annotation], placements: &[Placement], faults: &mut Diagnostics) -> Boxes {
    let all = || annotations.iter().flat_map(|a| &a.objects);
    let names: BTreeSet<&str> = all().map(|o| o.class.as_str()).collect();
    let classes: Vec<String> = names.into_iter().map(String::from).collect();
    let mut degenerate = 0;
    let mut of_image = Vec::with_capacity(annotations.len());
    for (annotation, placement) in annotations.iter().zip(placements) {
        let place = annotation.path.display();
        let [w, h] = placement.extent;
        if let Some([stated_w, stated_h]) = annotation.extent.filter(|e| *e != placement.extent) {
            faults.push(Diagnostic::new(
                ANNOTATION_OUTSIDE,
                place.to_string(),
                format!("it is for a picture of {stated_w}x{stated_h}, and the picture is {w}x{h}"),
                "annotate the picture as it is, or restore it",
            ));
            continue;
        }
        let mut boxes = Vec::with_capacity(annotation.objects.len());
        for object in &annotation.objects {
            let [left, top, right, bottom] = object.corners;
            let inside = |at: f64, n: usize| (-EDGE..=n as f64 + EDGE).contains(&at);
            if !(inside(left, w) && inside(right, w) && inside(top, h) && inside(bottom, h)) {
                faults.push(Diagnostic::new(
                    ANNOTATION_OUTSIDE,
                    format!("{place}, line {}", object.line),
                    format!(
                        "the box from {left}, {top} to {right}, {bottom} leaves the picture of {w}x{h}"
                    ),
                    "correct the box",
                ));
                continue;
            }
            if left >= right || top >= bottom {
                degenerate += 1;
                continue;
            }
            // The class is in the list, which was made of the same objects.
            let class = classes.binary_search(&object.class).unwrap_or_default() as u32;
            boxes.push(GroundTruthBox {
                class,
                bbox: placement.place(left, top, right, bottom),
                difficult: object.difficult,
            });
        }
        of_image.push(boxes);
    }
    Boxes {
        classes,
        of_image,
        degenerate,
    }
}

#[cfg(test)]
mod tests;
