//! Parsing.

use std::collections::BTreeMap;
use std::fmt;

use crate::ir::float::{
    Axis, BatchNorm, Binary, Conv, Coordinates, Dense, FloatGraph, FloatOp, Interpolation, Node,
    OutputLayout, Pad, Rearrange, Resize, Shape, Slice, Unary, Value, Window, WithConstant,
};
use crate::ir::ids::{Id, ValueId};
use crate::ir::verify::MAX_ELEMENTS;

/// Why a text is no graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for TextError {}

type Parsed<T> = Result<T, String>;

/// The graph a text in full form describes. It is well-formed as text only: whether it is a sound
/// graph is for [`crate::ir::verify`].
///
/// # Errors
/// The first line that cannot be read.
pub fn parse(text: &str) -> Result<FloatGraph, TextError> {
    let mut graph = FloatGraph::default();
    let mut values: BTreeMap<usize, Value> = BTreeMap::new();
    let mut state = State::Before;
    let mut last = 0;
    for (i, line) in text.lines().enumerate() {
        last = i + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        statement(line, &mut state, &mut graph, &mut values).map_err(|message| TextError {
            line: last,
            message,
        })?;
    }
    let at_end = |message: String| TextError {
        line: last,
        message,
    };
    if state != State::After {
        return Err(at_end("the graph is not closed by '}'".into()));
    }
    for (expected, (id, value)) in values.into_iter().enumerate() {
        if id != expected {
            return Err(at_end(format!("v{expected} is missing")));
        }
        graph.values.push(value);
    }
    Ok(graph)
}

#[derive(PartialEq)]
enum State {
    Before,
    Inside,
    After,
}

fn statement(
    line: &str,
    state: &mut State,
    graph: &mut FloatGraph,
    values: &mut BTreeMap<usize, Value>,
) -> Parsed<()> {
    let mut words = Words { rest: line };
    match state {
        State::Before => {
            words.keyword("graph")?;
            graph.name = words.text()?;
            words.keyword("{")?;
            *state = State::Inside;
        }
        State::After => return Err("text after the end of the graph".into()),
        State::Inside if line == "}" => {
            *state = State::After;
            return Ok(());
        }
        State::Inside => {
            let first = words.word()?;
            match first {
                "input" => {
                    let id = value_id(words.word()?)?;
                    graph.input = Some(id);
                    define(values, id, words.text()?, shape(words.word()?)?)?;
                }
                "output" => {
                    graph.outputs.push(value_id(words.word()?)?);
                    if !words.rest.is_empty() {
                        let mut attributes = Attributes::read(&mut words)?;
                        let order = attributes.take("order")?;
                        graph.output_layouts.push(OutputLayout {
                            pixel_major: choice(order, [("channel", false), ("pixel", true)])?,
                            dims: attributes.list("dims")?,
                        });
                        attributes.finish()?;
                    }
                }
                _ => {
                    let output = value_id(first)?;
                    define(values, output, words.text()?, shape(words.word()?)?)?;
                    words.keyword("=")?;
                    let op = words.word()?;
                    let name = words.text()?;
                    let inputs = words.word()?;
                    let inputs = inputs
                        .strip_prefix('(')
                        .and_then(|s| s.strip_suffix(')'))
                        .ok_or_else(|| format!("'{inputs}' where (inputs) belong"))?;
                    let inputs = inputs.split(',').map(value_id).collect::<Parsed<_>>()?;
                    let mut attributes = Attributes::read(&mut words)?;
                    let op = operation(op, &mut attributes)?;
                    attributes.finish()?;
                    graph.nodes.push(Node {
                        name,
                        op,
                        inputs,
                        output,
                    });
                }
            }
        }
    }
    if words.rest.is_empty() {
        Ok(())
    } else {
        Err(format!("'{}' at the end of the line", words.rest))
    }
}

