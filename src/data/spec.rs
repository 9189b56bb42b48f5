//! Data specifications: `kind:path[,key=value…]`, the form in which every verb takes a data set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::voc;
use crate::diag::{
    DATA_KIND_LATER, DATA_SPEC_KEY, DATA_SPEC_MALFORMED, DATA_SPEC_VALUE, Diagnostic, Diagnostics,
    Result,
};
use crate::ir::nested::ChannelOrder;

/// The layout of a data set on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CIFAR-10's binary files: `data_batch_*.bin` and `test_batch.bin` of 3073-byte records.
    Cifar10,
    /// MNIST's layout: `train-images-idx3-ubyte` and its three companions.
    Idx,
    /// A folder of PNG and JPEG pictures, one folder a class, or flat without labels.
    Folder,
    /// NumPy arrays.
    Npy,
    /// PASCAL VOC's layout: `Annotations`, `JPEGImages` and `ImageSets/Main`.
    Voc,
}

impl Kind {
    /// The name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cifar10 => "cifar10",
            Kind::Idx => "idx",
            Kind::Folder => "folder",
            Kind::Npy => "npy",
            Kind::Voc => "voc",
        }
    }
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train and to calibrate on.
    Train,
    /// To measure on.
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

/// The order of an array's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Image, channel, row, column.
    Nchw,
    /// Image, row, column, channel.
    Nhwc,
    /// Signals: channels along one axis.
    Ncl,
}

/// A parsed data specification. Keys that were not given are `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSpec {
    /// What lies at the path.
    pub kind: Kind,
    /// A folder, or the array of images.
    pub path: PathBuf,
    /// `labels=`: the array of labels (`npy` only).
    pub labels: Option<PathBuf>,
    /// `split=train|test`.
    pub split: Option<Split>,
    /// `limit=`: at most this many images.
    pub limit: Option<usize>,
    /// `mean=`: one value, or one a channel separated by `/`.
    pub mean: Option<Vec<f32>>,
    /// `std=`: one value, or one a channel separated by `/`.
    pub std: Option<Vec<f32>>,
    /// `scale=`: multiplies the raw pixel before the mean is subtracted.
    pub scale: Option<f32>,
    /// `order=rgb|bgr`: the channel order the network expects.
    pub order: Option<ChannelOrder>,
    /// `resize=HxW`, or one number for a square: `[rows, columns]`.
    pub resize: Option<[usize; 2]>,
    /// `letterbox=`: resizing keeps the proportions and fills what is left over with this grey
    /// (`folder` and `voc`).
    pub letterbox: Option<u8>,
    /// `set=`: the list in `ImageSets/Main` that names the pictures, or `all` (`voc` only; the one
    /// of the split if not given).
    pub set: Option<String>,
    /// `channels=1|3`: grey or colour (`folder` and `voc`; 3 if not given).
    pub channels: Option<usize>,
    /// `layout=nchw|nhwc|ncl` (`npy` only; `nchw` if not given).
    pub layout: Option<Layout>,
}

const KEYS: &[&str] = &[
    "labels",
    "split",
    "set",
    "limit",
    "mean",
    "std",
    "scale",
    "order",
    "resize",
    "letterbox",
    "channels",
    "layout",
];

/// The largest extent `resize` accepts.
const MAX_EXTENT: usize = 4096;

