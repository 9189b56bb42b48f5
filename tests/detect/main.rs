//! Detection against a second implementation in numpy (`oracle.py`): random raw outputs, in floats and
//! in int8, through every kind of head, and average precision on random boxes with ties, duplicates, difficult objects and
//! empty images.

// Not all of its functions are needed here.
#[allow(dead_code)]
#[path = "../onnx/python.rs"]
mod python;

use nestc::data::{BBox, Boxes, GroundTruthBox};
use nestc::detect::{Decoder, Detection, Head, Int8, average_precisions};
use nestc::ir::float::Shape;
use serde_json::{Value, json};

/// Random numbers; the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    /// In -1..1, on a grid fine enough that scores are hardly ever equal.
    fn unit(&mut self) -> f32 {
        (self.below(1 << 23) as f32 / (1 << 22) as f32) - 1.0
    }

    fn values(&mut self, count: usize, reach: f32) -> Vec<f32> {
        (0..count).map(|_| self.unit() * reach).collect()
    }
}

/// The answers of `oracle.py`.
fn ask(detect: &[Value], average: &[Value]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.json");
    let cases = json!({ "detect": detect, "average": average });
    std::fs::write(&path, cases.to_string()).unwrap();
    serde_json::from_str(&python::run("../detect/oracle.py", &[&path])).unwrap()
}

/// A network's outputs and the head that reads them.
struct Case {
    head: String,
    input: Shape,
    shapes: Vec<Shape>,
    outputs: Vec<Vec<f32>>,
    /// For the oracle.
    json: Value,
}

fn fastestdet(draw: &mut Draw) -> Case {
    let (rows, columns, classes) = (1 + draw.below(6), 1 + draw.below(6), 1 + draw.below(4));
    let input = Shape::map(3, 32 * rows, 32 * columns);
    let size = [352, 160][draw.below(2)];
    let plane = rows * columns;
    let mut map = draw.values((5 + classes) * plane, 2.0);
    // Objectness and classes are probabilities.
    for (i, x) in map.iter_mut().enumerate() {
        if i / plane == 0 || i / plane >= 5 {
            *x = x.abs() / 2.0;
        }
    }
    let names: Vec<String> = (0..classes).map(|c| format!("c{c}")).collect();
    Case {
        head: format!("fastestdet,size={size},classes={}", names.join("/")),
        input,
        shapes: vec![Shape::map(5 + classes, rows, columns)],
        json: json!({ "kind": "fastestdet", "grid": [rows, columns], "size": size }),
        outputs: vec![map],
    }
}

fn ssd(draw: &mut Draw) -> Case {
    let input = Shape::map(3, 24 + draw.below(20), 24 + draw.below(20));
    let classes = 1 + draw.below(3);
    let scores = ["plain", "softmax", "sigmoid"][draw.below(3)];
    // A softmax over one column is 1 everywhere, and ties have no order to compare.
    let background = scores == "softmax" || draw.below(2) == 0;
    let columns = classes + usize::from(background);
    let boxes = ["priors", "corners", "centres"][draw.below(3)];
    let strides = [8, 16];
    let priors = [vec![[8.0, 10.0], [12.0, 12.5]], vec![[24.0, 20.0]]];
    let rows: usize = (strides.iter().zip(&priors))
        .map(|(&s, p)| input.h.div_ceil(s) * input.w.div_ceil(s) * p.len())
        .sum();
    let mut score_rows = draw.values(rows * columns, 3.0);
    if scores == "plain" {
        score_rows.iter_mut().for_each(|x| *x = x.abs() / 3.0);
    }
    let mut box_rows = draw.values(rows * 4, 2.0);
    if boxes != "priors" {
        box_rows.iter_mut().for_each(|x| *x = x.abs() / 2.0);
    }
    let names: Vec<String> = (0..classes).map(|c| format!("c{c}")).collect();
    let mut head = format!(
        "ssd,scores={scores},boxes={boxes},background={},classes={}",
        if background { "first" } else { "none" },
        names.join("/")
    );
    if boxes == "priors" {
        head += ",variances=0.1/0.25,strides=8/16,priors=8x10:12x12.5/24x20";
    }
    // Rows of numbers, or, as a pixel-major output becomes in the graph, columns of rows.
    let turned = draw.below(2) == 0;
    let outputs = [(score_rows, columns), (box_rows, 4)];
    let json = json!({
        "kind": "ssd", "columns": columns, "scores": scores, "boxes": boxes,
        "background": background, "strides": strides, "priors": priors,
        "variances": [0.1, 0.25], "outputs": [&outputs[0].0, &outputs[1].0],
    });
    Case {
        head,
        input,
        shapes: (outputs.iter())
            .map(|&(_, n)| match turned {
                true => Shape::map(n, rows, 1),
                false => Shape::map(1, rows, n),
            })
            .collect(),
        outputs: (outputs.iter())
            .map(|(x, n)| match turned {
                true => (0..x.len()).map(|i| x[i % rows * n + i / rows]).collect(),
                false => x.clone(),
            })
            .collect(),
        json,
    }
}

