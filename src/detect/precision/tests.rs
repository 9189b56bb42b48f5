//! Cases worked by hand, and random ones against the definition.

use super::*;
use crate::data::BBox;

fn bbox(left: f32) -> BBox {
    BBox {
        left,
        top: 0.0,
        right: left + 0.5,
        bottom: 1.0,
    }
}

fn object(left: f32) -> GroundTruthBox {
    GroundTruthBox {
        class: 0,
        bbox: bbox(left),
        difficult: false,
    }
}

fn detection(score: f32, left: f32) -> Detection {
    Detection {
        score,
        class: 0,
        bbox: bbox(left),
    }
}

fn average_of(found: &[Vec<Detection>], of_image: &[Vec<GroundTruthBox>]) -> Option<f64> {
    let boxes = Boxes {
        classes: vec!["x".into()],
        of_image: of_image.to_vec(),
        degenerate: 0,
    };
    average_precisions(found, &boxes, &[Some(0)], 0.5)[0].average
}

#[test]
fn the_area_under_the_curve_by_hand() {
    let two = [vec![object(0.0)], vec![object(0.0)]];
    // Right, wrong, right: precision 1 up to recall 1/2, then 2/3.
    let found = [
        vec![detection(0.9, 0.0), detection(0.8, 2.0)],
        vec![detection(0.7, 0.0)],
    ];
    assert_eq!(average_of(&found, &two), Some(0.5 + 0.5 * 2.0 / 3.0));
    // Wrong first: precision at recall 1/2 is lifted to that at recall 1.
    let found = [
        vec![detection(0.8, 0.0), detection(0.9, 2.0)],
        vec![detection(0.7, 0.0)],
    ];
    assert_eq!(average_of(&found, &two), Some(2.0 / 3.0));
    // Half the objects are never found.
    let found = [vec![], vec![detection(0.1, 0.0)]];
    assert_eq!(average_of(&found, &two), Some(0.5));
    assert_eq!(average_of(&[vec![], vec![]], &two), Some(0.0));
    // Nothing to find: no figure rather than zero.
    assert_eq!(average_of(&found, &[vec![], vec![]]), None);
}

#[test]
fn an_object_is_found_once() {
    let one = [vec![object(0.0)]];
    let twice = [vec![detection(0.9, 0.0), detection(0.8, 0.0)]];
    assert_eq!(average_of(&twice, &one), Some(1.0));
    // The better fitting box comes second and is wrong all the same.
    let two = [vec![object(0.0), object(4.0)]];
    let found = [vec![
        detection(0.9, 0.125),
        detection(0.8, 0.0),
        detection(0.7, 4.0),
    ]];
    assert_eq!(average_of(&found, &two), Some(0.5 + 0.5 * 2.0 / 3.0));
    // A detection does not turn to its second choice.
    let near = [vec![object(0.0), object(0.125)]];
    let found = [vec![detection(0.9, 0.0), detection(0.8, 0.0)]];
    assert_eq!(average_of(&found, &near), Some(0.5));
}

#[test]
fn difficult_objects_count_for_nothing() {
    let difficult = GroundTruthBox {
        difficult: true,
        ..object(4.0)
    };
    let truth = [vec![object(0.0), difficult]];
    let found = [vec![
        detection(0.9, 4.0),
        detection(0.8, 4.0),
        detection(0.7, 0.0),
    ]];
    assert_eq!(average_of(&found, &truth), Some(1.0));
    assert_eq!(average_of(&found, &[vec![difficult]]), None);
}

#[test]
fn an_overlap_of_one_half_is_enough() {
    let truth = |right: f32| {
        let bbox = BBox { right, ..bbox(0.0) };
        [vec![GroundTruthBox {
            bbox,
            ..object(0.0)
        }]]
    };
    let found = [vec![detection(0.5, 0.0)]];
    assert_eq!(average_of(&found, &truth(1.0)), Some(1.0));
    assert_eq!(average_of(&found, &truth(1.0 + 1e-6)), Some(0.0));
}