impl DataSpec {
    /// Reads a specification; every fault in it is reported.
    pub fn parse(text: &str) -> Result<Self> {
        let form = "write kind:path[,key=value…], for example cifar10:data/cifar10,split=test";
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(Diagnostic::new(
                DATA_SPEC_MALFORMED,
                format!("data specification `{text}`"),
                "there is no `kind:` in front of the path",
                form,
            )
            .into());
        };
        let kind = match kind {
            "cifar10" => Kind::Cifar10,
            "idx" => Kind::Idx,
            "folder" => Kind::Folder,
            "npy" => Kind::Npy,
            "voc" => Kind::Voc,
            "coco" => {
                return Err(Diagnostic::new(
                    DATA_KIND_LATER,
                    format!("data specification `{text}`"),
                    "boxes are read in the layout of PASCAL VOC only",
                    "convert the annotations to VOC's XML files and use voc:DIR",
                )
                .into());
            }
            _ => {
                return Err(Diagnostic::new(
                    DATA_SPEC_MALFORMED,
                    format!("data specification `{text}`"),
                    format!(
                        "the kind is `{kind}`; the kinds are cifar10, idx, folder, npy and voc"
                    ),
                    form,
                )
                .into());
            }
        };
        let mut parts = rest.split(',');
        let path = parts.next().unwrap_or_default();
        let mut faults = Diagnostics::default();
        if path.is_empty() {
            faults.push(Diagnostic::new(
                DATA_SPEC_MALFORMED,
                format!("data specification `{text}`"),
                "there is no path after the colon",
                form,
            ));
        }
        let mut spec = Self {
            kind,
            path: PathBuf::from(path),
            labels: None,
            split: None,
            limit: None,
            mean: None,
            std: None,
            scale: None,
            order: None,
            resize: None,
            letterbox: None,
            set: None,
            channels: None,
            layout: None,
        };
        let mut seen: Vec<&str> = Vec::new();
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                faults.push(Diagnostic::new(
                    DATA_SPEC_MALFORMED,
                    format!("data specification `{text}`"),
                    format!("`{part}` is not of the form key=value"),
                    form,
                ));
                continue;
            };
            if seen.contains(&key) {
                faults.push(Diagnostic::new(
                    DATA_SPEC_KEY,
                    format!("data specification `{text}`"),
                    format!("the key `{key}` is given twice"),
                    "keep one of them",
                ));
                continue;
            }
            seen.push(key);
            if let Err(fault) = spec.set_key(text, key, value) {
                faults.push(fault);
            }
        }
        if spec.letterbox.is_some() && !seen.contains(&"resize") {
            faults.push(Diagnostic::new(
                DATA_SPEC_KEY,
                format!("data specification `{text}`"),
                "the key `letterbox` says how `resize` works, and `resize` is not given",
                "add resize=HxW",
            ));
        }
        faults.into_result(spec)
    }

    /// The same specification, reading `split` where it does not choose one itself and its kind
    /// has splits at all.
    pub fn with_split(&self, split: Split) -> Self {
        let mut spec = self.clone();
        if spec.kind != Kind::Npy && spec.set.is_none() {
            spec.split.get_or_insert(split);
        }
        spec
    }

    /// Brings pictures to size as `other` does, as far as the own kind can: arrays have the size they
    /// have, and only picture files are letterboxed.
    pub fn take_size(&mut self, other: &Self) {
        if self.kind != Kind::Npy {
            self.resize = other.resize;
        }
        if matches!(self.kind, Kind::Folder | Kind::Voc) {
            self.letterbox = other.letterbox;
        }
    }

    /// The same specification from any working directory: its paths made absolute. A specification
    /// whose absolute path has no text form (it holds a comma) is left as it is.
    ///
    /// # Errors
    /// `E002` if the working directory is gone.
    pub fn absolute(&self) -> Result<Self, Diagnostic> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path)
                .map_err(|e| Diagnostic::io(path, "find the absolute path", &e))
        };
        let mut spec = self.clone();
        spec.path = absolute(&self.path)?;
        spec.labels = self.labels.as_ref().map(absolute).transpose()?;
        let readable = Self::parse(&spec.to_string()).is_ok_and(|read| read == spec);
        Ok(if readable { spec } else { self.clone() })
    }

    /// The test images that belong to these training images, if the set has such: the same
    /// specification with `split=test`.
    pub fn test_split(&self) -> Option<Self> {
        let there = |name: &str| self.path.join(name).exists();
        let has = match self.kind {
            Kind::Cifar10 => there("test_batch.bin"),
            Kind::Idx => there("t10k-images-idx3-ubyte") || there("t10k-images.idx3-ubyte"),
            Kind::Folder => there("test") || there("val"),
            Kind::Npy => false,
            Kind::Voc => self.set.is_none() && voc::split_file(&self.path, Split::Test).is_some(),
        };
        (has && self.split != Some(Split::Test)).then(|| Self {
            split: Some(Split::Test),
            ..self.clone()
        })
    }

    fn set_key(&mut self, text: &str, key: &str, value: &str) -> Result<(), Diagnostic> {
        let bad = |accepts: &str| {
            Diagnostic::new(
                DATA_SPEC_VALUE,
                format!("data specification `{text}`"),
                format!("`{key}` is `{value}`; it takes {accepts}"),
                format!("give {accepts}"),
            )
        };
        let only = |kinds: &[Kind]| {
            if kinds.contains(&self.kind) {
                Ok(())
            } else {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                Err(Diagnostic::new(
                    DATA_SPEC_KEY,
                    format!("data specification `{text}`"),
                    format!(
                        "the key `{key}` belongs to `{}` data, not to `{}`",
                        names.join("` and `"),
                        self.kind.name()
                    ),
                    format!("leave `{key}` out"),
                ))
            }
        };
        match key {
            "labels" => {
                only(&[Kind::Npy])?;
                if value.is_empty() {
                    return Err(bad("the path of an array"));
                }
                self.labels = Some(PathBuf::from(value));
            }
            "split" => {
                if self.kind == Kind::Npy {
                    return Err(Diagnostic::new(
                        DATA_SPEC_KEY,
                        format!("data specification `{text}`"),
                        "the key `split` does not apply to `npy` data, which is one array",
                        "name the array you want instead",
                    ));
                }
                self.split = Some(match value {
                    "train" => Split::Train,
                    "test" => Split::Test,
                    _ => return Err(bad("train or test")),
                });
            }
            "limit" => {
                let accepts = "a whole number from 1 on";
                let limit = value.parse().map_err(|_| bad(accepts))?;
                if limit == 0 {
                    return Err(bad(accepts));
                }
                self.limit = Some(limit);
            }
            "mean" => {
                let accepts = "finite numbers, one a channel, separated by `/`";
                self.mean = Some(list(value, |x| x.is_finite()).ok_or_else(|| bad(accepts))?);
            }
            "std" => {
                let accepts = "positive numbers, one a channel, separated by `/`";
                let valid = |x: f32| x.is_finite() && x > 0.0;
                self.std = Some(list(value, valid).ok_or_else(|| bad(accepts))?);
            }
            "scale" => {
                let accepts = "a positive number";
                let scale: f32 = value.parse().map_err(|_| bad(accepts))?;
                if !(scale.is_finite() && scale > 0.0) {
                    return Err(bad(accepts));
                }
                self.scale = Some(scale);
            }
            "order" => {
                self.order = Some(match value {
                    "rgb" => ChannelOrder::Rgb,
                    "bgr" => ChannelOrder::Bgr,
                    _ => return Err(bad("rgb or bgr")),
                });
            }
            "resize" => {
                let accepts = "HxW or one number, each 1 to 4096";
                self.resize = Some(extent(value).ok_or_else(|| bad(accepts))?);
            }
            "letterbox" => {
                only(&[Kind::Folder, Kind::Voc])?;
                let accepts = "the grey to fill with, 0 to 255";
                self.letterbox = Some(value.parse().map_err(|_| bad(accepts))?);
            }
            "set" => {
                only(&[Kind::Voc])?;
                // A plain file name: it must not lead out of the folder of lists.
                if value.is_empty() || value.contains(['/', '\\']) {
                    return Err(bad("the name of a list in ImageSets/Main, or all"));
                }
                self.set = Some(value.to_string());
            }
            "channels" => {
                only(&[Kind::Folder, Kind::Voc])?;
                self.channels = Some(match value {
                    "1" => 1,
                    "3" => 3,
                    _ => return Err(bad("1 or 3")),
                });
            }
            "layout" => {
                only(&[Kind::Npy])?;
                self.layout = Some(match value {
                    "nchw" => Layout::Nchw,
                    "nhwc" => Layout::Nhwc,
                    "ncl" => Layout::Ncl,
                    _ => return Err(bad("nchw, nhwc or ncl")),
                });
            }
            _ => {
                return Err(Diagnostic::new(
                    DATA_SPEC_KEY,
                    format!("data specification `{text}`"),
                    format!("the key `{key}` is not known"),
                    format!("the keys are {}", KEYS.join(", ")),
                ));
            }
        }
        Ok(())
    }
}

