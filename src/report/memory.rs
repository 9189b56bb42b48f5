//! What lies in the arena, where and when: as a table and as a picture.

use std::fmt::Write;

use askama::Template;
use serde::{Deserialize, Serialize};

use super::chart::{Span, Spans};
use super::{cells, table};
use crate::ir::ids::Id;
use crate::ir::program::Program;
use crate::units::{Bytes, group_thousands};

/// The plan of memory of a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryMap {
    /// The arena.
    pub arena_bytes: Bytes,
    /// How many of its bytes, from the first on, lie in tightly coupled memory and the rest elsewhere;
    /// 0 if it is one block.
    #[serde(default)]
    pub fast_bytes: Bytes,
    /// What no plan with these kernels, passes and parts can go below, proven.
    pub lower_bound_bytes: Bytes,
    /// Layers in execution order.
    pub layers: Vec<String>,
    /// All tensors, then all scratch, in execution order.
    pub blocks: Vec<MemoryBlock>,
}

/// What a block of memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryUse {
    /// The network's input.
    Input,
    /// What one layer gives to another.
    Activation,
    /// One of the network's outputs.
    Output,
    /// A kernel's working memory.
    Scratch,
}

const USES: [MemoryUse; 4] = [
    MemoryUse::Input,
    MemoryUse::Activation,
    MemoryUse::Output,
    MemoryUse::Scratch,
];

impl MemoryUse {
    fn name(self) -> &'static str {
        match self {
            MemoryUse::Input => "input",
            MemoryUse::Activation => "activation",
            MemoryUse::Output => "output",
            MemoryUse::Scratch => "scratch",
        }
    }
}

/// A tensor or a kernel's scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryBlock {
    /// The ONNX tensor's name, or the layer whose scratch it is.
    pub name: String,
    /// What it is.
    pub used_for: MemoryUse,
    /// Its size.
    pub bytes: Bytes,
    /// Its first byte in the arena.
    pub offset: u64,
    /// The first layer that runs while it is there, by its number.
    pub from_layer: usize,
    /// The last.
    pub to_layer: usize,
}

impl MemoryBlock {
    fn end(&self) -> u64 {
        self.offset + self.bytes.0
    }
}

impl MemoryMap {
    /// That of a program.
    pub fn of(program: &Program) -> Self {
        let last_read = program.last_reads();
        let last = program.steps.len().saturating_sub(1);
        let mut blocks = Vec::new();
        for (id, tensor) in program.tensors.iter_enumerated() {
            if tensor.part_of.is_some() {
                continue;
            }
            let written = (program.steps.iter()).position(|s| program.whole(s.output) == id);
            let from_layer = match written {
                Some(at) => at,
                None if id == program.input => 0,
                None => continue,
            };
            let used_for = if program.outputs.contains(&id) {
                MemoryUse::Output
            } else if id == program.input {
                MemoryUse::Input
            } else {
                MemoryUse::Activation
            };
            blocks.push(MemoryBlock {
                name: tensor.name.clone(),
                used_for,
                bytes: Bytes(tensor.shape.len() as u64),
                offset: tensor.offset as u64,
                from_layer,
                to_layer: last_read[id]
                    .unwrap_or(from_layer)
                    .clamp(from_layer, last.max(from_layer)),
            });
        }
        blocks.sort_by_key(|b| b.from_layer);
        for (id, step) in program.steps.iter_enumerated() {
            if step.scratch_words > 0 {
                blocks.push(MemoryBlock {
                    name: step.name.clone(),
                    used_for: MemoryUse::Scratch,
                    bytes: Bytes(4 * step.scratch_words as u64),
                    offset: step.scratch_offset as u64,
                    from_layer: id.index(),
                    to_layer: id.index(),
                });
            }
        }
        Self {
            arena_bytes: program.arena_bytes,
            fast_bytes: program.fast_bytes,
            lower_bound_bytes: program.arena_bound,
            layers: program.steps.iter().map(|s| s.name.clone()).collect(),
            blocks,
        }
    }

    /// The arena and its bound in a line.
    pub fn line(&self) -> String {
        let parts = match self.fast_bytes {
            Bytes(0) => String::new(),
            fast => format!(", the first {fast} of it in tightly coupled memory"),
        };
        format!(
            "arena {}{parts}, lower bound {}",
            self.arena_bytes, self.lower_bound_bytes
        )
    }

