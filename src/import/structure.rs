//! The file's graph as a graph: who gives each tensor, in which order nodes can run, which of them
//! the outputs need.

use std::collections::{HashMap, HashSet};

use super::node::NodeReader;
use super::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use crate::diag::{self, Diagnostic, Diagnostics};

/// The checked structure of a graph.
#[derive(Debug)]
pub struct Structure<'m> {
    /// The nodes the outputs need, in an order in which each runs after those it reads from.
    pub order: Vec<&'m NodeProto>,
    /// Named constants.
    pub initializers: HashMap<&'m str, &'m TensorProto>,
    /// Names of constants nestc cannot read because they are sparse.
    pub sparse: HashSet<&'m str>,
    /// Inputs that are not also initializers.
    pub inputs: Vec<&'m ValueInfoProto>,
    /// The node that gives each tensor.
    pub givers: HashMap<&'m str, &'m NodeProto>,
    /// How often each tensor is read, by needed nodes and as an output of the graph.
    pub reads: HashMap<&'m str, usize>,
}

impl<'m> Structure<'m> {
    /// Reads the structure and reports what is wrong with it. A structure comes back in any case,
    /// so that the nodes can be looked at too: names nobody gives are simply absent.
    pub fn read(graph: &'m GraphProto, findings: &mut Diagnostics) -> Self {
        let mut initializers = HashMap::new();
        for tensor in &graph.initializer {
            if initializers.insert(tensor.name.as_str(), tensor).is_some() {
                findings.push(duplicate(&tensor.name, "initializers"));
            }
        }
        let sparse: HashSet<&str> = graph
            .sparse_initializer
            .iter()
            .filter_map(|s| s.values.as_ref())
            .map(|v| v.name.as_str())
            .collect();
        let inputs: Vec<_> = graph
            .input
            .iter()
            .filter(|v| !initializers.contains_key(v.name.as_str()))
            .collect();
        let mut given: HashSet<&str> = initializers.keys().copied().collect();
        given.extend(&sparse);
        for input in &inputs {
            if !given.insert(&input.name) {
                findings.push(duplicate(&input.name, "inputs"));
            }
        }
        let mut giver: HashMap<&'m str, usize> = HashMap::new();
        for (i, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                if given.contains(output.as_str()) || giver.insert(output, i).is_some() {
                    findings.push(duplicate(output, "tensors"));
                }
            }
        }

        let order = order(graph, &giver, findings);
        for node in &order {
            for input in node.input.iter().filter(|i| !i.is_empty()) {
                if !given.contains(input.as_str()) && !giver.contains_key(input.as_str()) {
                    let message =
                        format!("reads '{input}', which no node, initializer or input gives");
                    findings.push(undefined(NodeReader::place_of(node), message));
                }
            }
        }
        for output in &graph.output {
            let name = output.name.as_str();
            if !given.contains(name) && !giver.contains_key(name) {
                let message = "is given by no node, initializer or input".to_owned();
                findings.push(undefined(format!("output '{name}'"), message));
            }
        }
        let read = order.iter().flat_map(|node| &node.input);
        let mut reads = HashMap::new();
        for name in read.chain(graph.output.iter().map(|o| &o.name)) {
            *reads.entry(name.as_str()).or_default() += 1;
        }
        Self {
            order,
            initializers,
            sparse,
            inputs,
            givers: (giver.iter())
                .map(|(&name, &node)| (name, &graph.node[node]))
                .collect(),
            reads,
        }
    }
}

/// The nodes the outputs need, in the file's order if that is one in which they can run (as ONNX
/// demands), otherwise in one that is. Depth-first from the outputs; an edge back into the path is
/// a cycle.
fn order<'m>(
    graph: &'m GraphProto,
    giver: &HashMap<&str, usize>,
    findings: &mut Diagnostics,
) -> Vec<&'m NodeProto> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        OnPath,
        Done,
    }
    let mut state = vec![State::New; graph.node.len()];
    let mut order = Vec::new();
    for output in &graph.output {
        let Some(&root) = giver.get(output.name.as_str()) else {
            continue;
        };
        // Node and the number of its inputs already looked at: a stack of our own, as a file can
        // nest deeper than the machine's.
        let mut path = vec![(root, 0)];
        if state[root] != State::New {
            continue;
        }
        state[root] = State::OnPath;
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(input) = graph.node[node].input.get(*next) else {
                state[node] = State::Done;
                order.push(node);
                path.pop();
                continue;
            };
            *next += 1;
            let Some(&before) = giver.get(input.as_str()) else {
                continue;
            };
            match state[before] {
                State::Done => {}
                State::New => {
                    state[before] = State::OnPath;
                    path.push((before, 0));
                }
                State::OnPath => findings.push(Diagnostic::new(
                    diag::CYCLE,
                    NodeReader::place_of(&graph.node[node]),
                    format!(
                        "reads '{input}', which depends on this node's own output '{}'",
                        graph.node[node].output.first().map_or("", String::as_str)
                    ),
                    "a graph must not be cyclic: unroll the loop before export",
                )),
            }
        }
    }
    let runs = |&node: &usize| {
        let inputs = &graph.node[node].input;
        inputs
            .iter()
            .all(|i| giver.get(i.as_str()).is_none_or(|&before| before < node))
    };
    if order.iter().all(runs) {
        order.sort_unstable();
    }
    order.into_iter().map(|i| &graph.node[i]).collect()
}

fn duplicate(name: &str, what: &str) -> Diagnostic {
    Diagnostic::new(
        diag::DUPLICATE_NAME,
        format!("tensor '{name}'"),
        format!("two {what} are called '{name}'"),
        "every tensor needs its own name: export the model again",
    )
}

fn undefined(place: String, message: String) -> Diagnostic {
    Diagnostic::new(
        diag::UNDEFINED_TENSOR,
        place,
        message,
        "the file is incomplete: export it again, with its weights (export_params=True)",
    )
}
