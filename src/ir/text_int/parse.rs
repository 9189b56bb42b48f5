//! Reads the text form of an integer graph.

use std::collections::BTreeMap;
use std::str::FromStr;

use nest_format::{AddParams, ProductParams, Requant};

use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::ir::float::{Shape, Window};
use crate::ir::ids::{Id, IdVec, TensorId};
use crate::ir::int::{
    IntBinary, IntConstant, IntConv, IntGraph, IntLayer, IntMove, IntNest, IntOp, IntTensor,
    ModelCounts, Quant,
};

/// What went wrong in a statement.
type Fault = String;

/// Reads what [`super::print`] writes. The graph is not verified.
///
/// # Errors
/// Every statement that cannot be read, with its line.
pub fn parse(text: &str) -> Result<IntGraph> {
    let mut graph = IntGraph {
        name: String::new(),
        sparsities: Vec::new(),
        tensors: IdVec::new(),
        layers: IdVec::new(),
        input: TensorId::from_index(0),
        outputs: Vec::new(),
    };
    let mut faults = Diagnostics::default();
    for (line, statement) in statements(text) {
        if let Err(message) = read(&statement, &mut graph) {
            faults.push(Diagnostic::new(
                diag::IR_SYNTAX,
                format!("line {line}"),
                message,
                "compare with what --dump-after quantise prints",
            ));
        }
    }
    faults.into_result(graph)
}

/// Lines joined with the indented ones that follow them; comments begin with `#`.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match all.last_mut() {
            Some((_, statement)) if line.starts_with(' ') => statement.push_str(line),
            _ => all.push((number + 1, line.to_owned())),
        }
    }
    all
}

fn read(statement: &str, graph: &mut IntGraph) -> Result<(), Fault> {
    let mut s = Scanner(statement.trim_end());
    let word = s.word();
    match word {
        "int" => graph.name = s.string()?,
        "sparsities" => graph.sparsities = s.value()?.numbers()?,
        "tensor" => {
            let id = s.tensor()?;
            if id.index() != graph.tensors.len() {
                return Err(format!(
                    "tensor {id} comes as number {}",
                    graph.tensors.len()
                ));
            }
            let name = s.string()?;
            let mut a = s.attributes()?;
            let [c, h, w] = a.array("shape")?;
            let quant = (a.take("quant")?.items()?.iter())
                .map(|q| match q.items()? {
                    [scale, zero_point] => Ok(Quant {
                        scale: scale.number()?,
                        zero_point: zero_point.number()?,
                    }),
                    other => Err(format!("a quantisation of {} numbers, not 2", other.len())),
                })
                .collect::<Result<_, Fault>>()?;
            a.done()?;
            graph.tensors.push(IntTensor {
                name,
                shape: Shape::map(c, h, w),
                quant,
            });
        }
        "input" => graph.input = s.tensor()?,
        "output" => graph.outputs = s.tensors()?,
        _ => {
            let output = Scanner(word).tensor()?;
            s.expect("=")?;
            let op = s.word();
            s.expect("(")?;
            let inputs = s.tensors()?;
            s.expect(")")?;
            let name = s.string()?;
            let mut a = s.attributes()?;
            let op = operator(op, &mut a)?;
            a.done()?;
            graph.layers.push(IntLayer {
                name,
                op,
                inputs,
                output,
            });
        }
    }
    s.end()
}

