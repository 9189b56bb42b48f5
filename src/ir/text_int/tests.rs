//! Round trips and faults of the text form.

use super::*;

const TEXT: &str = r#"int "small"
sparsities [0.9, 0.5]
tensor t0 "x" shape=[2, 2, 2] quant=[[0.5, -1], [0.5, -1]]
tensor t1 "a \"quoted\" name" shape=[1, 2, 2] quant=[[0.25, -128], [0.1, -128]]
tensor t2 "r" shape=[1, 2, 2] quant=[[0.25, -128], [0.1, -128]]
tensor t3 "s" shape=[1, 2, 2] quant=[[0.5, 0], [0.25, 3]]
tensor t4 "p" shape=[1, 1, 1] quant=[[0.5, 0], [0.25, 3]]
tensor t5 "y" shape=[1, 1, 1] quant=[[0.00390625, -128], [0.00390625, -128]]
input t0
t1 = conv(t0) "c" kernel=[1, 1] stride=[1, 1] pads=[0, 0, 0, 0] dilation=[1, 1] out=1 group_channels=2 groups=1
  weight_scale=[0.125]
  weight=[-127, 64]
  weight_levels=[0, 1]
  requant=[[[-512, 1073741824]], [[5, -7]]]
t2 = clamp(t1) "relu" bounds=[[-128, 127], [-128, -68]]
t3 = add(t1, t2) "sum" params=[[16384, 16384, 8192, 14], [1, 2, 3, 4]]
t4 = max_pool(t3) "pool" kernel=[2, 2] stride=[1, 1] pads=[0, 0, 0, 0] dilation=[1, 1]
t5 = global_avg_pool(t4) "mean" requant=[[1, 2], [3, 4]]
output t5, t3
"#;

#[test]
fn what_is_read_prints_the_same() {
    let graph = parse(TEXT).unwrap();
    assert_eq!(print(&graph), TEXT);
    assert_eq!(graph.tensors.len(), 6);
    let IntOp::Conv(conv) = &graph.layers.as_slice()[0].op else {
        panic!("a convolution")
    };
    assert_eq!(conv.weight, [-127, 64]);
    assert_eq!(conv.requant[1][0], Requant::new(5, -7));
}

#[test]
fn comments_and_empty_lines_are_skipped() {
    let text = format!("# a comment\n\n{TEXT}\n# end\n");
    assert_eq!(parse(&text).unwrap(), parse(TEXT).unwrap());
}

/// Replaces one place of the text; every fault names its line.
#[test]
fn faults_name_their_line() {
    let cases = [
        (
            "int \"small\"",
            "int small",
            "line 1",
            "`\"` is due where `small` stands",
        ),
        ("[0.9, 0.5]", "[0.9, x]", "line 2", "`x` is not a number"),
        (
            "tensor t1",
            "tensor t7",
            "line 4",
            "tensor t7 comes as number 1",
        ),
        (
            "shape=[2, 2, 2]",
            "shape=[2, 2]",
            "line 3",
            "a list of 2 numbers, not 3",
        ),
        (
            "[0.5, -1], [0.5, -1]",
            "[0.5, -129], [0.5, -1]",
            "line 3",
            "`-129` is not a number in range",
        ),
        (
            "= clamp(",
            "= clip(",
            "line 15",
            "there is no operator `clip`",
        ),
        ("bounds=", "limits=", "line 15", "`bounds=` is missing"),
        (
            " groups=1",
            " groups=1 groups=1",
            "line 10",
            "`groups=` stands twice",
        ),
        ("\"mean\"", "\"mean", "line 18", "a string has no end"),
        (
            "output t5, t3",
            "output t5, t3 t4",
            "line 19",
            "`t4` is left over",
        ),
        (
            "[16384, 16384, 8192, 14]",
            "[16384, 16384, 8192]",
            "line 16",
            "3 constants of an addition",
        ),
        (
            "t2 = clamp",
            "v2 = clamp",
            "line 15",
            "`v2` is not a tensor",
        ),
    ];
    for (from, to, place, message) in cases {
        assert!(TEXT.contains(from), "{from}");
        let error = parse(&TEXT.replace(from, to)).unwrap_err();
        let first = &error.0[0];
        assert_eq!(first.place, place, "{to}: {first}");
        assert!(first.message.contains(message), "{to}: {first}");
    }
    let two = TEXT
        .replace("clamp(", "clip(")
        .replace("max_pool(", "pool(");
    assert_eq!(parse(&two).unwrap_err().0.len(), 2);
}