fn define(
    values: &mut BTreeMap<usize, Value>,
    id: ValueId,
    name: String,
    shape: Shape,
) -> Parsed<()> {
    match values.insert(id.index(), Value { name, shape }) {
        None => Ok(()),
        Some(_) => Err(format!("{id} is given twice")),
    }
}

fn value_id(word: &str) -> Parsed<ValueId> {
    word.strip_prefix('v')
        .and_then(|n| n.parse::<u32>().ok())
        .map(|n| ValueId::from_index(n as usize))
        .ok_or_else(|| format!("'{word}' where a value (v0, v1, …) belongs"))
}

fn shape(word: &str) -> Parsed<Shape> {
    let [c, h, w] = numbers(word, 'x')?;
    Ok(Shape::map(c, h, w))
}

fn number<T: std::str::FromStr>(word: &str) -> Parsed<T> {
    word.parse()
        .map_err(|_| format!("'{word}' where a number belongs"))
}

/// `N` numbers between separators.
fn numbers<const N: usize>(word: &str, separator: char) -> Parsed<[usize; N]> {
    let all: Vec<usize> = word.split(separator).map(number).collect::<Parsed<_>>()?;
    all.try_into()
        .map_err(|_| format!("'{word}' where {N} numbers belong"))
}

/// The choice a word names.
fn choice<T: Copy>(word: &str, choices: impl IntoIterator<Item = (&'static str, T)>) -> Parsed<T> {
    let mut choices = choices.into_iter();
    (choices.find(|(name, _)| *name == word))
        .map(|(_, choice)| choice)
        .ok_or_else(|| format!("'{word}' is not among the choices"))
}

/// The words of a line.
struct Words<'t> {
    rest: &'t str,
}

impl<'t> Words<'t> {
    fn word(&mut self) -> Parsed<&'t str> {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest.trim_start();
        if word.is_empty() {
            return Err("the line ends too early".into());
        }
        Ok(word)
    }

    fn keyword(&mut self, keyword: &str) -> Parsed<()> {
        let word = self.word()?;
        if word == keyword {
            Ok(())
        } else {
            Err(format!("'{word}' where '{keyword}' belongs"))
        }
    }

    /// A quoted text as Rust's `{:?}` writes it.
    fn text(&mut self) -> Parsed<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        if !matches!(chars.next(), Some((_, '"'))) {
            return Err(format!("'{}' where a quoted name belongs", self.rest));
        }
        let unclosed = || "a quoted name is not closed".to_owned();
        loop {
            let (at, c) = chars.next().ok_or_else(unclosed)?;
            match c {
                '"' => {
                    self.rest = self.rest[at + 1..].trim_start();
                    return Ok(text);
                }
                '\\' => match chars.next().ok_or_else(unclosed)?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    '0' => text.push('\0'),
                    'u' => {
                        let digits: String = (chars.by_ref().map(|(_, c)| c))
                            .skip(1)
                            .take_while(|&c| c != '}')
                            .collect();
                        let code = u32::from_str_radix(&digits, 16).ok();
                        text.push(
                            code.and_then(char::from_u32)
                                .ok_or_else(|| format!("'{digits}' is no character"))?,
                        );
                    }
                    c => text.push(c),
                },
                c => text.push(c),
            }
        }
    }
}

/// `key=value` pairs, each to be taken once.
struct Attributes<'t>(BTreeMap<&'t str, &'t str>);

