//! What a detection network's outputs mean, as the user names it: `kind[,key=value…]`.

use std::fmt;
use std::str::FromStr;

use nest_detect::{ScoreCoding, YoloForm};

use super::classes::ClassNames;
use crate::diag::{Diagnostic, Diagnostics, HEAD_MALFORMED, Result};

/// A parsed head. Its text form reads back as the same head.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its kind with what belongs to it.
    pub kind: HeadKind,
    /// `classes=`: the names of the classes.
    pub classes: ClassNames,
    /// `score=`: boxes need a score above this.
    pub score: f32,
    /// `overlap=`: boxes that overlap a stronger one of their class by more are dropped.
    pub overlap: f32,
    /// `candidates=`: how many boxes, the strongest, go into that comparison.
    pub candidates: usize,
}

/// The kinds of heads.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadKind {
    /// See [`nest_detect::Fastestdet`].
    Fastestdet {
        /// `size=`: rows and columns of the pictures it was trained on.
        size: usize,
    },
    /// UltraFace as it is usually exported: probabilities of background and face, and corners.
    Ultraface,
    /// See [`nest_detect::Ssd`].
    Ssd {
        /// `boxes=`: what boxes are.
        boxes: BoxesKey,
        /// `scores=`: what is left to do to scores.
        scores: ScoreCoding,
        /// `background=first|none`.
        background: bool,
        /// `strides=`: pixels from one cell to the next, one a feature map.
        strides: Vec<usize>,
        /// `priors=`: widths and heights in pixels, a list a feature map.
        priors: Vec<Vec<[f32; 2]>>,
    },
    /// See [`nest_detect::Yolo`].
    Yolo {
        /// `form=v3|v5`.
        form: YoloForm,
        /// `anchors=`: widths and heights in pixels, a list a feature map, finest map first.
        anchors: Vec<Vec<[f32; 2]>>,
    },
}

/// What the boxes of an SSD head are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BoxesKey {
    /// `boxes=corners`.
    Corners,
    /// `boxes=centres`.
    Centres,
    /// `boxes=priors`, with `variances=`.
    Priors([f32; 2]),
}

/// Scores above it are looked at. Average precision wants even weak boxes.
const SCORE: f32 = 0.01;

/// The overlap from which on two boxes are taken to mean one object.
const OVERLAP: f32 = 0.45;

/// Enough for pictures full of small objects.
const CANDIDATES: usize = 1000;

/// The most candidates that may be asked for: comparing them takes time with their square.
const MOST_CANDIDATES: usize = 100_000;

/// FastestDet's own training pictures.
const FASTESTDET_SIZE: usize = 352;

/// The variances of the first SSD.
const VARIANCES: [f32; 2] = [0.1, 0.2];

/// Keys of every kind.
const COMMON: [&str; 4] = ["classes", "score", "overlap", "candidates"];

const FORM: &str = "write kind[,key=value…], for example fastestdet,classes=coco";

impl Head {
    /// Reads a head; every fault in it is reported.
    pub fn parse(text: &str) -> Result<Self> {
        let fault = |message: String, hint: &str| {
            Diagnostic::new(HEAD_MALFORMED, format!("head `{text}`"), message, hint)
        };
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let own: &[&str] = match name {
            "fastestdet" => &["size"],
            "ultraface" => &[],
            "ssd" => &[
                "boxes",
                "variances",
                "scores",
                "background",
                "strides",
                "priors",
            ],
            "yolo" => &["form", "anchors"],
            _ => {
                let message = format!(
                    "the kind is `{name}`; the kinds are fastestdet, ultraface, ssd and yolo"
                );
                return Err(fault(message, FORM).into());
            }
        };
        let known: Vec<&str> = own.iter().chain(&COMMON).copied().collect();
        let mut keys = Keys {
            given: Vec::new(),
            bad: Vec::new(),
        };
        let mut faults = Diagnostics::default();
        for part in parts {
            match part.split_once('=') {
                None => faults.push(fault(
                    format!("`{part}` is not of the form key=value"),
                    FORM,
                )),
                Some((key, _)) if !known.contains(&key) => faults.push(fault(
                    format!("the key `{key}` is not known for `{name}`"),
                    &format!("the keys are {}", known.join(", ")),
                )),
                Some((key, _)) if keys.given.iter().any(|(k, _)| *k == key) => faults.push(fault(
                    format!("the key `{key}` is given twice"),
                    "keep one of them",
                )),
                Some(pair) => keys.given.push(pair),
            }
        }
        let head = keys.head(name);
        for (key, value, accepts) in keys.bad {
            let message = match value {
                Some(value) => format!("`{key}` is `{value}`; it takes {accepts}"),
                None => format!("the key `{key}` is needed; it takes {accepts}"),
            };
            faults.push(fault(message, &format!("give {accepts}")));
        }
        faults.into_result(head)
    }
}