fn operator(name: &str, a: &mut Attributes) -> Result<IntOp, Fault> {
    Ok(match name {
        "conv" => IntOp::Conv(IntConv {
            window: a.window()?,
            out_channels: a.take("out")?.number()?,
            group_channels: a.take("group_channels")?.number()?,
            groups: a.take("groups")?.number()?,
            weight: a.take("weight")?.numbers()?,
            weight_levels: match a.0.remove("weight_levels") {
                Some(levels) => Some(levels.numbers()?),
                None => None,
            },
            requant: a.table("requant")?,
            weight_scale: a.take("weight_scale")?.numbers()?,
            model: match a.0.remove("model") {
                Some(counts) => Some(model_counts(&counts)?),
                None => None,
            },
        }),
        "add" => IntOp::Add(sums(&a.take("params")?)?),
        "sum" => binary(IntBinary::Sum(sums(&a.take("params")?)?), a)?,
        "product" => {
            let params = (a.take("params")?.items()?.iter())
                .map(|p| match p.items()? {
                    [zero_a, zero_b, zero, multiplier] => Ok(ProductParams {
                        zero_a: zero_a.number()?,
                        zero_b: zero_b.number()?,
                        zero: zero.number()?,
                        multiplier: multiplier.number()?,
                    }),
                    other => Err(format!("{} constants of a product, not 4", other.len())),
                })
                .collect::<Result<_, Fault>>()?;
            binary(IntBinary::Product(params), a)?
        }
        "least" => binary(IntBinary::Least(pairs(&a.take("params")?)?), a)?,
        "largest" => binary(IntBinary::Largest(pairs(&a.take("params")?)?), a)?,
        "prelu" => IntOp::PRelu(
            (a.take("params")?.items()?.iter())
                .map(sums)
                .collect::<Result<_, Fault>>()?,
        ),
        "resize" => IntOp::Resize {
            rows: a.arrays("rows")?,
            columns: a.arrays("columns")?,
        },
        "lookup" => IntOp::Lookup(a.arrays("tables")?),
        "move" => {
            let (nests, tables) = (a.take("nests")?, a.take("tables")?);
            let (nests, tables) = (nests.items()?, tables.items()?);
            if nests.len() != tables.len() {
                return Err(format!(
                    "loops of {} inputs and tables of {}",
                    nests.len(),
                    tables.len()
                ));
            }
            let inputs = nests.iter().zip(tables).map(|(nests, tables)| {
                let tables: Vec<[i8; 256]> = tables.arrays()?;
                Ok(IntMove {
                    nests: nests
                        .items()?
                        .iter()
                        .map(nest)
                        .collect::<Result<_, Fault>>()?,
                    tables: (!tables.is_empty()).then_some(tables),
                })
            });
            IntOp::Move(inputs.collect::<Result<_, Fault>>()?)
        }
        "max_pool" => IntOp::MaxPool(a.window()?),
        "avg_pool" => IntOp::AvgPool {
            window: a.window()?,
            count_include_pad: a.take("include_pad")?.number::<u8>()? != 0,
            requant: a.table("requant")?,
        },
        "global_avg_pool" => IntOp::GlobalAvgPool(requants(&a.take("requant")?)?),
        "clamp" => IntOp::Clamp(
            (a.take("bounds")?.items()?.iter())
                .map(Value::array)
                .collect::<Result<_, Fault>>()?,
        ),
        "pad" => IntOp::Pad {
            c: a.array("c")?,
            h: a.array("h")?,
            w: a.array("w")?,
            value: a.take("value")?.numbers()?,
        },
        "softmax" => IntOp::Softmax(
            (a.take("tables")?.items()?.iter())
                .map(Value::array)
                .collect::<Result<_, Fault>>()?,
        ),
        other => return Err(format!("there is no operator `{other}`")),
    })
}

fn binary(operation: IntBinary, a: &mut Attributes) -> Result<IntOp, Fault> {
    let constant = match a.0.remove("constant") {
        Some(data) => {
            let [c, h, w] = a.array("constant_shape")?;
            Some(IntConstant {
                shape: Shape::map(c, h, w),
                data: data.numbers()?,
            })
        }
        None => None,
    };
    Ok(IntOp::Binary {
        operation,
        constant,
    })
}

fn sums(list: &Value) -> Result<Vec<AddParams>, Fault> {
    (list.items()?.iter())
        .map(|p| match p.items()? {
            [fa, fb, bias, shift] => Ok(AddParams {
                factor_a: fa.number()?,
                factor_b: fb.number()?,
                bias: bias.number()?,
                shift: shift.number()?,
            }),
            other => Err(format!("{} constants of an addition, not 4", other.len())),
        })
        .collect()
}

fn pairs(list: &Value) -> Result<Vec<[AddParams; 2]>, Fault> {
    (list.items()?.iter())
        .map(|pair| {
            let pair = sums(pair)?;
            let n = pair.len();
            (pair.try_into()).map_err(|_| format!("constants of {n} operands, not 2"))
        })
        .collect()
}

fn nest(list: &Value) -> Result<IntNest, Fault> {
    match list.items()? {
        [from, to, loops] => Ok(IntNest {
            from: from.number()?,
            to: to.number()?,
            loops: loops.arrays()?,
        }),
        other => Err(format!("loops in {} parts, not 3", other.len())),
    }
}

fn model_counts(list: &Value) -> Result<ModelCounts, Fault> {
    match list.items()? {
        [out_channels, weights, nonzero] => Ok(ModelCounts {
            out_channels: out_channels.number()?,
            weights: weights.number()?,
            nonzero: nonzero.numbers()?,
        }),
        other => Err(format!("{} counts of a model's layer, not 3", other.len())),
    }
}

fn requants(list: &Value) -> Result<Vec<Requant>, Fault> {
    (list.items()?.iter())
        .map(|r| match r.items()? {
            [bias, multiplier] => Ok(Requant::new(bias.number()?, multiplier.number()?)),
            other => Err(format!(
                "a requantisation of {} numbers, not 2",
                other.len()
            )),
        })
        .collect()
}

/// A number or a list.
#[derive(Debug)]
enum Value {
    Number(String),
    List(Vec<Value>),
}

impl Value {
    fn number<T: FromStr>(&self) -> Result<T, Fault> {
        match self {
            Value::Number(text) => text
                .parse()
                .map_err(|_| format!("`{text}` is not a number in range here")),
            Value::List(_) => Err("a list where a number is due".to_owned()),
        }
    }
    fn items(&self) -> Result<&[Value], Fault> {
        match self {
            Value::List(items) => Ok(items),
            Value::Number(text) => Err(format!("`{text}` where a list is due")),
        }
    }
    fn numbers<T: FromStr>(&self) -> Result<Vec<T>, Fault> {
        self.items()?.iter().map(Value::number).collect()
    }
    fn arrays<T: FromStr, const N: usize>(&self) -> Result<Vec<[T; N]>, Fault> {
        self.items()?.iter().map(Value::array).collect()
    }
    fn array<T: FromStr, const N: usize>(&self) -> Result<[T; N], Fault> {
        let numbers = self.numbers()?;
        let n = numbers.len();
        (numbers.try_into()).map_err(|_| format!("a list of {n} numbers, not {N}"))
    }
}