    fn heads() -> Vec<String> {
        cells(["tensor", "use", "bytes", "offset", "end", "layers"])
    }

    fn rows(&self) -> Vec<Vec<String>> {
        (self.blocks.iter())
            .map(|b| {
                vec![
                    b.name.clone(),
                    b.used_for.name().into(),
                    group_thousands(b.bytes.0),
                    group_thousands(b.offset),
                    group_thousands(b.end()),
                    format!("{}–{}", b.from_layer, b.to_layer),
                ]
            })
            .collect()
    }

    /// All blocks and the layers' numbers, for `--explain-memory`.
    pub fn explain(&self) -> String {
        let mut rows = vec![Self::heads()];
        rows.extend(self.rows());
        let mut out = format!("{}\n\n{}\n", self.line(), table(&rows));
        for (number, layer) in self.layers.iter().enumerate() {
            // Writing into a string cannot fail.
            let _ = writeln!(out, "layer {number}: {layer}");
        }
        out.push('\n');
        out
    }

    /// The picture: rectangles of offsets over layers.
    pub fn svg(&self) -> String {
        let span = |b: &MemoryBlock| {
            // Where an output lies over its input, each has half of the layer's column.
            let meet = |a: &MemoryBlock, b: &MemoryBlock| {
                a.to_layer == b.from_layer
                    && a.from_layer < b.from_layer.max(1)
                    && a.offset < b.end()
                    && b.offset < a.end()
            };
            let tensor = b.used_for != MemoryUse::Scratch;
            let others = || {
                (self.blocks.iter())
                    .filter(|o| tensor && o.used_for != MemoryUse::Scratch && !std::ptr::eq(*o, b))
            };
            let over = others().any(|o| meet(o, b) || meet_input(o, b));
            let under = others().any(|o| meet(b, o) || meet_input(b, o));
            let from = b.from_layer as f64 + if over { 0.5 } else { 0.0 };
            let to = b.to_layer as f64 + if under { 0.5 } else { 1.0 };
            Span {
                name: b.name.clone(),
                note: format!(
                    "{}, {} at {}, layers {} to {}",
                    b.used_for.name(),
                    b.bytes,
                    group_thousands(b.offset),
                    b.from_layer,
                    b.to_layer
                ),
                kind: USES.iter().position(|&u| u == b.used_for).unwrap_or(0),
                time: [from, to],
                range: [b.offset as f64, b.end() as f64],
            }
        };
        Spans {
            id: "memory".into(),
            title: "The arena over time".into(),
            description: format!(
                "{}. Rectangles are tensors and scratch: offsets in the arena over the layers that run while they are there.",
                self.line()
            ),
            label: "offset in the arena [B]".into(),
            across: "layer".into(),
            steps: self.layers.len(),
            kinds: USES.map(|u| u.name().to_owned()).to_vec(),
            spans: self.blocks.iter().map(span).collect(),
            lines: match self.fast_bytes {
                Bytes(0) => {
                    let bound = self.lower_bound_bytes;
                    vec![(bound.0 as f64, format!("lower bound {bound}"))]
                }
                fast => vec![(fast.0 as f64, format!("tightly coupled memory, {fast}"))],
            },
        }
        .svg()
    }

    /// A page with the picture and the table. One file that loads nothing.
    pub fn html(&self, model: &str, target: &str) -> String {
        let page = Page {
            nestc_version: env!("CARGO_PKG_VERSION"),
            title: format!("Memory of {model} on {target}"),
            summary: format!(
                "{}. No plan with these kernels can take less than the bound.",
                self.line()
            ),
            chart: self.svg(),
            heads: Self::heads(),
            rows: self.rows(),
            steps: &self.layers,
        };
        // The template is fixed and writes into a string: it cannot fail.
        page.render().unwrap_or_default()
    }
}

/// Whether an output written by the first layer lies over the network's input, which is there from
/// that layer on, too.
fn meet_input(input: &MemoryBlock, output: &MemoryBlock) -> bool {
    input.used_for == MemoryUse::Input
        && output.used_for != MemoryUse::Input
        && input.to_layer == output.from_layer
        && input.offset < output.end()
        && output.offset < input.end()
}