fn yolo(draw: &mut Draw) -> Case {
    let input = Shape::map(3, 64, 32 * (1 + draw.below(3)));
    let classes = 1 + draw.below(3);
    let form = ["v3", "v5"][draw.below(2)];
    let anchors = [vec![[8.0, 12.0], [20.0, 16.5]], vec![[40.0, 30.0]]];
    let shapes: Vec<Shape> = ([16, 32].iter().zip(&anchors))
        .map(|(s, a)| Shape::map(a.len() * (5 + classes), input.h / s, input.w / s))
        .collect();
    let names: Vec<String> = (0..classes).map(|c| format!("c{c}")).collect();
    let grids: Vec<[usize; 2]> = shapes.iter().map(|s| [s.h, s.w]).collect();
    Case {
        head: format!(
            "yolo,form={form},anchors=8x12:20x16.5/40x30,classes={}",
            names.join("/")
        ),
        input,
        outputs: shapes.iter().map(|s| draw.values(s.len(), 4.0)).collect(),
        shapes,
        json: json!({ "kind": "yolo", "form": form, "anchors": anchors, "grids": grids }),
    }
}

/// Random heads and outputs, 120 of them.
fn cases(draw: &mut Draw) -> Vec<Case> {
    let mut cases = Vec::new();
    for i in 0..120 {
        let mut case = match i % 3 {
            0 => fastestdet(draw),
            1 => ssd(draw),
            _ => yolo(draw),
        };
        let score = [0.0, 0.01, 0.3][draw.below(3)];
        let overlap = [0.3, 0.45, 0.7][draw.below(3)];
        case.head += &format!(",score={score},overlap={overlap}");
        case.json["score"] = json!(score);
        case.json["overlap"] = json!(overlap);
        case.json["input"] = json!([case.input.h, case.input.w]);
        if case.json["outputs"].is_null() {
            case.json["outputs"] = json!(case.outputs);
        }
        cases.push(case);
    }
    cases
}

fn decoder(case: &Case) -> Decoder {
    let head = Head::parse(&case.head).unwrap_or_else(|e| panic!("{e}"));
    let fitted = head.fit(case.input, &case.shapes);
    fitted.unwrap_or_else(|e| panic!("{e}"))
}