/// `key=value` pairs not yet used.
#[derive(Debug)]
struct Attributes(BTreeMap<String, Value>);

impl Attributes {
    fn take(&mut self, key: &str) -> Result<Value, Fault> {
        (self.0.remove(key)).ok_or_else(|| format!("`{key}=` is missing"))
    }
    fn array<T: FromStr, const N: usize>(&mut self, key: &str) -> Result<[T; N], Fault> {
        self.take(key)?
            .array()
            .map_err(|e| format!("`{key}=`: {e}"))
    }
    fn arrays<T: FromStr, const N: usize>(&mut self, key: &str) -> Result<Vec<[T; N]>, Fault> {
        (self.take(key)?.arrays()).map_err(|e| format!("`{key}=`: {e}"))
    }
    fn table(&mut self, key: &str) -> Result<Vec<Vec<Requant>>, Fault> {
        self.take(key)?.items()?.iter().map(requants).collect()
    }
    fn window(&mut self) -> Result<Window, Fault> {
        Ok(Window {
            kernel: self.array("kernel")?,
            stride: self.array("stride")?,
            pads: self.array("pads")?,
            dilation: self.array("dilation")?,
        })
    }
    fn done(&self) -> Result<(), Fault> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("`{key}=` has no meaning here")),
        }
    }
}

/// The rest of a statement.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start();
    }
    /// Letters, digits and `_`.
    fn word(&mut self) -> &'a str {
        self.skip_spaces();
        let end = (self.0)
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }
    fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
    fn here(&self) -> String {
        if self.0.is_empty() {
            "the end".to_owned()
        } else {
            format!("`{}`", self.0.chars().take(12).collect::<String>())
        }
    }
    fn expect(&mut self, token: &str) -> Result<(), Fault> {
        if self.take(token) {
            Ok(())
        } else {
            Err(format!("`{token}` is due where {} stands", self.here()))
        }
    }
    fn end(&mut self) -> Result<(), Fault> {
        self.skip_spaces();
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(format!("{} is left over", self.here()))
        }
    }
    fn tensor(&mut self) -> Result<TensorId, Fault> {
        let word = self.word();
        (word.strip_prefix('t'))
            .and_then(|digits| digits.parse::<u32>().ok())
            .map(|n| TensorId::from_index(n as usize))
            .ok_or_else(|| format!("`{word}` is not a tensor such as t3"))
    }
    fn tensors(&mut self) -> Result<Vec<TensorId>, Fault> {
        let mut all = vec![self.tensor()?];
        while self.take(",") {
            all.push(self.tensor()?);
        }
        Ok(all)
    }
    /// A string as Rust's `{:?}` writes it.
    fn string(&mut self) -> Result<String, Fault> {
        self.expect("\"")?;
        let mut out = String::new();
        let mut chars = self.0.chars();
        loop {
            let c = chars.next().ok_or("a string has no end")?;
            match c {
                '"' => break,
                '\\' => out.push(escaped(&mut chars)?),
                c => out.push(c),
            }
        }
        self.0 = chars.as_str();
        Ok(out)
    }
    fn value(&mut self) -> Result<Value, Fault> {
        if self.take("[") {
            let mut items = Vec::new();
            if self.take("]") {
                return Ok(Value::List(items));
            }
            loop {
                items.push(self.value()?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect("]")?;
            return Ok(Value::List(items));
        }
        self.skip_spaces();
        let end = (self.0)
            .find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c))
            .unwrap_or(self.0.len());
        let (number, rest) = self.0.split_at(end);
        if number.is_empty() {
            return Err(format!("a number is due where {} stands", self.here()));
        }
        self.0 = rest;
        Ok(Value::Number(number.to_owned()))
    }
    fn attributes(&mut self) -> Result<Attributes, Fault> {
        let mut all = BTreeMap::new();
        loop {
            self.skip_spaces();
            if self.0.is_empty() {
                return Ok(Attributes(all));
            }
            let key = self.word();
            self.expect("=")?;
            if all.insert(key.to_owned(), self.value()?).is_some() {
                return Err(format!("`{key}=` stands twice"));
            }
        }
    }
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Result<char, Fault> {
    match chars.next() {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('0') => Ok('\0'),
        Some('u') => {
            let text = chars.as_str();
            (text.strip_prefix('{'))
                .and_then(|t| t.split_once('}'))
                .and_then(|(hex, rest)| {
                    *chars = rest.chars();
                    char::from_u32(u32::from_str_radix(hex, 16).ok()?)
                })
                .ok_or_else(|| "an escape \\u without {hexadecimal digits}".to_owned())
        }
        Some(c @ ('"' | '\\' | '\'')) => Ok(c),
        _ => Err("an unknown escape in a string".to_owned()),
    }
}
