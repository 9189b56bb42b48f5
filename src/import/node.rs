//! A node of the file with typed access to its attributes and inputs; every refusal is a finding.

use std::rc::Rc;

use super::proto::{AttributeProto, NodeProto, TensorProto, attribute_type};
use super::tensor::Constant;
use super::view::View;
use crate::diag::{self, Diagnostic};

/// What a name of the file stands for.
#[derive(Clone, Debug)]
pub enum Operand {
    /// A constant that is already reported; whatever reads it says nothing more.
    Unknown,
    /// The same for a value computed at run time.
    UnknownValue,
    /// Known at import.
    Constant(Rc<Constant>),
    /// A value of the float graph.
    View(View),
}

/// The outcome of reading one thing: a finding if it cannot be used.
pub type Step<T> = Result<T, Diagnostic>;

/// A node under import.
#[derive(Clone, Debug)]
pub struct NodeReader<'m> {
    /// As in the file.
    pub proto: &'m NodeProto,
    /// For findings: `node 'conv1' (Conv)`.
    pub place: String,
    /// What it reads; `None` where an optional input is left out.
    pub inputs: Vec<Option<Operand>>,
}

impl<'m> NodeReader<'m> {
    /// The node's name in findings and in the graph: its own or its first output's. Converters from
    /// TensorFlow Lite name an operation by all that were fused to it; the first is enough.
    pub fn name(proto: &NodeProto) -> &str {
        let name = if proto.name.is_empty() {
            proto.output.first().map_or("", String::as_str)
        } else {
            &proto.name
        };
        name.split(';').next().unwrap_or(name)
    }

    /// `node 'conv1' (Conv)`.
    pub fn place_of(proto: &NodeProto) -> String {
        format!("node '{}' ({})", Self::name(proto), proto.op_type)
    }

    /// A finding at this node.
    pub fn finding(
        &self,
        code: diag::Code,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(code, &self.place, message, hint)
    }