/// The keys that were given, taken one after the other.
struct Keys<'t> {
    given: Vec<(&'t str, &'t str)>,
    /// Key, value where one was given, and what it takes.
    bad: Vec<(&'static str, Option<&'t str>, &'static str)>,
}

impl<'t> Keys<'t> {
    /// The value of `key` by `read`, or `default` if it was not given. A value that `read` refuses is
    /// noted, and so is a missing one without default.
    fn take<T>(
        &mut self,
        key: &'static str,
        accepts: &'static str,
        default: Option<T>,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = (self.given.iter())
            .find(|(k, _)| *k == key)
            .map(|(_, v)| *v);
        let value = match text {
            None => default,
            Some(text) => read(text),
        };
        if value.is_none() {
            self.bad.push((key, text, accepts));
        }
        value
    }

    /// The head of these keys; whatever it holds for bad ones does not matter.
    fn head(&mut self, name: &str) -> Head {
        let kind = match name {
            "fastestdet" => HeadKind::Fastestdet {
                size: self
                    .take(
                        "size",
                        "a whole number of pixels, 1 to 4096",
                        Some(FASTESTDET_SIZE),
                        |v| v.parse().ok().filter(|n| (1..=4096).contains(n)),
                    )
                    .unwrap_or(FASTESTDET_SIZE),
            },
            "ultraface" => HeadKind::Ultraface,
            "ssd" => self.ssd(),
            _ => self.yolo(),
        };
        let classes = match &kind {
            HeadKind::Fastestdet { .. } => Some(ClassNames::Coco),
            HeadKind::Ultraface => Some(ClassNames::Own(vec!["face".into()])),
            HeadKind::Ssd { .. } | HeadKind::Yolo { .. } => None,
        };
        let share = |v: &str| v.parse().ok().filter(|x| (0.0..1.0).contains(x));
        Head {
            kind,
            classes: self
                .take(
                    "classes",
                    "coco, voc, or the network's classes separated by `/`",
                    classes,
                    ClassNames::parse,
                )
                .unwrap_or(ClassNames::Coco),
            score: self
                .take("score", "a number from 0 to below 1", Some(SCORE), share)
                .unwrap_or(SCORE),
            overlap: self
                .take(
                    "overlap",
                    "a number from 0 to below 1",
                    Some(OVERLAP),
                    share,
                )
                .unwrap_or(OVERLAP),
            candidates: self
                .take(
                    "candidates",
                    "a whole number, 1 to 100000",
                    Some(CANDIDATES),
                    |v| v.parse().ok().filter(|n| (1..=MOST_CANDIDATES).contains(n)),
                )
                .unwrap_or(CANDIDATES),
        }
    }