impl<'t> Attributes<'t> {
    fn read(words: &mut Words<'t>) -> Parsed<Self> {
        let mut all = BTreeMap::new();
        while !words.rest.is_empty() {
            let word = words.word()?;
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("'{word}' where key=value belongs"))?;
            if all.insert(key, value).is_some() {
                return Err(format!("'{key}' is given twice"));
            }
        }
        Ok(Self(all))
    }

    fn finish(self) -> Parsed<()> {
        match self.0.first_key_value() {
            None => Ok(()),
            Some((key, _)) => Err(format!("'{key}' does not belong here")),
        }
    }

    fn take(&mut self, key: &str) -> Parsed<&'t str> {
        self.0
            .remove(key)
            .ok_or_else(|| format!("'{key}' is missing"))
    }

    fn window(&mut self) -> Parsed<Window> {
        Ok(Window {
            kernel: numbers(self.take("kernel")?, 'x')?,
            stride: numbers(self.take("stride")?, 'x')?,
            pads: numbers(self.take("pads")?, ',')?,
            dilation: numbers(self.take("dilation")?, 'x')?,
        })
    }

    /// Numbers between commas.
    fn list(&mut self, key: &str) -> Parsed<Vec<usize>> {
        match self.take(key)? {
            "-" => Ok(Vec::new()),
            word => word.split(',').map(number).collect(),
        }
    }

    fn axis(&mut self) -> Parsed<Axis> {
        choice(self.take("axis")?, Axis::ALL.map(|a| (a.name(), a)))
    }

    fn binary(&mut self) -> Parsed<Binary> {
        choice(self.take("f")?, Binary::ALL.map(|f| (f.name(), f)))
    }

    fn float(&mut self, key: &str) -> Parsed<f32> {
        number(self.take(key)?)
    }

    /// Extents and elements.
    fn tensor(&mut self, key: &str) -> Parsed<(Vec<usize>, Vec<f32>)> {
        let text = self.take(key)?;
        let (extents, data) = text
            .split_once(':')
            .ok_or_else(|| format!("'{key}' needs extents:[elements]"))?;
        let extents = extents.split('x').map(number).collect::<Parsed<_>>()?;
        let data = data
            .strip_prefix('[')
            .and_then(|d| d.strip_suffix(']'))
            .ok_or_else(|| {
                format!("'{key}' is abbreviated: print the graph in full to parse it")
            })?;
        let mut elements = Vec::new();
        for run in data.split(',').filter(|run| !run.is_empty()) {
            let (value, count) = match run.split_once('*') {
                Some((value, count)) => (value, number::<usize>(count)?),
                None => (run, 1),
            };
            if count > MAX_ELEMENTS - elements.len() {
                return Err(format!("'{key}' has more than {MAX_ELEMENTS} elements"));
            }
            elements.resize(elements.len() + count, number::<f32>(value)?);
        }
        Ok((extents, elements))
    }

    fn vector(&mut self, key: &str) -> Parsed<Vec<f32>> {
        Ok(self.tensor(key)?.1)
    }

    fn optional_vector(&mut self, key: &str) -> Parsed<Option<Vec<f32>>> {
        if self.0.contains_key(key) {
            self.vector(key).map(Some)
        } else {
            Ok(None)
        }
    }
}