    /// The name of input `index`, empty if left out.
    pub fn input_name(&self, index: usize) -> &'m str {
        self.proto.input.get(index).map_or("", String::as_str)
    }

    /// Input `index`, if given.
    pub fn input(&self, index: usize) -> Option<&Operand> {
        self.inputs.get(index)?.as_ref()
    }

    /// Input `index` as a view of a value.
    pub fn view(&self, index: usize) -> Step<&View> {
        match self.input(index) {
            Some(Operand::View(view)) => Ok(view),
            Some(_) => Err(self.finding(
                diag::NOT_A_VALUE,
                format!("input '{}' is a constant", self.input_name(index)),
                "simplify the model (onnxsim) so that constants are computed before export",
            )),
            None => Err(self.missing(index)),
        }
    }

    /// Whether the first input is a signal: a batch of channels along one axis.
    pub fn reads_signal(&self) -> bool {
        self.view(0).is_ok_and(|view| view.dims.len() == 3)
    }

    /// Input `index` as a constant.
    pub fn constant(&self, index: usize) -> Step<&Rc<Constant>> {
        match self.input(index) {
            Some(Operand::Constant(constant)) => Ok(constant),
            Some(_) => Err(self.finding(
                diag::NOT_CONSTANT,
                format!(
                    "input '{}' is computed at run time, {} needs a constant there",
                    self.input_name(index),
                    self.proto.op_type
                ),
                "store it as an initializer, or simplify the model (onnxsim)",
            )),
            None => Err(self.missing(index)),
        }
    }

    /// Input `index` as a constant, `None` if left out.
    pub fn optional_constant(&self, index: usize) -> Step<Option<&Rc<Constant>>> {
        match self.input(index) {
            None => Ok(None),
            Some(_) => self.constant(index).map(Some),
        }
    }

    /// Input `index` as finite floats: weights and other parameters.
    pub fn parameters(&self, index: usize) -> Step<&Rc<Constant>> {
        let constant = self.constant(index)?;
        let Some(floats) = constant.floats() else {
            return Err(self.finding(
                diag::TENSOR_TYPE,
                format!("input '{}' holds integers", self.input_name(index)),
                "parameters must be floating point: export the float model",
            ));
        };
        match floats.iter().position(|v| !v.is_finite()) {
            None => Ok(constant),
            Some(i) => Err(self.finding(
                diag::NON_FINITE,
                format!(
                    "element {i} of '{}' is {}",
                    self.input_name(index),
                    floats[i]
                ),
                "the training run diverged or the file is damaged: use an earlier checkpoint",
            )),
        }
    }

    /// Input `index` as finite floats, `None` if left out.
    pub fn optional_parameters(&self, index: usize) -> Step<Option<&Rc<Constant>>> {
        match self.input(index) {
            None => Ok(None),
            Some(_) => self.parameters(index).map(Some),
        }
    }

    /// Input `index` as integers, `None` if left out.
    pub fn optional_integers(&self, index: usize) -> Step<Option<&[i64]>> {
        let Some(constant) = self.optional_constant(index)? else {
            return Ok(None);
        };
        constant.integers().map(Some).ok_or_else(|| {
            self.finding(
                diag::TENSOR_TYPE,
                format!("input '{}' holds floats", self.input_name(index)),
                "shapes, axes and indices must be INT64: export the model again",
            )
        })
    }

    pub fn missing(&self, index: usize) -> Diagnostic {
        self.finding(
            diag::NODE_ARITY,
            format!("input {index} is missing"),
            "the file is damaged: export the model again",
        )
    }

    fn attribute(&self, name: &str, kind: i32, expected: &str) -> Step<Option<&'m AttributeProto>> {
        let Some(attribute) = self.proto.attribute.iter().find(|a| a.name == name) else {
            return Ok(None);
        };
        let found = attribute.r#type;
        // Files before IR version 3 leave the type out.
        if found == kind || found == 0 {
            return Ok(Some(attribute));
        }
        Err(self.finding(
            diag::ATTRIBUTE,
            format!("attribute '{name}' has type {found}, {expected} ({kind}) is expected"),
            "the file is damaged or was written for another operator set",
        ))
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Step<Option<i64>> {
        let attribute = self.attribute(name, attribute_type::INT, "an integer")?;
        Ok(attribute.map(|a| a.i.unwrap_or(0)))
    }

    /// A truth value, stored as an integer.
    pub fn flag(&self, name: &str, default: bool) -> Step<bool> {
        Ok(self.int(name)?.map_or(default, |v| v != 0))
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Step<Option<&'m [i64]>> {
        let attribute = self.attribute(name, attribute_type::INTS, "a list of integers")?;
        Ok(attribute.map(|a| a.ints.as_slice()))
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Step<Option<f32>> {
        let attribute = self.attribute(name, attribute_type::FLOAT, "a float")?;
        Ok(attribute.map(|a| a.f.unwrap_or(0.0)))
    }

    /// A list of floats.
    pub fn floats(&self, name: &str) -> Step<Option<&'m [f32]>> {
        let attribute = self.attribute(name, attribute_type::FLOATS, "a list of floats")?;
        Ok(attribute.map(|a| a.floats.as_slice()))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Step<Option<String>> {
        let attribute = self.attribute(name, attribute_type::STRING, "a text")?;
        Ok(attribute
            .map(|a| String::from_utf8_lossy(a.s.as_deref().unwrap_or_default()).into_owned()))
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Step<Option<&'m TensorProto>> {
        let attribute = self.attribute(name, attribute_type::TENSOR, "a tensor")?;
        Ok(attribute.and_then(|a| a.t.as_ref()))
    }

    /// The axes of an operator that took them as an attribute at first and as an input later.
    pub fn axes(&self, input: usize) -> Step<Option<Vec<i64>>> {
        if let Some(axes) = self.ints("axes")? {
            return Ok(Some(axes.to_vec()));
        }
        Ok(self.optional_integers(input)?.map(<[i64]>::to_vec))
    }

    /// `axis` counted from the front, for a tensor of `rank` axes.
    pub fn resolve_axis(&self, axis: i64, rank: usize) -> Step<usize> {
        let resolved = if axis < 0 {
            axis.checked_add(rank as i64)
        } else {
            Some(axis)
        };
        (resolved.and_then(|a| usize::try_from(a).ok()))
            .filter(|&a| a < rank)
            .ok_or_else(|| {
                self.finding(
                    diag::ATTRIBUTE_VALUE,
                    format!("axis {axis} of a tensor of {rank} axes"),
                    format!("use an axis from {} to {}", -(rank as i64), rank as i64 - 1),
                )
            })
    }
}
