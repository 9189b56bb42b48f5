//! The float graph under construction.

use std::collections::HashMap;
use std::rc::Rc;

use super::node::{NodeReader, Operand, Step};
use super::ops::quantised::Steps;
use super::proto::TensorProto;
use super::structure::Structure;
use super::tensor::{Constant, MAX_ELEMENTS, TensorReader, element_count};
use super::view::{Dims, Form, Groups, Run, View, choose_groups, grouped, nchw, rearrangement};
use crate::diag::{self, Diagnostic, Diagnostics};
use crate::ir::float::{Axis, FloatGraph, FloatOp, Node, Shape, Value};
use crate::ir::ids::{NodeId, ValueId};

/// What the exporter appends to the name of the node that adds the shift of an affine step.
pub const SHIFT: &str = ".shift";

/// What the exporter appends to the name of a rounded value for its integers.
pub const INTEGERS: &str = ".integers";

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
    /// What the file says about names.
    pub structure: &'m Structure<'m>,
    reader: TensorReader,
    operands: HashMap<&'m str, Operand>,
    /// Values in another order or shape, where they were made.
    rearranged: HashMap<(ValueId, Vec<Run>, Shape), ValueId>,
    /// Tensors of the file that hold integers, and what these stand for as far as that is known.
    integers: HashMap<&'m str, Option<Steps>>,
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
            rearranged: HashMap::new(),
            integers: HashMap::new(),
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

    /// What the integers of tensor `name` stand for, if it holds integers and that is known.
    pub fn steps(&self, name: &str) -> Option<Steps> {
        self.integers.get(name).copied().flatten()
    }

    /// Whether tensor `name` holds integers.
    pub fn holds_integers(&self, name: &str) -> bool {
        self.integers.contains_key(name)
    }

    /// States that tensor `name` holds integers, and what they stand for.
    pub fn set_integers(&mut self, name: &'m str, steps: Option<Steps>) {
        self.integers.insert(name, steps);
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

    /// The extent of the value behind a view.
    pub fn shape(&self, view: &View) -> Shape {
        self.graph.shape(view.value)
    }

    /// Input `index` in `N x C x H x W` order. `N x C x L`, a signal, is a map of one column.
    pub fn map(&mut self, node: &NodeReader<'m>, index: usize) -> Step<ValueId> {
        let mut view = node.view(index)?.clone();
        if view.dims.len() == 3 {
            view.dims.push(Vec::new());
        }
        let plain: Groups = [vec![1], vec![2], vec![3]];
        if view.dims.len() != 4 || view.batch_axes() != Some(1) {
            return Err(self.wrong_layout(node, index, "NxCxHxW"));
        }
        Ok(self.with_groups(&view, &plain, node.input_name(index)))
    }

    /// The value behind a view, or a rearranged form of it, whose axes are these ONNX axes.
    pub fn with_groups(&mut self, view: &View, groups: &Groups, name: &str) -> ValueId {
        if view.has_groups(self.shape(view), groups) {
            return view.value;
        }
        let (shape, _) = grouped(groups, &view.extents(), view.batch());
        let runs = view.runs(groups.iter().flatten().copied());
        self.rearrange(view.value, runs, shape, name)
    }

    /// Input `index` over a value each of whose axes is one ONNX axis or several whole ones; ONNX
    /// axis `keep` is alone on its axis.
    pub fn aligned(
        &mut self,
        node: &NodeReader<'m>,
        index: usize,
        keep: Option<usize>,
    ) -> Step<Aligned> {
        let view = node.view(index)?.clone();
        let shape = self.shape(&view);
        let chosen = (view.groups(shape))
            .filter(|groups| keep.is_none_or(|keep| groups.iter().flatten().any(|&i| i == keep)))
            .or_else(|| choose_groups(&view, shape, keep));
        match chosen {
            Some(groups) => Ok(self.aligned_to(&view, &groups, node.input_name(index))),
            None => Err(self.wrong_layout(node, index, "a batch")),
        }
    }

    /// A view over a value whose axes are `groups` of the ONNX axes.
    pub fn aligned_to(&mut self, view: &View, groups: &Groups, name: &str) -> Aligned {
        let value = self.with_groups(view, groups, name);
        Aligned {
            value,
            groups: groups.clone(),
            extents: view.extents(),
            batch: view.batch(),
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
        let form = view.as_vector(axis, self.shape(view));
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
            Some(Operand::View(view)) => format!("{:?}", view.extents()),
            _ => "unknown extents".to_owned(),
        };
        node.finding(
            diag::LAYOUT,
            format!(
                "input '{}' of extents {found} is not {wanted}, images in front",
                node.input_name(index)
            ),
            "keep the batch the first axis, and export for a batch of 1 or an open one",
        )
    }

    /// The value read as a vector; the node is made once.
    pub fn flatten(&mut self, value: ValueId, name: &str) -> ValueId {
        let extent = self.graph.shape(value).len();
        let whole = Run { extent, stride: 1 };
        self.rearrange(value, vec![whole], Shape::vector(extent), name)
    }

    /// The value of extents `shape` whose elements in order are those of `value` that `runs` go
    /// through; `name` is the tensor that is read so. The node is made once.
    fn rearrange(&mut self, value: ValueId, runs: Vec<Run>, shape: Shape, name: &str) -> ValueId {
        let Some(op) = rearrangement(&runs, self.graph.shape(value), shape) else {
            return value;
        };
        let key = (value, runs, shape);
        if let Some(&made) = self.rearranged.get(&key) {
            return made;
        }
        // The file's own Flatten or Reshape lends its names, if there is one.
        let synthetic = match op {
            FloatOp::Flatten => format!("{name}.flatten"),
            _ => format!("{name}.rearranged"),
        };
        let (node, output) = match self.structure.givers.get(name) {
            Some(node) if self.graph.values[value].name != name => (NodeReader::name(node), name),
            _ => (synthetic.as_str(), synthetic.as_str()),
        };
        let made = self.push(node, op, vec![value], shape, output);
        self.rearranged.insert(key, made);
        made
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
    pub fn realias(&self, node: &NodeReader<'m>, index: usize, dims: Dims) -> Step<Operand> {
        let view = node.view(index)?;
        Ok(Operand::View(
            view.alias(dims, self.is_only_reader(node, index)),
        ))
    }

    /// A newly made value as ONNX orders feature maps, or signals if `node` reads one.
    pub fn fresh_map(&self, node: &NodeReader<'m>, value: ValueId) -> Operand {
        let mut dims = nchw(self.graph.shape(value), self.batch);
        if node.reads_signal() {
            dims.pop();
        }
        fresh(value, dims)
    }
}

/// A view of a value whose axes are ONNX axes.
#[derive(Clone, Debug)]
pub struct Aligned {
    /// The value.
    pub value: ValueId,
    /// The ONNX axes of each of its axes.
    pub groups: Groups,
    /// Extents of the ONNX tensor.
    pub extents: Vec<usize>,
    batch: usize,
}

impl Aligned {
    /// The value's axis that ONNX axis `index` is, if it is one alone.
    pub fn axis(&self, index: usize) -> Option<Axis> {
        (Axis::ALL.into_iter()).find(|&axis| self.groups[axis as usize] == [index])
    }

    /// A newly made value of the same axes, of these ONNX extents.
    pub fn made(&self, value: ValueId, extents: &[usize]) -> Operand {
        fresh(value, grouped(&self.groups, extents, self.batch).1)
    }
}

/// A newly made value under these axes.
pub fn fresh(value: ValueId, dims: Dims) -> Operand {
    Operand::View(View {
        value,
        dims,
        exclusive: true,
    })
}