fn operation(name: &str, a: &mut Attributes<'_>) -> Parsed<FloatOp> {
    Ok(match name {
        "conv" => {
            let groups = number(a.take("groups")?)?;
            let window = a.window()?;
            let (extents, weight) = a.tensor("weight")?;
            let [out_channels, group_channels, kh, kw] = extents[..] else {
                return Err("a conv's weight has four extents".into());
            };
            if [kh, kw] != window.kernel {
                return Err("kernel and extents of weight differ".into());
            }
            FloatOp::Conv(Conv {
                weight,
                bias: a.optional_vector("bias")?,
                out_channels,
                group_channels,
                groups,
                window,
            })
        }
        "dense" => {
            let (extents, weight) = a.tensor("weight")?;
            let [out_features, in_features] = extents[..] else {
                return Err("a dense layer's weight has two extents".into());
            };
            FloatOp::Dense(Dense {
                weight,
                bias: a.optional_vector("bias")?,
                out_features,
                in_features,
            })
        }
        "batch_norm" => FloatOp::BatchNorm(BatchNorm {
            gamma: a.vector("gamma")?,
            beta: a.vector("beta")?,
            mean: a.vector("mean")?,
            var: a.vector("var")?,
            epsilon: number(a.take("epsilon")?)?,
        }),
        "channel_affine" => FloatOp::ChannelAffine {
            scale: a.vector("scale")?,
            shift: a.vector("shift")?,
        },
        "relu" => FloatOp::Relu,
        "relu6" => FloatOp::Relu6,
        "add" => FloatOp::Add,
        "max_pool" => FloatOp::MaxPool(a.window()?),
        "avg_pool" => FloatOp::AvgPool {
            window: a.window()?,
            count_include_pad: number(a.take("count_include_pad")?)?,
        },
        "global_avg_pool" => FloatOp::GlobalAvgPool,
        "flatten" => FloatOp::Flatten,
        "pad" => FloatOp::Pad(Pad {
            c: numbers(a.take("c")?, ',')?,
            h: numbers(a.take("h")?, ',')?,
            w: numbers(a.take("w")?, ',')?,
            value: number(a.take("value")?)?,
        }),
        "slice" => FloatOp::Slice(Slice {
            start: numbers(a.take("start")?, ',')?,
            step: numbers(a.take("step")?, ',')?,
            count: numbers(a.take("count")?, ',')?,
        }),
        "softmax" => FloatOp::Softmax,
        "clip" => FloatOp::Unary(Unary::Clip {
            low: a.float("low")?,
            high: a.float("high")?,
        }),
        "leaky_relu" => FloatOp::Unary(Unary::LeakyRelu {
            alpha: a.float("alpha")?,
        }),
        "elu" => FloatOp::Unary(Unary::Elu {
            alpha: a.float("alpha")?,
        }),
        "sigmoid" => FloatOp::Unary(Unary::Sigmoid),
        "hard_sigmoid" => FloatOp::Unary(Unary::HardSigmoid {
            alpha: a.float("alpha")?,
            beta: a.float("beta")?,
        }),
        "hard_swish" => FloatOp::Unary(Unary::HardSwish),
        "silu" => FloatOp::Unary(Unary::Silu),
        "tanh" => FloatOp::Unary(Unary::Tanh),
        "exp" => FloatOp::Unary(Unary::Exp),
        "int8" => FloatOp::Unary(Unary::Int8 {
            scale: a.float("scale")?,
            zero_point: number(a.take("zero")?)?,
        }),
        "prelu" => FloatOp::PRelu(a.vector("slope")?),
        "binary" => FloatOp::Binary(a.binary()?),
        "with_constant" => {
            let (extents, data) = a.tensor("constant")?;
            let [c, h, w] = extents[..] else {
                return Err("a constant has three extents".into());
            };
            FloatOp::WithConstant(WithConstant {
                op: a.binary()?,
                shape: Shape::map(c, h, w),
                data,
                constant_first: number(a.take("constant_first")?)?,
            })
        }
        "concat" => FloatOp::Concat(a.axis()?),
        "select" => FloatOp::Select {
            axis: a.axis()?,
            indices: a.list("indices")?,
        },
        "channel_shuffle" => FloatOp::ChannelShuffle {
            groups: number(a.take("groups")?)?,
        },
        "rearrange" => FloatOp::Rearrange(Rearrange {
            factors: a.list("factors")?,
            perm: a.list("perm")?,
            shape: shape(a.take("shape")?)?,
        }),
        "resize" => {
            let scale = a.take("scale")?;
            let (vertical, horizontal) =
                (scale.split_once(',')).ok_or_else(|| format!("'{scale}' where two belong"))?;
            let coordinates = Coordinates::ALL.map(|(c, name)| (name, c));
            let interpolations = Interpolation::ALL.map(|(i, name)| (name, i));
            FloatOp::Resize(Resize {
                size: numbers(a.take("size")?, 'x')?,
                scale: [number(vertical)?, number(horizontal)?],
                coordinates: choice(a.take("coordinates")?, coordinates)?,
                interpolation: choice(a.take("interpolation")?, interpolations)?,
            })
        }
        other => return Err(format!("'{other}' is no operation")),
    })
}