/// `a/b/c` as numbers that all satisfy `valid`.
fn list(value: &str, valid: impl Fn(f32) -> bool) -> Option<Vec<f32>> {
    value
        .split('/')
        .map(|x| x.parse().ok().filter(|&x| valid(x)))
        .collect()
}

/// `HxW`, or `N` for `NxN`.
fn extent(value: &str) -> Option<[usize; 2]> {
    let one = |x: &str| {
        x.parse()
            .ok()
            .filter(|n: &usize| (1..=MAX_EXTENT).contains(n))
    };
    match value.split_once('x') {
        Some((h, w)) => Some([one(h)?, one(w)?]),
        None => one(value).map(|n| [n, n]),
    }
}

impl FromStr for DataSpec {
    type Err = Diagnostics;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Writes the specification so that parsing it gives the same one.
impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = |values: &[f32]| {
            let texts: Vec<String> = values.iter().map(f32::to_string).collect();
            texts.join("/")
        };
        write!(f, "{}:{}", self.kind.name(), self.path.display())?;
        if let Some(labels) = &self.labels {
            write!(f, ",labels={}", labels.display())?;
        }
        if let Some(split) = self.split {
            write!(f, ",split={}", split.name())?;
        }
        if let Some(set) = &self.set {
            write!(f, ",set={set}")?;
        }
        if let Some(limit) = self.limit {
            write!(f, ",limit={limit}")?;
        }
        if let Some(mean) = &self.mean {
            write!(f, ",mean={}", numbers(mean))?;
        }
        if let Some(std) = &self.std {
            write!(f, ",std={}", numbers(std))?;
        }
        if let Some(scale) = self.scale {
            write!(f, ",scale={scale}")?;
        }
        match self.order {
            Some(ChannelOrder::Rgb) => f.write_str(",order=rgb")?,
            Some(ChannelOrder::Bgr) => f.write_str(",order=bgr")?,
            None => {}
        }
        if let Some([h, w]) = self.resize {
            write!(f, ",resize={h}x{w}")?;
        }
        if let Some(grey) = self.letterbox {
            write!(f, ",letterbox={grey}")?;
        }
        if let Some(channels) = self.channels {
            write!(f, ",channels={channels}")?;
        }
        match self.layout {
            Some(Layout::Nchw) => f.write_str(",layout=nchw"),
            Some(Layout::Nhwc) => f.write_str(",layout=nhwc"),
            Some(Layout::Ncl) => f.write_str(",layout=ncl"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Code;

    fn codes(text: &str) -> Vec<Code> {
        DataSpec::parse(text)
            .expect_err("must be refused")
            .0
            .iter()
            .map(|d| d.code)
            .collect()
    }

    #[test]
    fn absolute_paths_are_read_back() {
        let spec = DataSpec::parse("npy:a/x.npy,labels=y.npy,limit=3").unwrap();
        let absolute = spec.absolute().unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute.path, here.join("a/x.npy"));
        assert_eq!(absolute.labels, Some(here.join("y.npy")));
        assert_eq!(absolute.limit, Some(3));
        assert_eq!(DataSpec::parse(&absolute.to_string()).unwrap(), absolute);
    }

    #[test]
    fn every_key_is_read_and_written_back() {
        for text in [
            "cifar10:data/cifar10",
            "cifar10:d,split=test,limit=500,mean=125.3/123/113.9,std=63/62.1/66.7,scale=1,order=rgb",
            "folder:pictures,split=train,order=bgr,resize=96x128,channels=3",
            "npy:x.npy,labels=y.npy,limit=1,scale=0.00392,layout=nhwc",
            "idx:mnist,mean=33.3,std=78.6",
            "folder:pictures,resize=96x96,letterbox=114",
            "voc:d,set=trainval,limit=3,resize=160x160,letterbox=0,channels=1",
            "voc:d,split=test,order=bgr",
        ] {
            assert_eq!(DataSpec::parse(text).unwrap().to_string(), text);
        }
        let spec = DataSpec::parse("folder:C:/a b,resize=32").unwrap();
        assert_eq!(spec.path, PathBuf::from("C:/a b"));
        assert_eq!(spec.resize, Some([32, 32]));
    }

    #[test]
    fn all_faults_are_reported_together() {
        assert_eq!(
            codes("cifar10:,split=valid,limit=0,mean=1/x,std=0,scale=-1,order=grb,what=1,limit"),
            [
                DATA_SPEC_MALFORMED,
                DATA_SPEC_VALUE,
                DATA_SPEC_VALUE,
                DATA_SPEC_VALUE,
                DATA_SPEC_VALUE,
                DATA_SPEC_VALUE,
                DATA_SPEC_VALUE,
                DATA_SPEC_KEY,
                DATA_SPEC_MALFORMED,
            ]
        );
    }

    #[test]
    fn values_outside_the_range_are_refused() {
        for value in ["0", "4097", "3x", "x3", "3x3x3", "-1", "1e3"] {
            assert_eq!(
                codes(&format!("folder:d,resize={value}")),
                [DATA_SPEC_VALUE]
            );
        }
        for value in ["", "nan", "inf", "1/", "1//2"] {
            assert_eq!(codes(&format!("folder:d,mean={value}")), [DATA_SPEC_VALUE]);
            assert_eq!(codes(&format!("folder:d,std={value}")), [DATA_SPEC_VALUE]);
        }
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        assert_eq!(codes("npy:x.npy,split=test"), [DATA_SPEC_KEY]);
        assert_eq!(codes("cifar10:d,labels=y.npy"), [DATA_SPEC_KEY]);
        assert_eq!(codes("cifar10:d,layout=nchw"), [DATA_SPEC_KEY]);
        assert_eq!(codes("idx:d,channels=1"), [DATA_SPEC_KEY]);
        assert_eq!(codes("idx:d,limit=1,limit=2"), [DATA_SPEC_KEY]);
        assert_eq!(codes("folder:d,set=all"), [DATA_SPEC_KEY]);
        assert_eq!(codes("cifar10:d,resize=8,letterbox=1"), [DATA_SPEC_KEY]);
        assert_eq!(codes("voc:d,letterbox=1"), [DATA_SPEC_KEY]);
        assert_eq!(codes("voc:d,set=../x"), [DATA_SPEC_VALUE]);
        assert_eq!(codes("voc:d,resize=8,letterbox=256"), [DATA_SPEC_VALUE]);
    }

    #[test]
    fn other_detection_sets_are_named_as_such() {
        assert_eq!(codes("coco:f.json,limit=2"), [DATA_KIND_LATER]);
        assert_eq!(codes("cifar100:d"), [DATA_SPEC_MALFORMED]);
        assert_eq!(codes("data/cifar10"), [DATA_SPEC_MALFORMED]);
    }

    #[test]
    fn a_split_is_only_filled_in_where_none_was_chosen() {
        let split = |text: &str| DataSpec::parse(text).unwrap().with_split(Split::Test).split;
        assert_eq!(split("cifar10:d"), Some(Split::Test));
        assert_eq!(split("cifar10:d,split=train"), Some(Split::Train));
        assert_eq!(split("npy:x.npy"), None);
        assert_eq!(split("voc:d"), Some(Split::Test));
        assert_eq!(split("voc:d,set=val"), None);
    }

    #[test]
    fn a_size_is_taken_as_far_as_the_kind_has_one() {
        let recorded = DataSpec::parse("folder:p,resize=8x9,letterbox=3,order=bgr").unwrap();
        for (own, sized) in [
            ("voc:d", "voc:d,resize=8x9,letterbox=3"),
            ("cifar10:d", "cifar10:d,resize=8x9"),
            ("npy:x.npy", "npy:x.npy"),
        ] {
            let mut spec = DataSpec::parse(own).unwrap();
            spec.take_size(&recorded);
            assert_eq!(spec.to_string(), sized);
        }
    }
}
