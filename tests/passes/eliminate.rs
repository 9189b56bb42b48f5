//! Dead channels go, and no output changes by one bit.

use nestc::ir::ids::{Id, LayerId, TensorId};
use nestc::ir::int::{IntConv, IntGraph, IntOp};
use nestc::ir::text_int::{parse, print};
use nestc::ir::verify_int::verify;
use nestc::passes::{Artefact, CompileOptions, compile_until, eliminate};

use crate::chain::dataset;
use crate::interpret;
use crate::random::{ALL_OPERATORS, Random, images, model};

fn int8s(r: &mut Random, n: usize) -> Vec<i8> {
    (0..n).map(|_| r.next() as i8).collect()
}

/// Eliminates, and compares all outputs at every level on random inputs.
fn shrunk(graph: &IntGraph, r: &mut Random) -> IntGraph {
    verify(graph).expect("sound before");
    let smaller = eliminate(graph.clone());
    verify(&smaller).unwrap_or_else(|e| panic!("{e}\n{}", print(&smaller)));
    let len = graph.tensors[graph.input].shape.len();
    let mut inputs: Vec<Vec<i8>> = (0..3).map(|_| int8s(r, len)).collect();
    inputs.extend([vec![-128; len], vec![127; len]]);
    for input in inputs {
        for level in 0..graph.sparsities.len() {
            let want = interpret::run(graph, level, &input);
            let got = interpret::run(&smaller, level, &input);
            for &output in &graph.outputs {
                assert_eq!(
                    want[output],
                    got[output],
                    "{output} at level {level}\n{}",
                    print(&smaller)
                );
            }
        }
    }
    // A depthwise convolution of one channel mixes all of them: that may be the end of more.
    let wide = |(a, b): (usize, usize)| a > 1 || a == b;
    if channels(&smaller)
        .into_iter()
        .zip(channels(graph))
        .all(wide)
    {
        let again = eliminate(smaller.clone());
        assert!(again == smaller, "nothing dead is left over");
    }
    assert_eq!(parse(&print(&smaller)).expect("reads"), smaller);
    smaller
}

fn channels(graph: &IntGraph) -> Vec<usize> {
    graph.tensors.iter().map(|t| t.shape.c).collect()
}

fn conv(graph: &mut IntGraph, layer: usize) -> &mut IntConv {
    match &mut graph.layers[LayerId::from_index(layer)].op {
        IntOp::Conv(conv) => conv,
        other => panic!("{other:?} is no convolution"),
    }
}

/// Empties an output channel.
fn kill(graph: &mut IntGraph, layer: usize, channel: usize) {
    let conv = conv(graph, layer);
    let row = conv.weight.len() / conv.out_channels;
    conv.weight[channel * row..][..row].fill(0);
}

/// Makes all weights of a convolution ignore an input channel.
fn ignore(graph: &mut IntGraph, layer: usize, channel: usize) {
    let conv = conv(graph, layer);
    let step = conv.group_channels;
    (conv.weight.iter_mut().skip(channel).step_by(step)).for_each(|w| *w = 0);
}

/// Numbers of the weight's size, none of them 0.
fn weights(n: usize) -> String {
    let all: Vec<String> = (0..n)
        .map(|i| {
            ((i * 37 % 100) as i32 - 50)
                .max(1 - 2 * (i as i32 % 2))
                .to_string()
        })
        .collect();
    format!("[{}]", all.join(", "))
}

fn requant(n: usize) -> String {
    let all: Vec<String> = (0..n)
        .map(|i| format!("[{}, {}]", 300 * i, 20_000_000 + i))
        .collect();
    let level = format!("[{}]", all.join(", "));
    format!("[{level}, {level}]")
}

/// A convolution between tensors, as text.
fn conv_line(from: usize, to: usize, out: usize, each: usize, groups: usize, k: usize) -> String {
    let pad = k / 2;
    let scale: Vec<&str> = vec!["1"; out];
    format!(
        "t{to} = conv(t{from}) \"c{to}\" kernel=[{k}, {k}] stride=[1, 1] pads=[{pad}, {pad}, {pad}, {pad}] \
         dilation=[1, 1] out={out} group_channels={each} groups={groups} weight_scale=[{}] weight={} requant={}\n",
        scale.join(", "),
        weights(out * each * k * k),
        requant(out)
    )
}