#[test]
fn classes_are_matched_by_the_networks_numbers() {
    let of_image = vec![vec![
        object(0.0),
        GroundTruthBox {
            class: 1,
            ..object(0.0)
        },
        GroundTruthBox {
            class: 2,
            ..object(0.0)
        },
    ]];
    let boxes = Boxes {
        classes: ["a", "b", "c"].map(String::from).to_vec(),
        of_image,
        degenerate: 0,
    };
    let found = [vec![Detection {
        class: 7,
        ..detection(0.5, 0.0)
    }]];
    let all = average_precisions(&found, &boxes, &[Some(3), None, Some(7)], 0.5);
    let figures: Vec<_> = all
        .iter()
        .map(|c| (c.class, c.objects, c.average))
        .collect();
    assert_eq!(figures, [(0, 1, Some(0.0)), (2, 1, Some(1.0))]);
    assert_eq!(mean(&all), Some(0.5));
    assert_eq!(mean(&[]), None);
}

/// The definition taken literally: for each step of recall, the best precision among all cut-offs that
/// reach it, each cut-off matched from the beginning.
fn by_definition(found: &[Vec<Detection>], of_image: &[Vec<GroundTruthBox>]) -> Option<f64> {
    let objects = of_image.iter().flatten().filter(|o| !o.difficult).count();
    if objects == 0 {
        return None;
    }
    let mut order: Vec<(usize, Detection)> = Vec::new();
    for (image, all) in found.iter().enumerate() {
        let mut all = all.clone();
        all.sort_by(Detection::rank);
        order.extend(all.into_iter().map(|d| (image, d)));
    }
    // Stable, so that earlier images stay first.
    order.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
    let mut points = Vec::new();
    for cut in 1..=order.len() {
        let mut free: Vec<Vec<bool>> = of_image.iter().map(|o| vec![true; o.len()]).collect();
        let (mut right, mut counted) = (0, 0);
        for (image, d) in &order[..cut] {
            let shared: Vec<f32> = (of_image[*image].iter())
                .map(|o| o.bbox.overlap(&d.bbox))
                .collect();
            let best = (0..shared.len())
                .filter(|&i| shared[i] >= 0.5)
                .reduce(|a, b| if shared[b] > shared[a] { b } else { a });
            match best {
                Some(i) if of_image[*image][i].difficult => {}
                Some(i) => {
                    counted += 1;
                    right += usize::from(std::mem::replace(&mut free[*image][i], false));
                }
                None => counted += 1,
            }
        }
        if counted > 0 {
            points.push((right, right as f64 / counted as f64));
        }
    }
    let steps = (1..=objects).map(|step| {
        (points.iter())
            .filter(|(right, _)| *right >= step)
            .fold(0f64, |best, (_, precision)| best.max(*precision))
    });
    Some(steps.sum::<f64>() / objects as f64)
}

#[test]
fn random_cases_agree_with_the_definition() {
    let mut state = 5u64;
    let mut below = |n: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    let mut between = 0;
    for case in 0..500 {
        let images = below(5) as usize;
        let mut found = Vec::new();
        let mut truth = Vec::new();
        for _ in 0..images {
            let count = below(5);
            truth.push(
                (0..count)
                    .map(|_| GroundTruthBox {
                        difficult: below(4) == 0,
                        ..object(below(8) as f32 / 8.0)
                    })
                    .collect::<Vec<_>>(),
            );
            let count = below(9);
            // Few different scores, so that many are equal.
            found.push(
                (0..count)
                    .map(|_| detection(below(5) as f32 / 8.0, below(10) as f32 / 8.0))
                    .collect::<Vec<_>>(),
            );
        }
        let (got, expected) = (average_of(&found, &truth), by_definition(&found, &truth));
        match (got, expected) {
            (Some(a), Some(b)) => assert!((a - b).abs() < 1e-12, "case {case}: {a}, {b}"),
            _ => assert_eq!(got, expected, "case {case}"),
        }
        between += usize::from(got.is_some_and(|a| a > 0.1 && a < 0.9));
    }
    assert!(between > 200, "{between} cases are telling");
}