    fn ssd(&mut self) -> HeadKind {
        let variances = self
            .take(
                "variances",
                "two positive numbers separated by `/`",
                Some(VARIANCES),
                |v| {
                    let (a, b) = v.split_once('/')?;
                    Some([positive(a)?, positive(b)?])
                },
            )
            .unwrap_or(VARIANCES);
        let boxes = self
            .take(
                "boxes",
                "priors, corners or centres",
                Some(BoxesKey::Priors(variances)),
                |v| match v {
                    "priors" => Some(BoxesKey::Priors(variances)),
                    "corners" => Some(BoxesKey::Corners),
                    "centres" => Some(BoxesKey::Centres),
                    _ => None,
                },
            )
            .unwrap_or(BoxesKey::Corners);
        let scores = self.take(
            "scores",
            "plain, softmax or sigmoid",
            Some(ScoreCoding::Plain),
            |v| match v {
                "plain" => Some(ScoreCoding::Plain),
                "softmax" => Some(ScoreCoding::Softmax),
                "sigmoid" => Some(ScoreCoding::Sigmoid),
                _ => None,
            },
        );
        let background = self.take("background", "first or none", Some(true), |v| match v {
            "first" => Some(true),
            "none" => Some(false),
            _ => None,
        });
        let with_priors = matches!(boxes, BoxesKey::Priors(_));
        let strides = self
            .take(
                "strides",
                "whole numbers of pixels, one a feature map, separated by `/`",
                (!with_priors).then(Vec::new),
                |v| {
                    let one = |s: &str| s.parse().ok().filter(|n| (1..=4096).contains(n));
                    v.split('/').map(one).collect()
                },
            )
            .unwrap_or_default();
        let priors = self
            .take("priors", EXTENTS, (!with_priors).then(Vec::new), extents)
            .unwrap_or_default();
        if strides.len() != priors.len() {
            let text = (self.given.iter())
                .find(|(k, _)| *k == "priors")
                .map(|(_, v)| *v);
            self.bad
                .push(("priors", text, "as many lists as there are strides"));
        }
        HeadKind::Ssd {
            boxes,
            scores: scores.unwrap_or(ScoreCoding::Plain),
            background: background.unwrap_or(true),
            strides,
            priors,
        }
    }

    fn yolo(&mut self) -> HeadKind {
        let form = self.take("form", "v3 or v5", Some(YoloForm::V3), |v| match v {
            "v3" => Some(YoloForm::V3),
            "v5" => Some(YoloForm::V5),
            _ => None,
        });
        let anchors = self.take("anchors", EXTENTS, None, extents);
        HeadKind::Yolo {
            form: form.unwrap_or(YoloForm::V3),
            anchors: anchors.unwrap_or_default(),
        }
    }
}

const EXTENTS: &str =
    "widths and heights in pixels, WxH:WxH… for each feature map, the maps separated by `/`";

fn positive(text: &str) -> Option<f32> {
    text.parse()
        .ok()
        .filter(|x: &f32| x.is_finite() && *x > 0.0)
}

/// `10x13:16x30/62x45`.
fn extents(text: &str) -> Option<Vec<Vec<[f32; 2]>>> {
    let one = |s: &str| {
        let (w, h) = s.split_once('x')?;
        Some([positive(w)?, positive(h)?])
    };
    (text.split('/'))
        .map(|level| level.split(':').map(one).collect())
        .collect()
}

