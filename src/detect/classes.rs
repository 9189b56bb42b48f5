//! Names of classes. A network counts its classes, data sets name them.

use std::fmt;

/// The names of a network's classes, in its order, without background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClassNames {
    /// The 80 classes of COCO's detection task.
    Coco,
    /// The 20 classes of PASCAL VOC.
    Voc,
    /// These.
    Own(Vec<String>),
}

impl ClassNames {
    /// `coco`, `voc`, or names separated by slashes; `None` if a name is empty or stands twice.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "coco" => return Some(ClassNames::Coco),
            "voc" => return Some(ClassNames::Voc),
            _ => {}
        }
        let names: Vec<String> = text.split('/').map(String::from).collect();
        let distinct = (names.iter().enumerate())
            .all(|(i, name)| !name.trim().is_empty() && !names[..i].contains(name));
        distinct.then_some(ClassNames::Own(names))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            ClassNames::Coco => COCO.len(),
            ClassNames::Voc => VOC.len(),
            ClassNames::Own(names) => names.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All names, in the network's order.
    pub fn names(&self) -> Vec<&str> {
        match self {
            ClassNames::Coco => COCO.to_vec(),
            ClassNames::Voc => VOC.to_vec(),
            ClassNames::Own(names) => names.iter().map(String::as_str).collect(),
        }
    }

    /// The network's number of a class.
    pub fn position(&self, name: &str) -> Option<u32> {
        let at = self.names().iter().position(|n| *n == name);
        at.map(|at| at as u32)
    }
}

impl fmt::Display for ClassNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClassNames::Coco => f.write_str("coco"),
            ClassNames::Voc => f.write_str("voc"),
            ClassNames::Own(names) => f.write_str(&names.join("/")),
        }
    }
}

const VOC: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

const COCO: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];
