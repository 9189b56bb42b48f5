//! The float graph under construction.

use std::collections::HashMap;
use std::rc::Rc;

use super::node::{NodeReader, Operand, Step};
use super::proto::TensorProto;
use super::structure::Structure;
use super::tensor::{Constant, MAX_ELEMENTS, TensorReader, element_count};
use super::view::{Axis, Extents, Form, View};
use crate::diag::{self, Diagnostic, Diagnostics};
use crate::ir::float::{FloatGraph, FloatOp, Node, Shape, Value};
use crate::ir::ids::{NodeId, ValueId};

/// What the exporter appends to the name of the node that adds the shift of an affine step.
pub const SHIFT: &str = ".shift";

/// What the exporter appends to the name of the sigmoid that a SiLU multiplies by.
pub const GATE: &str = ".gate";

/// What the operators' importers work on.
#[derive(Debug)]
pub struct Builder<'m> {
    /// The graph so far.
    pub graph: FloatGraph,
    /// Images a run in the file; 1 where the batch is symbolic.
    pub batch: usize,
    /// The version of ONNX's operators the file is written against.
    pub opset: i64,
    /// Everything wrong so far.
    pub findings: Diagnostics,
    /// Whether the file was written by nestc: then no node is merged into another that was apart.
    pub faithful: bool,
    /// What to tell without refusing.
    pub warnings: Vec<Diagnostic>,
    structure: &'m Structure<'m>,
    reader: TensorReader,
    operands: HashMap<&'m str, Operand>,
    /// The flattened form of a value, where one was made.
    flattened: HashMap<ValueId, ValueId>,
}

impl<'m> Builder<'m> {
    /// An empty graph.
    pub fn new(structure: &'m Structure<'m>, reader: TensorReader, opset: i64) -> Self {
        Self {
            graph: FloatGraph::default(),
            batch: 1,
            opset,
            findings: Diagnostics::default(),
            faithful: false,
            warnings: Vec::new(),
            structure,
            reader,
            operands: HashMap::new(),
            flattened: HashMap::new(),
        }
    }

    /// States what `name` stands for.
    pub fn define(&mut self, name: &'m str, operand: Operand) {
        self.operands.insert(name, operand);
    }

    /// What `name` stands for. Initializers are read when first asked for, so that those nobody
    /// uses cost nothing and raise no findings.
    pub fn operand(&mut self, name: &'m str) -> Operand {
        if let Some(operand) = self.operands.get(name) {
            return operand.clone();
        }
        let place = format!("initializer '{name}'");
        let operand = if self.structure.sparse.contains(name) {
            self.findings.push(Diagnostic::new(
                diag::SPARSE_TENSOR,
                place,
                "a sparse initializer",
                "store it densely; nestc finds and skips zeros by itself",
            ));
            Operand::Unknown
        } else if let Some(tensor) = self.structure.initializers.get(name) {
            match self.reader.read(tensor, &place) {
                Ok(constant) => Operand::Constant(Rc::new(constant)),
                Err(finding) => {
                    self.findings.push(finding);
                    Operand::Unknown
                }
            }
        } else {
            // Reported with the structure.
            Operand::Unknown
        };
        self.define(name, operand.clone());
        operand
    }

    /// The constant in an attribute of `node`.
    pub fn attribute_constant(
        &self,
        tensor: &TensorProto,
        node: &NodeReader<'m>,
    ) -> Step<Constant> {
        self.reader.read(tensor, &node.place)
    }

    /// Whether anything reads `name`.
    pub fn is_read(&self, name: &str) -> bool {
        self.structure.reads.contains_key(name)
    }

    /// Whether input `index` of `node` is the only use of its tensor.
    pub fn is_only_reader(&self, node: &NodeReader<'m>, index: usize) -> bool {
        self.structure.reads.get(node.input_name(index)) == Some(&1)
    }

    /// Whether `node` may be merged into node `id` of the graph. In a file of nestc's own that is
    /// so only for the second half of an affine step, which ONNX writes as two nodes.
    pub fn may_merge(&self, id: NodeId, node: &NodeReader<'m>) -> bool {
        let first = &self.graph.nodes[id].name;
        !self.faithful || node.proto.name.strip_suffix(SHIFT) == Some(first)
    }

    /// The extents behind a view.
    pub fn extents(&self, view: &View) -> Extents {
        Extents {
            batch: self.batch,
            shape: self.graph.shape(view.value),
        }
    }

    /// Input `index` in `N x C x H x W` order.
    pub fn map(&mut self, node: &NodeReader<'m>, index: usize) -> Step<ValueId> {
        let view = node.view(index)?;
        match view.as_map(self.extents(view)) {
            Some(Form::AsIs) => Ok(view.value),
            Some(Form::Flattened) => Ok(self.flatten(view.value, &node.proto.input[index])),
            Some(Form::Permuted(_)) | None => Err(self.wrong_layout(node, index, "NxCxHxW")),
        }
    }

