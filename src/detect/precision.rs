//! Average precision by the rule of PASCAL VOC from 2010 on: the whole area under the curve.
//!
//! For each class, detections of all images go from the strongest to the weakest. Each is held
//! against the object of its class and image that it overlaps most. If that overlap reaches the
//! threshold and nobody claimed the object before, it is right; if the object is claimed already, it
//! is wrong; if the object is marked difficult, it counts for nothing. Without such an object it is
//! wrong. Precision at a recall is the best precision at that recall or a higher one, and the average
//! is the area under this curve. (Everingham et al., "The PASCAL Visual Object Classes Challenge: A
//! Retrospective", IJCV 111, 2015, section 2.2, and its development kit, `VOCevaldet.m`.) The kit counts
//! pixels including both edges; here boxes are continuous, as in most tools of today, so a side is
//! `right - left` long.
//!
//! Where scores are equal, the earlier image comes first, and within an image the order of
//! [`Detection::rank`].

use nest_detect::Detection;

use crate::data::{Boxes, GroundTruthBox};

/// How one class is found.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPrecision {
    /// The class, an index into [`Boxes::classes`].
    pub class: u32,
    /// Its objects that are not difficult.
    pub objects: usize,
    /// Average precision, 0..=1; `None` without objects to find.
    pub average: Option<f64>,
}

/// The average precision of each class of `boxes` that the network knows: `of_network` gives, for
/// each class of the data, the network's own number. `found` holds one list an image.
pub fn average_precisions(
    found: &[Vec<Detection>],
    boxes: &Boxes,
    of_network: &[Option<u32>],
    overlap: f32,
) -> Vec<ClassPrecision> {
    (0u32..)
        .zip(of_network)
        .filter_map(|(class, own)| own.map(|own| (class, own)))
        .map(|(class, own)| {
            let truth: Vec<Vec<&GroundTruthBox>> = (boxes.of_image.iter())
                .map(|all| all.iter().filter(|b| b.class == class).collect())
                .collect();
            let objects = truth.iter().flatten().filter(|b| !b.difficult).count();
            ClassPrecision {
                class,
                objects,
                average: (objects > 0).then(|| average(found, own, &truth, objects, overlap)),
            }
        })
        .collect()
}

/// The mean over the classes that have objects; `None` if none has.
pub fn mean(classes: &[ClassPrecision]) -> Option<f64> {
    let known: Vec<f64> = classes.iter().filter_map(|c| c.average).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

fn average(
    found: &[Vec<Detection>],
    class: u32,
    truth: &[Vec<&GroundTruthBox>],
    objects: usize,
    overlap: f32,
) -> f64 {
    let mut all: Vec<(usize, &Detection)> = (found.iter().enumerate())
        .flat_map(|(image, of_image)| of_image.iter().map(move |d| (image, d)))
        .filter(|(_, d)| d.class == class)
        .collect();
    all.sort_by(|(a_image, a), (b_image, b)| {
        (b.score.total_cmp(&a.score))
            .then(a_image.cmp(b_image))
            .then_with(|| a.rank(b))
    });
    let mut claimed: Vec<Vec<bool>> = truth.iter().map(|t| vec![false; t.len()]).collect();
    let (mut right, mut wrong) = (0usize, 0usize);
    // Precision behind each detection that is right: recall only grows there.
    let mut precisions = Vec::new();
    for (image, detection) in all {
        let mut best = (0.0, None);
        for (at, object) in truth[image].iter().enumerate() {
            let shared = detection.bbox.overlap(&object.bbox);
            if shared > best.0 {
                best = (shared, Some(at));
            }
        }
        match best {
            (shared, Some(at)) if shared >= overlap => {
                if truth[image][at].difficult {
                    continue;
                }
                if claimed[image][at] {
                    wrong += 1;
                } else {
                    claimed[image][at] = true;
                    right += 1;
                    precisions.push(right as f64 / (right + wrong) as f64);
                }
            }
            _ => wrong += 1,
        }
    }
    // From the back, the best precision at this recall or a higher one; each step of recall is one
    // object wide.
    let (mut best, mut area) = (0f64, 0f64);
    for &precision in precisions.iter().rev() {
        best = best.max(precision);
        area += best;
    }
    area / objects as f64
}

#[cfg(test)]
mod tests;