/// Compares what was found in each case with the oracle's answers; gives the number of boxes.
fn compare(cases: &[Case], found: &[Vec<Detection>]) -> usize {
    let questions: Vec<Value> = cases.iter().map(|c| c.json.clone()).collect();
    let answers = ask(&questions, &[]);
    let mut boxes = 0;
    let answers = answers["detect"].as_array().unwrap();
    for ((case, found), answer) in cases.iter().zip(found).zip(answers) {
        let mut found: Vec<[f64; 6]> = (found.iter())
            .map(|d| {
                let b = d.bbox;
                let sides = [b.left, b.top, b.right, b.bottom].map(f64::from);
                let [left, top, right, bottom] = sides;
                [
                    f64::from(d.score),
                    f64::from(d.class),
                    left,
                    top,
                    right,
                    bottom,
                ]
            })
            .collect();
        let mut expected: Vec<[f64; 6]> = serde_json::from_value(answer.clone()).unwrap();
        // Scores that agree to the last digits may stand in either order: by class, then by place.
        for all in [&mut found, &mut expected] {
            all.sort_by_key(|d| {
                let rounded = |x: f64| (x * 1e3).round() as i64;
                (d[1] as i64, rounded(d[2]), rounded(d[3]), rounded(d[0]))
            });
        }
        assert_eq!(found.len(), expected.len(), "{}", case.head);
        boxes += found.len();
        for (a, b) in found.iter().zip(&expected) {
            let near = (a.iter().zip(b)).all(|(a, b)| (a - b).abs() <= 2e-5 * b.abs().max(1.0));
            assert!(near, "{}: {a:?} {b:?}", case.head);
        }
    }
    boxes
}

#[test]
fn heads_decode_as_the_oracle_does() {
    let cases = cases(&mut Draw(3));
    let found: Vec<Vec<Detection>> = (cases.iter())
        .map(|case| {
            let outputs: Vec<&[f32]> = case.outputs.iter().map(Vec::as_slice).collect();
            decoder(case).detect(&outputs).to_vec()
        })
        .collect();
    let boxes = compare(&cases, &found);
    assert!(boxes > 1000, "{boxes} boxes were compared");
}

/// An output as a device holds it.
struct Quantised {
    data: Vec<i8>,
    scale: f32,
    zero_point: i8,
}

impl Quantised {
    fn int8(&self) -> Int8<'_> {
        Int8 {
            data: &self.data,
            scale: self.scale,
            zero_point: self.zero_point,
        }
    }
}

/// The nearest integer, and what it stands for.
fn quantise(x: f32, scale: f32, zero_point: i8) -> (i8, f32) {
    let q = (x / scale).round() + f32::from(zero_point);
    let q = q.clamp(-128.0, 127.0) as i8;
    (q, scale * (i32::from(q) - i32::from(zero_point)) as f32)
}

/// Brings a case to int8, some of it saturated: what a device has, pixel by pixel. The case itself holds
/// the reals from then on.
fn to_int8(draw: &mut Draw, case: &mut Case) -> Vec<Quantised> {
    let quants: Vec<(f32, i8)> = (case.outputs.iter())
        .map(|output| {
            let least = output.iter().copied().fold(0.0, f32::min);
            let most = output.iter().copied().fold(0.0, f32::max);
            let scale = (most - least) / 255.0 * (1.1 + 0.3 * draw.unit());
            let zero = (-128.0 - least / scale).clamp(-128.0, 127.0) as i8;
            (scale, zero)
        })
        .collect();
    let of_oracle = case.json["outputs"].as_array_mut().unwrap();
    for (values, &(scale, zero)) in of_oracle.iter_mut().zip(&quants) {
        for value in values.as_array_mut().unwrap() {
            let x = value.as_f64().unwrap() as f32;
            *value = json!(quantise(x, scale, zero).1);
        }
    }
    let outputs = case.outputs.iter_mut().zip(&case.shapes).zip(&quants);
    outputs
        .map(|((output, shape), &(scale, zero_point))| {
            let q: Vec<i8> = (output.iter_mut())
                .map(|x| {
                    let (q, real) = quantise(*x, scale, zero_point);
                    *x = real;
                    q
                })
                .collect();
            let pixels = shape.pixels();
            Quantised {
                data: (0..q.len())
                    .map(|i| q[i % shape.c * pixels + i / shape.c])
                    .collect(),
                scale,
                zero_point,
            }
        })
        .collect()
}