#[test]
fn layers_without_weights_print_as_they_are_read() {
    let table: Vec<String> = (0..256).map(|i| (i - 128).to_string()).collect();
    let table = format!("[{}]", table.join(", "));
    let text = format!(
        r#"int "all"
sparsities [0]
tensor t0 "x" shape=[2, 2, 2] quant=[[0.5, -1]]
tensor t1 "l" shape=[2, 2, 2] quant=[[0.5, -1]]
tensor t2 "m" shape=[4, 2, 2] quant=[[0.5, -1]]
tensor t3 "a" shape=[2, 2, 2] quant=[[0.5, -1]]
tensor t4 "b" shape=[2, 2, 2] quant=[[0.5, -1]]
tensor t5 "c" shape=[2, 2, 2] quant=[[0.5, -1]]
tensor t6 "d" shape=[2, 2, 2] quant=[[0.5, -1]]
tensor t7 "p" shape=[2, 2, 2] quant=[[0.5, -1]]
tensor t8 "r" shape=[2, 1, 3] quant=[[0.5, -1]]
input t0
t1 = lookup(t0) "tanh" tables=[{table}]
t2 = move(t0, t1) "concat"
  nests=[[[0, 0, [[4, 2, 4], [2, 1, 1]]]], [[1, 2, [[4, 2, 4]]], [0, 3, [[4, 2, 4]]]]]
  tables=[[], [{table}]]
t3 = sum(t0, t1) "sub" params=[[16384, -16384, 8192, 14]]
t4 = product(t3) "scale" params=[[-1, 3, 5, 1073741824]] constant_shape=[2, 1, 1] constant=[100, -3]
t5 = least(t3, t4) "min" params=[[[1, 0, 3, 4], [5, 0, 7, 8]]]
t6 = largest(t3, t5) "max" params=[[[1, 0, 3, 4], [5, 0, 7, 8]]]
t7 = prelu(t6) "prelu" params=[[[16384, 1638, 8192, 14], [16384, -5, 0, 14]]]
t8 = resize(t7) "resize" rows=[[0, 1, 128]] columns=[[0, 0, 0], [0, 1, 85], [1, 1, 256]]
output t8, t2
"#
    );
    let graph = parse(&text).unwrap();
    assert_eq!(print(&graph), text);
    crate::ir::verify_int::verify(&graph).unwrap();
    for (from, to, message) in [
        (
            "tables=[[], [",
            "tables=[[], [], [",
            "loops of 2 inputs and tables of 3",
        ),
        (
            "[[0, 0, [[4, 2, 4], [2, 1, 1]]]]",
            "[[0, [[4, 2, 4], [2, 1, 1]]]]",
            "loops in 2 parts, not 3",
        ),
        (
            "[-1, 3, 5, 1073741824]",
            "[-1, 3, 5]",
            "3 constants of a product, not 4",
        ),
        (
            "[[[1, 0, 3, 4], [5, 0, 7, 8]]]",
            "[[[1, 0, 3, 4]]]",
            "constants of 1 operands, not 2",
        ),
        (
            " constant_shape=[2, 1, 1]",
            "",
            "`constant_shape=` is missing",
        ),
        (
            "rows=[[0, 1, 128]]",
            "rows=[[0, 1]]",
            "a list of 2 numbers, not 3",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let fault = parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(fault.contains(message), "{fault}");
    }
}
