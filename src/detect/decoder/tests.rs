//! Which output is taken for what, and what is refused. What is decoded is compared with an
//! independent decoder in `tests/detect`.

use super::*;
use crate::data::BBox;

const INPUT: Shape = Shape::map(3, 32, 64);

fn fit(head: &str, outputs: &[Shape]) -> Result<Decoder, String> {
    let fitted = Head::parse(head).unwrap().fit(INPUT, outputs);
    fitted.map_err(|fault| {
        assert_eq!(fault.code, HEAD_MISFIT);
        format!("{}; {}", fault.message, fault.hint)
    })
}

/// Three candidates, of which the second is a face.
fn faces(boxes: Shape, scores: Shape, transposed: bool) -> Vec<Detection> {
    let box_rows = [[0.0; 4], [0.25, 0.25, 0.5, 0.75], [0.0; 4]];
    let score_rows = [[1.0, 0.0], [0.25, 0.75], [1.0, 0.0]];
    let mut a: Vec<f32> = box_rows.concat();
    let mut b: Vec<f32> = score_rows.concat();
    if transposed {
        a = (0..12).map(|i| box_rows[i % 3][i / 3]).collect();
        b = (0..6).map(|i| score_rows[i % 3][i / 3]).collect();
    }
    let mut found = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let shapes = order.map(|i| [boxes, scores][i]);
        let mut decoder = fit("ultraface", &shapes).unwrap();
        let outputs = order.map(|i| [&a[..], &b[..]][i]);
        found = decoder.detect(&outputs).to_vec();
        assert_eq!(found.len(), 1, "{boxes} {scores} {order:?}");
    }
    found
}

#[test]
fn rows_are_found_in_either_layout_and_order() {
    let face = Detection {
        score: 0.75,
        class: 0,
        bbox: BBox {
            left: 0.25,
            top: 0.25,
            right: 0.5,
            bottom: 0.75,
        },
    };
    let map = Shape::map;
    assert_eq!(faces(map(3, 4, 1), map(3, 2, 1), false), [face]);
    assert_eq!(faces(map(1, 3, 4), map(1, 3, 2), false), [face]);
    assert_eq!(faces(map(4, 3, 1), map(2, 3, 1), true), [face]);
    assert_eq!(faces(map(4, 1, 3), map(2, 1, 3), true), [face]);
}

#[test]
fn yolo_maps_may_come_in_any_order() {
    let head = "yolo,anchors=8x8/32x16,classes=a";
    let (fine, coarse) = (Shape::map(6, 4, 8), Shape::map(6, 1, 2));
    let mut fine_map = vec![-20.0; fine.len()];
    let mut coarse_map = vec![-20.0; coarse.len()];
    // The box in the middle of the last cell of the coarse map, of its anchor's extent.
    for (channel, value) in [0.0, 0.0, 0.0, 0.0, 20.0, 20.0].into_iter().enumerate() {
        coarse_map[channel * 2 + 1] = value;
    }
    let expected = BBox::centred(0.75, 0.5, 0.5, 0.5);
    let mut decoder = fit(head, &[fine, coarse]).unwrap();
    assert_eq!(decoder.detect(&[&fine_map, &coarse_map])[0].bbox, expected);
    let mut decoder = fit(head, &[coarse, fine]).unwrap();
    assert_eq!(decoder.detect(&[&coarse_map, &fine_map])[0].bbox, expected);
    fine_map[4 * 32] = 20.0;
    assert_eq!(decoder.detect(&[&coarse_map, &fine_map]).len(), 1);
}

#[test]
fn a_score_that_is_no_number_is_none() {
    let map = Shape::map(6, 1, 1);
    let mut decoder = fit("fastestdet,classes=a", &[map]).unwrap();
    assert_eq!(decoder.detect(&[&[f32::NAN; 6]]), []);
    let found = decoder.detect(&[&[1.0, 0.0, 0.0, f32::INFINITY, 0.0, 1.0]]);
    assert_eq!(found.len(), 1);
    let mut decoder = fit("ultraface", &[Shape::map(1, 2, 1), Shape::map(1, 4, 1)]).unwrap();
    let nowhere = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
    assert_eq!(decoder.detect(&[&[0.0, f32::NAN], &nowhere]), []);
    assert_eq!(decoder.detect(&[&[0.0, 1.0], &nowhere]).len(), 1);
}

#[test]
fn heads_that_do_not_fit_say_what_would() {
    let map = Shape::map;
    for (head, outputs, parts) in [
        (
            "fastestdet",
            &[map(8, 10, 10)][..],
            ["5 + 80 channels", "name 3 classes"],
        ),
        ("fastestdet", &[], ["one output", "name another head"]),
        (
            "ultraface",
            &[map(10, 2, 1)],
            ["4 numbers and rows of 2 scores", "another head"],
        ),
        (
            "ultraface,classes=a/b",
            &[map(10, 2, 1), map(10, 4, 1)],
            ["rows of 3 scores", "classes="],
        ),
        (
            "ultraface",
            &[map(10, 2, 1), map(11, 4, 1)],
            ["rows of 2 scores", "classes="],
        ),
        (
            "ssd,strides=8/16,priors=1x1:2x2/3x3,classes=a",
            &[map(71, 2, 1), map(71, 4, 1)],
            ["72 rows", "strides="],
        ),
        (
            "yolo,anchors=1x1:2x2,classes=a/b/c",
            &[map(12, 4, 8)],
            ["2 x (5 + 3) channels", "name 1 classes"],
        ),
        (
            "yolo,anchors=1x1:2x2,classes=a",
            &[map(13, 4, 8)],
            ["2 x (5 + 1) channels", "number of anchors"],
        ),
        (
            "yolo,anchors=1x1,classes=a",
            &[map(6, 4, 8), map(6, 2, 4)],
            ["1 x (5 + 1)", "2 lists"],
        ),
    ] {
        let fault = fit(head, outputs).expect_err(head);
        for part in parts {
            assert!(fault.contains(part), "{head}: {fault} / {part}");
        }
    }
    assert!(
        fit(
            "ssd,strides=8/16,priors=1x1:2x2/3x3,classes=a",
            &[map(72, 2, 1), map(72, 4, 1)]
        )
        .is_ok()
    );
}