#[test]
fn int8_outputs_decode_as_the_oracle_does() {
    let mut draw = Draw(41);
    let mut cases = cases(&mut draw);
    let mut found = Vec::new();
    for case in &mut cases {
        let quantised = to_int8(&mut draw, case);
        let mut decoder = decoder(case);
        let floats: Vec<&[f32]> = case.outputs.iter().map(Vec::as_slice).collect();
        let expected = decoder.detect(&floats).to_vec();
        let int8: Vec<Int8<'_>> = quantised.iter().map(Quantised::int8).collect();
        let own = decoder.detect_int8(&int8).to_vec();
        // Leaving candidates out by their integers changes nothing.
        assert_eq!(own, expected, "{}", case.head);
        found.push(own);
    }
    let boxes = compare(&cases, &found);
    assert!(boxes > 1000, "{boxes} boxes were compared");
}

#[test]
fn average_precision_agrees_with_the_oracle() {
    let mut draw = Draw(17);
    let mut questions = Vec::new();
    let mut own = Vec::new();
    for case in 0..300 {
        // Coarse steps, so that boxes coincide and scores are equal.
        let mut corners = || {
            let [x, y] = [0; 2].map(|_| draw.below(5) as f32 / 4.0);
            let [w, h] = [0; 2].map(|_| (1 + draw.below(3)) as f32 / 4.0);
            [x, y, x + w, y + h]
        };
        let pool: Vec<[f32; 4]> = (0..12).map(|_| corners()).collect();
        let images = draw.below(6);
        let mut found = Vec::new();
        let mut truth = Vec::new();
        for _ in 0..images {
            let objects: Vec<([f32; 4], bool)> = (0..draw.below(5))
                .map(|_| (pool[draw.below(12)], draw.below(4) == 0))
                .collect();
            let detections: Vec<(f32, [f32; 4])> = (0..draw.below(9))
                .map(|_| {
                    (
                        (1 + draw.below(1 + case % 30)) as f32 / 32.0,
                        pool[draw.below(12)],
                    )
                })
                .collect();
            truth.push(objects);
            found.push(detections);
        }
        questions.push(json!({ "found": found, "truth": truth }));
        let bbox = |[left, top, right, bottom]: [f32; 4]| BBox {
            left,
            top,
            right,
            bottom,
        };
        let boxes = Boxes {
            classes: vec!["other".into(), "x".into()],
            of_image: (truth.iter())
                .map(|objects| {
                    (objects.iter())
                        .map(|&(corners, difficult)| GroundTruthBox {
                            class: 1,
                            bbox: bbox(corners),
                            difficult,
                        })
                        .collect()
                })
                .collect(),
            degenerate: 0,
        };
        let found: Vec<Vec<Detection>> = (found.iter())
            .map(|all| {
                (all.iter())
                    .map(|&(score, corners)| Detection {
                        score,
                        class: 4,
                        bbox: bbox(corners),
                    })
                    .collect()
            })
            .collect();
        own.push(average_precisions(&found, &boxes, &[None, Some(4)], 0.5)[0].average);
    }
    let answers = ask(&[], &questions);
    let expected: Vec<Option<f64>> = serde_json::from_value(answers["average"].clone()).unwrap();
    let mut telling = 0;
    for (case, (a, b)) in own.iter().zip(&expected).enumerate() {
        match (a, b) {
            (Some(a), Some(b)) => assert!((a - b).abs() < 1e-12, "case {case}: {a} {b}"),
            _ => assert_eq!(a, b, "case {case}"),
        }
        telling += usize::from(a.is_some_and(|a| a > 0.1 && a < 0.9));
    }
    assert!(telling > 60, "{telling} cases are telling");
    assert!(own.contains(&None) && own.contains(&Some(0.0)));
}