/// `x -> 6 channels -> second -> 2 channels`, two levels.
fn network(second: &str, channels: usize) -> IntGraph {
    let text = format!(
        "int \"n\"\nsparsities [0.5, 0]\n\
         tensor t0 \"x\" shape=[3, 5, 4] quant=[[1, 3], [1, 3]]\n\
         tensor t1 \"a\" shape=[6, 5, 4] quant=[[1, -128], [1, -128]]\n\
         tensor t2 \"b\" shape=[{channels}, 5, 4] quant=[[1, -128], [1, -128]]\n\
         tensor t3 \"y\" shape=[2, 5, 4] quant=[[1, 0], [1, 0]]\ninput t0\n{}{second}{}output t3\n",
        conv_line(0, 1, 6, 3, 1, 3),
        conv_line(2, 3, 2, channels, 1, 1),
    );
    parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Saturates an output channel of a convolution to its zero point, -128, whatever its input.
fn floor(graph: &mut IntGraph, layer: usize, channel: usize) {
    kill(graph, layer, channel);
    set_constant(graph, layer, channel, -1_000_000);
}

/// The bias of an output channel, at all levels.
fn set_constant(graph: &mut IntGraph, layer: usize, channel: usize, bias: i32) {
    for table in &mut conv(graph, layer).requant {
        table[channel].bias = bias;
    }
}

#[test]
fn a_constant_moves_into_the_biases_of_its_readers() {
    let r = &mut Random(1);
    // Without padding any value does.
    let mut g = network(&conv_line(1, 2, 4, 6, 1, 1), 4);
    assert_eq!(shrunk(&g, r), g, "all channels are alive");
    kill(&mut g, 0, 1);
    kill(&mut g, 0, 4);
    set_constant(&mut g, 0, 4, 5_000);
    let smaller = shrunk(&g, r);
    assert_eq!(channels(&smaller), [3, 4, 4, 2]);
    let model = conv(&mut smaller.clone(), 1)
        .model
        .clone()
        .expect("recorded");
    assert_eq!((model.out_channels, model.weights), (4, 24));
    assert_eq!(model.nonzero.len(), 2);
}

#[test]
fn beside_padding_only_what_padding_holds_moves() {
    let r = &mut Random(2);
    let mut g = network(&conv_line(1, 2, 4, 6, 1, 3), 4);
    floor(&mut g, 0, 2);
    assert_eq!(channels(&shrunk(&g, r)), [3, 5, 4, 2]);
    kill(&mut g, 0, 3);
    set_constant(&mut g, 0, 3, 5_000);
    assert_eq!(
        channels(&shrunk(&g, r)),
        [3, 5, 4, 2],
        "another value stays"
    );
    // Only the middle tap reads it: that never lies in the padding.
    let second = conv(&mut g, 1);
    for (at, w) in second.weight.iter_mut().enumerate() {
        if at % 6 == 3 && at / 6 % 9 != 4 {
            *w = 0;
        }
    }
    assert_eq!(channels(&shrunk(&g, r)), [3, 4, 4, 2]);
}

#[test]
fn dead_at_a_sparse_level_is_not_dead() {
    let r = &mut Random(3);
    let mut g = network(&conv_line(1, 2, 4, 6, 1, 1), 4);
    let first = conv(&mut g, 0);
    // Row 0: only at level 1. Row 1: at none.
    first.weight_levels = Some(
        (0..first.weight.len())
            .map(|at| match at / 27 {
                0 => 1,
                1 => 255,
                _ => 0,
            })
            .collect(),
    );
    assert_eq!(channels(&shrunk(&g, r)), [3, 5, 4, 2]);
}

#[test]
fn what_a_multiplier_of_0_hides_is_constant() {
    let mut g = network(&conv_line(1, 2, 4, 6, 1, 1), 4);
    for table in &mut conv(&mut g, 0).requant {
        table[5].multiplier = 0;
    }
    assert_eq!(channels(&shrunk(&g, &mut Random(4))), [3, 5, 4, 2]);
}

#[test]
fn depthwise_rows_go_with_their_inputs() {
    let r = &mut Random(5);
    let mut g = network(&conv_line(1, 2, 6, 1, 6, 3), 6);
    // The input is what padding holds: so the output is constant, too.
    floor(&mut g, 0, 0);
    assert_eq!(channels(&shrunk(&g, r)), [3, 5, 5, 2]);
    // It is not, and the windows at the edge see both.
    kill(&mut g, 0, 1);
    set_constant(&mut g, 0, 1, 5_000);
    assert_eq!(channels(&shrunk(&g, r)), [3, 5, 5, 2]);
    // The depthwise channel itself is dead: its live input goes, too.
    kill(&mut g, 1, 2);
    let smaller = shrunk(&g, r);
    assert_eq!(channels(&smaller), [3, 4, 4, 2]);
    let second = conv(&mut smaller.clone(), 1).clone();
    assert_eq!((second.groups, second.group_channels), (4, 1));
    // Two outputs for an input go together only.
    let mut g = network(&conv_line(1, 2, 12, 1, 6, 3), 12);
    kill(&mut g, 1, 4);
    assert_eq!(channels(&shrunk(&g, r)), [3, 6, 12, 2]);
    kill(&mut g, 1, 5);
    assert_eq!(channels(&shrunk(&g, r)), [3, 5, 10, 2]);
}

#[test]
fn what_nobody_reads_goes_and_what_only_that_reads() {
    let r = &mut Random(6);
    let mut g = network(&conv_line(1, 2, 4, 6, 1, 3), 4);
    // Channel 3 of `b` is read by nothing; channel 5 of `a` by it alone.
    ignore(&mut g, 2, 3);
    let second = conv(&mut g, 1);
    for row in 0..3 {
        for tap in 0..9 {
            second.weight[row * 54 + tap * 6 + 5] = 0;
        }
    }
    assert_eq!(channels(&shrunk(&g, r)), [3, 5, 3, 2]);
}

#[test]
fn inputs_outputs_and_the_last_channel_stay() {
    let r = &mut Random(7);
    let mut g = network(&conv_line(1, 2, 4, 6, 1, 1), 4);
    ignore(&mut g, 0, 1);
    kill(&mut g, 2, 0);
    assert_eq!(channels(&shrunk(&g, r)), [3, 6, 4, 2]);
    for channel in 0..4 {
        kill(&mut g, 1, channel);
    }
    let smaller = shrunk(&g, r);
    assert_eq!(channels(&smaller), [3, 1, 1, 2]);
    // An output in the middle of the network.
    g.outputs.push(TensorId::from_index(2));
    assert_eq!(channels(&shrunk(&g, r))[2], 4);
}

#[test]
fn sums_go_only_as_a_whole() {
    let r = &mut Random(8);
    let mut g = network(
        "t2 = add(t1, t1) \"sum\" params=[[16384, 8192, 0, 15], [9000, 8192, 0, 15]]\n",
        6,
    );
    kill(&mut g, 0, 3);
    assert_eq!(channels(&shrunk(&g, r)), [3, 5, 5, 2]);
    // The shortcut's other side is alive.
    let text = format!(
        "int \"n\"\nsparsities [0.5, 0]\n\
         tensor t0 \"x\" shape=[3, 5, 4] quant=[[1, 3], [1, 3]]\n\
         tensor t1 \"a\" shape=[4, 5, 4] quant=[[1, -128], [1, -128]]\n\
         tensor t2 \"b\" shape=[4, 5, 4] quant=[[1, -128], [1, -128]]\n\
         tensor t3 \"s\" shape=[4, 5, 4] quant=[[1, -128], [1, -128]]\n\
         tensor t4 \"y\" shape=[2, 5, 4] quant=[[1, 0], [1, 0]]\ninput t0\n{}{}\
         t3 = add(t1, t2) \"sum\" params=[[16384, 8192, 0, 15], [9000, 8192, 0, 15]]\n{}output t4\n",
        conv_line(0, 1, 4, 3, 1, 3),
        conv_line(1, 2, 4, 4, 1, 3),
        conv_line(3, 4, 2, 4, 1, 1),
    );
    let mut g = parse(&text).expect("reads");
    kill(&mut g, 1, 2);
    assert_eq!(channels(&shrunk(&g, r)), [3, 4, 4, 4, 2]);
    floor(&mut g, 0, 2);
    assert_eq!(channels(&shrunk(&g, r)), [3, 3, 3, 3, 2]);
}

#[test]
fn pools_keep_constants_where_padding_does_not_count() {
    let r = &mut Random(9);
    let pooled = |line: &str| {
        let mut g = network(line, 6);
        kill(&mut g, 0, 3);
        set_constant(&mut g, 0, 3, 9_000);
        g
    };
    let window = "kernel=[3, 3] stride=[1, 1] pads=[1, 1, 1, 1] dilation=[1, 1]";
    let g = pooled(&format!("t2 = max_pool(t1) \"p\" {window}\n"));
    assert_eq!(channels(&shrunk(&g, r)), [3, 5, 5, 2]);
    let means = |n: usize| {
        let each: Vec<String> = (1..=n)
            .map(|taps| format!("[{}, {}]", 128 * taps, (1u64 << 31) / taps as u64 - 1))
            .collect();
        format!("[[{0}], [{0}]]", each.join(", "))
    };
    for (include, left) in [(0, 5), (1, 6)] {
        let g = pooled(&format!(
            "t2 = avg_pool(t1) \"p\" {window} include_pad={include} requant={}\n",
            means(9)
        ));
        assert_eq!(
            channels(&shrunk(&g, r)),
            [3, left, left, 2],
            "include_pad={include}"
        );
    }
}

#[test]
fn layers_that_move_channels_keep_them() {
    let r = &mut Random(10);
    let line = "t2 = pad(t1) \"p\" c=[1, 0] h=[0, 0] w=[0, 0] value=[-128, -128]\n";
    let mut g = network(line, 7);
    floor(&mut g, 0, 3);
    assert_eq!(shrunk(&g, r), g);
    for line in [
        "t2 = pad(t1) \"p\" c=[0, 0] h=[0, 0] w=[0, 0] value=[-128, -128]\n",
        "t2 = move(t1) \"s\" nests=[[[0, 0, [[120, 1, 1]]]]] tables=[[]]\n",
        "t2 = clamp(t1) \"c\" bounds=[[-128, 5], [-100, 5]]\n",
    ] {
        let mut g = network(line, 6);
        kill(&mut g, 0, 3);
        assert_eq!(channels(&shrunk(&g, r)), [3, 5, 5, 2], "{line}");
    }
}

#[test]
fn moved_channels_go_with_what_they_consist_of() {
    let r = &mut Random(11);
    // All channels but the first, which nothing reads then; and all of them twice.
    for (line, moved, left) in [
        (
            "t2 = move(t1) \"s\" nests=[[[1, 0, [[20, 6, 5], [5, 1, 1]]]]] tables=[[]]\n",
            5,
            [3, 4, 4, 2],
        ),
        (
            "t2 = move(t1, t1) \"s\" \
             nests=[[[0, 0, [[20, 6, 12], [6, 1, 1]]]], [[0, 6, [[20, 6, 12], [6, 1, 1]]]]] \
             tables=[[], []]\n",
            12,
            [3, 5, 10, 2],
        ),
        // Channels become pixels: they go together or not at all.
        (
            "t2 = move(t1) \"s\" nests=[[[0, 0, [[20, 6, 1], [6, 1, 20]]]]] tables=[[]]\n",
            6,
            [3, 6, 6, 2],
        ),
    ] {
        let mut g = network(line, moved);
        kill(&mut g, 0, 3);
        assert_eq!(channels(&shrunk(&g, r)), left, "{line}");
    }
}

/// Random networks with dead and ignored channels planted.
#[test]
fn random_networks_keep_every_bit() {
    let mut removed = [0; 2];
    for seed in (0..150).chain(ALL_OPERATORS..ALL_OPERATORS + 100) {
        let model = model(seed, 12);
        let mut r = Random(seed ^ 0xDEAD);
        let shape = model.graph.input_shape();
        let data = dataset(shape, &images(&mut r, shape, 4));
        let options = CompileOptions {
            calibration: Some(&data),
            ..CompileOptions::default()
        };
        let artefact = compile_until(model, &options, "quantise", &mut ());
        let Artefact::Int(mut graph) = artefact.unwrap_or_else(|e| panic!("seed {seed}: {e}"))
        else {
            panic!("an integer graph comes after quantisation")
        };
        for layer in 0..graph.layers.len() {
            if !matches!(graph.layers[LayerId::from_index(layer)].op, IntOp::Conv(_)) {
                continue;
            }
            for channel in 0..conv(&mut graph, layer).out_channels {
                match r.below(6) {
                    0 => kill(&mut graph, layer, channel),
                    1 => floor(&mut graph, layer, channel),
                    _ => {}
                }
            }
            for channel in 0..conv(&mut graph, layer).group_channels {
                if r.chance(6) {
                    ignore(&mut graph, layer, channel);
                }
            }
        }
        let smaller = shrunk(&graph, &mut r);
        let count = |g: &IntGraph| channels(g).iter().sum::<usize>();
        removed[usize::from(count(&smaller) < count(&graph))] += 1;
    }
    assert!(removed[1] > 60, "{removed:?}");
}