    /// Input `index` as a vector along ONNX axis `axis`.
    pub fn vector(
        &mut self,
        node: &NodeReader<'m>,
        index: usize,
        axis: usize,
    ) -> Step<(ValueId, Option<Vec<usize>>)> {
        let view = node.view(index)?;
        let form = view.as_vector(axis, self.extents(view));
        let value = view.value;
        match form {
            Some(Form::AsIs) => Ok((value, None)),
            Some(Form::Flattened) => Ok((self.flatten(value, node.input_name(index)), None)),
            Some(Form::Permuted(order)) => {
                let flat = self.flatten(value, node.input_name(index));
                Ok((flat, Some(order)))
            }
            None => Err(self.wrong_layout(node, index, "a batch of vectors")),
        }
    }

    /// A finding: the axes of input `index` do not lie as the operator needs them.
    pub fn wrong_layout(&self, node: &NodeReader<'m>, index: usize, wanted: &str) -> Diagnostic {
        let found = match node.input(index) {
            Some(Operand::View(view)) => format!("{:?}", view.extents(self.extents(view))),
            _ => "unknown extents".to_owned(),
        };
        node.finding(
            diag::LAYOUT,
            format!(
                "input '{}' of extents {found} is not {wanted} in the order the image has",
                node.input_name(index)
            ),
            "keep Transpose and Reshape to the edges of the network; export channels-first (tf2onnx --inputs-as-nchw)",
        )
    }

    /// The value read as a vector; the node is made once.
    pub fn flatten(&mut self, value: ValueId, name: &str) -> ValueId {
        let shape = self.graph.shape(value);
        if shape.pixels() == 1 {
            return value;
        }
        if let Some(&flat) = self.flattened.get(&value) {
            return flat;
        }
        // The file's own Flatten or Reshape lends its names, if there is one.
        let synthetic = format!("{name}.flatten");
        let (node, output) = match self.structure.givers.get(name) {
            Some(node) if self.graph.values[value].name != name => (NodeReader::name(node), name),
            _ => (synthetic.as_str(), synthetic.as_str()),
        };
        let shape = Shape::vector(shape.len());
        let flat = self.push(node, FloatOp::Flatten, vec![value], shape, output);
        self.flattened.insert(value, flat);
        flat
    }

    fn push(
        &mut self,
        name: &str,
        op: FloatOp,
        inputs: Vec<ValueId>,
        shape: Shape,
        output: &str,
    ) -> ValueId {
        let output = self.graph.values.push(Value {
            name: output.to_owned(),
            shape,
        });
        self.graph.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs,
            output,
        });
        output
    }

    /// Appends an operation for `node` and gives its value.
    pub fn emit(
        &mut self,
        node: &NodeReader<'m>,
        op: FloatOp,
        inputs: Vec<ValueId>,
    ) -> Step<ValueId> {
        let shapes: Vec<_> = inputs.iter().map(|&v| self.graph.shape(v)).collect();
        let shape = op.output_shape(&shapes).map_err(|reason| {
            node.finding(
                diag::SHAPE_MISMATCH,
                reason,
                "the shapes in the file contradict each other: export the model again",
            )
        })?;
        match element_count(&[shape.c, shape.h, shape.w]) {
            Some(0) => Err(node.finding(
                diag::SHAPE_MISMATCH,
                format!("the result of extents {shape} is empty"),
                "the input is too small for this network: export it for larger pictures",
            )),
            None => Err(node.finding(
                diag::VALUE_TOO_LARGE,
                format!("the result of extents {shape} exceeds {MAX_ELEMENTS} elements"),
                "the file is damaged, or the network is far beyond a microcontroller",
            )),
            Some(_) => {
                let output = node.proto.output.first().map_or("", String::as_str);
                Ok(self.push(NodeReader::name(node.proto), op, inputs, shape, output))
            }
        }
    }

    /// Appends `op` on the value behind input `index`, elementwise: the axes stay as they lie.
    pub fn elementwise(
        &mut self,
        node: &NodeReader<'m>,
        op: FloatOp,
        index: usize,
    ) -> Step<Operand> {
        let view = node.view(index)?;
        let dims = view.dims.clone();
        let value = self.emit(node, op, vec![view.value])?;
        Ok(fresh(value, dims))
    }

    /// Input `index` under other axes: no operation at all.
    pub fn realias(
        &self,
        node: &NodeReader<'m>,
        index: usize,
        dims: Vec<Vec<Axis>>,
    ) -> Step<Operand> {
        let view = node.view(index)?;
        Ok(Operand::View(
            view.alias(dims, self.is_only_reader(node, index)),
        ))
    }
}

/// A newly made value under these axes.
pub fn fresh(value: ValueId, dims: Vec<Vec<Axis>>) -> Operand {
    Operand::View(View {
        value,
        dims,
        exclusive: true,
    })
}