#[derive(Template)]
#[template(path = "report/memory.html")]
struct Page<'a> {
    nestc_version: &'static str,
    title: String,
    summary: String,
    chart: String,
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    steps: &'a [String],
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;

    fn map() -> MemoryMap {
        let block =
            |name: &str, used_for, bytes, offset, [from_layer, to_layer]: [usize; 2]| MemoryBlock {
                name: name.into(),
                used_for,
                bytes: Bytes(bytes),
                offset,
                from_layer,
                to_layer,
            };
        MemoryMap {
            arena_bytes: Bytes(4096),
            fast_bytes: Bytes(0),
            lower_bound_bytes: Bytes(4000),
            layers: ["conv <1>", "relu", "fc"].map(String::from).to_vec(),
            blocks: vec![
                block("x & y", MemoryUse::Input, 1024, 0, [0, 0]),
                block("hidden", MemoryUse::Activation, 2048, 1024, [0, 1]),
                block("in place", MemoryUse::Activation, 2048, 1024, [1, 2]),
                block("y", MemoryUse::Output, 10, 0, [2, 2]),
                block("conv <1>", MemoryUse::Scratch, 1024, 3072, [0, 0]),
            ],
        }
    }

    #[test]
    fn every_block_is_drawn_once_and_named() {
        let svg = map().svg();
        let document = Document::parse(&svg).unwrap();
        let titles: Vec<&str> = (document.descendants())
            .filter(|n| n.has_tag_name("path"))
            .filter_map(|n| n.first_element_child()?.text())
            .collect();
        assert_eq!(
            titles,
            [
                "x & y: input, 1,024 B at 0, layers 0 to 0",
                "hidden: activation, 2,048 B at 1,024, layers 0 to 1",
                "in place: activation, 2,048 B at 1,024, layers 1 to 2",
                "y: output, 10 B at 0, layers 2 to 2",
                "conv <1>: scratch, 1,024 B at 3,072, layers 0 to 0",
            ]
        );
        assert!(svg.contains(">hidden</text>") && svg.contains(">lower bound 4,000 B</text>"));
        // Four kinds, four hatches: none needs its colour.
        assert_eq!(svg.matches("<pattern ").count(), 4);
    }

    #[test]
    fn an_output_over_its_input_shares_the_column() {
        let ends: Vec<String> = (map().svg().lines())
            .filter(|l| l.contains("<title>hidden") || l.contains("<title>in place"))
            .map(|l| l.split('"').nth(1).unwrap_or_default().to_owned())
            .collect();
        let x = |d: &str, at: usize| -> f64 {
            let words = d.split([' ', 'M', 'H', 'V', 'Z']).filter(|w| !w.is_empty());
            words.filter_map(|w| w.parse().ok()).nth(at).unwrap()
        };
        assert_eq!(x(&ends[0], 2), x(&ends[1], 0), "{ends:?}");
    }

    #[test]
    fn a_page_is_well_formed_and_loads_nothing() {
        let html = map().html("net <&>", "board");
        let xml = html.replacen("<!DOCTYPE html>", "", 1);
        let closed: Vec<String> = (xml.lines())
            .map(|line| match line.starts_with("<meta ") {
                true => line.replacen('>', "/>", 1),
                false => line.to_string(),
            })
            .collect();
        let text = closed.join("\n");
        let document = Document::parse(&text).unwrap();
        let count = |tag: &str| {
            document
                .descendants()
                .filter(|n| n.has_tag_name(tag))
                .count()
        };
        assert_eq!((count("script"), count("link"), count("img")), (0, 0, 0));
        let links = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!links.contains("http"), "a page names no address");
        for figure in [
            "4,096 B",
            "4,000 B",
            "3,072",
            ">2–2<",
            "net &#60;&#38;&#62;",
        ] {
            assert!(html.contains(figure), "{figure}: {html}");
        }
    }

    #[test]
    fn the_table_tells_where_and_when() {
        let text = map().explain();
        assert!(
            text.starts_with("arena 4,096 B, lower bound 4,000 B\n\n"),
            "{text}"
        );
        let row = text.lines().find(|l| l.starts_with("in place")).unwrap();
        let words: Vec<&str> = row.split_whitespace().skip(2).collect();
        assert_eq!(words, ["activation", "2,048", "1,024", "3,072", "1–2"]);
        assert!(text.contains("\nlayer 0: conv <1>\n"), "{text}");
    }
}