impl FromStr for Head {
    type Err = Diagnostics;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// Writes every key that is not at its default.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extents = |levels: &[Vec<[f32; 2]>]| {
            let one = |level: &Vec<[f32; 2]>| {
                let texts: Vec<String> = level.iter().map(|[w, h]| format!("{w}x{h}")).collect();
                texts.join(":")
            };
            let texts: Vec<String> = levels.iter().map(one).collect();
            texts.join("/")
        };
        match &self.kind {
            HeadKind::Fastestdet { size } => {
                f.write_str("fastestdet")?;
                if *size != FASTESTDET_SIZE {
                    write!(f, ",size={size}")?;
                }
            }
            HeadKind::Ultraface => f.write_str("ultraface")?,
            HeadKind::Ssd {
                boxes,
                scores,
                background,
                strides,
                priors,
            } => {
                f.write_str("ssd")?;
                match boxes {
                    BoxesKey::Corners => f.write_str(",boxes=corners")?,
                    BoxesKey::Centres => f.write_str(",boxes=centres")?,
                    BoxesKey::Priors(v) if *v == VARIANCES => {}
                    BoxesKey::Priors([a, b]) => write!(f, ",variances={a}/{b}")?,
                }
                match scores {
                    ScoreCoding::Plain => {}
                    ScoreCoding::Softmax => f.write_str(",scores=softmax")?,
                    ScoreCoding::Sigmoid => f.write_str(",scores=sigmoid")?,
                }
                if !background {
                    f.write_str(",background=none")?;
                }
                if !strides.is_empty() {
                    let texts: Vec<String> = strides.iter().map(usize::to_string).collect();
                    write!(f, ",strides={},priors={}", texts.join("/"), extents(priors))?;
                }
            }
            HeadKind::Yolo { form, anchors } => {
                f.write_str("yolo")?;
                if *form == YoloForm::V5 {
                    f.write_str(",form=v5")?;
                }
                write!(f, ",anchors={}", extents(anchors))?;
            }
        }
        write!(f, ",classes={}", self.classes)?;
        if self.score != SCORE {
            write!(f, ",score={}", self.score)?;
        }
        if self.overlap != OVERLAP {
            write!(f, ",overlap={}", self.overlap)?;
        }
        if self.candidates != CANDIDATES {
            write!(f, ",candidates={}", self.candidates)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let found = Head::parse(text).expect_err("must be refused").0;
        assert!(found.iter().all(|d| d.code == HEAD_MALFORMED));
        found.into_iter().map(|d| d.message).collect()
    }

    #[test]
    fn heads_read_back_as_they_are_written() {
        for text in [
            "fastestdet,classes=coco",
            "fastestdet,size=256,classes=person/head,score=0.3,overlap=0.5,candidates=50",
            "ultraface,classes=face",
            "ssd,boxes=corners,scores=softmax,background=none,classes=voc",
            "ssd,boxes=centres,scores=sigmoid,classes=a b/c",
            "ssd,variances=0.2/0.1,strides=8/16,priors=10x10:16x24/32x32.5,classes=face",
            "yolo,anchors=10x13:16x30/62x45,classes=voc",
            "yolo,form=v5,anchors=4x5,classes=x,overlap=0.6",
        ] {
            let head = Head::parse(text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(head.to_string(), text);
            assert_eq!(text.parse::<Head>().unwrap(), head);
        }
        let short = Head::parse("ultraface").unwrap();
        assert_eq!(short.to_string(), "ultraface,classes=face");
        assert_eq!((short.score, short.overlap), (0.01, 0.45));
        let coco = Head::parse("fastestdet").unwrap().classes;
        assert_eq!((coco.len(), coco.position("toothbrush")), (80, Some(79)));
        assert_eq!(ClassNames::Voc.position("person"), Some(14));
    }

    #[test]
    fn all_faults_are_reported_together() {
        assert_eq!(
            messages("fastestdet,size=0,classes=a//b,score=1,overlap=x,what=1,form,score=0"),
            [
                "the key `what` is not known for `fastestdet`",
                "`form` is not of the form key=value",
                "the key `score` is given twice",
                "`size` is `0`; it takes a whole number of pixels, 1 to 4096",
                "`classes` is `a//b`; it takes coco, voc, or the network's classes separated by `/`",
                "`score` is `1`; it takes a number from 0 to below 1",
                "`overlap` is `x`; it takes a number from 0 to below 1",
            ]
        );
        assert_eq!(messages("detr").len(), 1);
        assert_eq!(messages("").len(), 1);
        // What has no default must be given.
        assert_eq!(messages("yolo").len(), 2);
        assert_eq!(messages("ssd,classes=a").len(), 2);
        assert_eq!(messages("ssd,boxes=corners").len(), 1);
    }

    #[test]
    fn values_outside_the_range_are_refused() {
        for pair in [
            "score=-0.1",
            "score=nan",
            "overlap=1",
            "candidates=0",
            "candidates=100001",
            "classes=a/a",
            "classes=",
            "size=4097",
            "size=1.5",
        ] {
            assert_eq!(messages(&format!("fastestdet,{pair}")).len(), 1, "{pair}");
        }
        for pair in [
            "anchors=",
            "anchors=1",
            "anchors=1x0",
            "anchors=1x2/",
            "anchors=1x2:",
            "anchors=infx1",
            "anchors=1x2,form=v4",
        ] {
            assert_eq!(
                messages(&format!("yolo,classes=a,{pair}")).len(),
                1,
                "{pair}"
            );
        }
        for pair in [
            "strides=8,priors=1x1/2x2",
            "strides=0,priors=1x1,boxes=corners",
            "boxes=polar",
            "scores=raw",
            "background=last",
            "variances=0.1",
            "variances=0/1",
        ] {
            assert!(
                !messages(&format!("ssd,classes=a,{pair}")).is_empty(),
                "{pair}"
            );
        }
    }
}
