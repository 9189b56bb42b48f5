//! Layers that only move elements: from what ONNX says to loops that a device runs.
//!
//! A [`Gather`] says of every element of a map where it comes from. Operations that only move elements
//! put one behind the other, so that a chain of them becomes one layer. [`nests`] then finds the loops:
//! elements at equal distances in both maps are a loop, equal loops at equal distances a loop of
//! loops, and so on; what follows no rule becomes several nests.

use crate::ir::float::{FloatOp, Interpolation, Resize, Shape};
use crate::ir::ids::TensorId;
use crate::ir::int::IntNest;
use nest_kernels::layer::{Loop, Nest};

/// Where the elements of a map come from, in `h, w, c` order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gather {
    /// What is read.
    pub sources: Vec<TensorId>,
    /// `[source, element]` of every element.
    pub from: Vec<[u32; 2]>,
}

impl Gather {
    /// A tensor as it is.
    pub fn whole(tensor: TensorId, shape: Shape) -> Self {
        Self {
            sources: vec![tensor],
            from: (0..shape.len() as u32).map(|at| [0, at]).collect(),
        }
    }

    /// What `op`, which only moves elements, makes of `inputs`.
    pub fn of(op: &FloatOp, inputs: &[(Gather, Shape)], out: Shape) -> Self {
        let mut sources: Vec<TensorId> = Vec::new();
        // For each input, the new number of each of its sources.
        let numbers: Vec<Vec<u32>> = (inputs.iter())
            .map(|(gather, _)| {
                let mut number = |&source: &TensorId| {
                    let known = sources.iter().position(|&s| s == source);
                    known.unwrap_or_else(|| {
                        sources.push(source);
                        sources.len() - 1
                    }) as u32
                };
                gather.sources.iter().map(&mut number).collect()
            })
            .collect();
        let origin = origins(op, inputs, out);
        let mut from = Vec::with_capacity(out.len());
        for h in 0..out.h {
            for w in 0..out.w {
                for c in 0..out.c {
                    let (input, [c, h, w]) = origin([c, h, w]);
                    let (gather, shape) = &inputs[input];
                    let [source, at] = gather.from[(h * shape.w + w) * shape.c + c];
                    from.push([numbers[input][source as usize], at]);
                }
            }
        }
        Self { sources, from }
    }

    /// Without sources that nothing comes from.
    pub fn trimmed(mut self) -> Self {
        let mut numbers = vec![None; self.sources.len()];
        let mut kept = Vec::new();
        for from in &mut self.from {
            let old = from[0] as usize;
            from[0] = *numbers[old].get_or_insert_with(|| {
                kept.push(self.sources[old]);
                kept.len() as u32 - 1
            });
        }
        self.sources = kept;
        self
    }

    /// The loops that copy what comes from `source`.
    pub fn nests_of(&self, source: usize) -> Vec<IntNest> {
        let pairs = (self.from.iter().enumerate())
            .filter(|(_, from)| from[0] as usize == source)
            .map(|(to, from)| (from[1], to as u32));
        nests(pairs)
    }
}

/// Whether an operation only moves elements.
pub(super) fn only_moves(op: &FloatOp) -> bool {
    match op {
        FloatOp::Slice(_)
        | FloatOp::Select { .. }
        | FloatOp::ChannelShuffle { .. }
        | FloatOp::Rearrange(_)
        | FloatOp::Concat(_) => true,
        FloatOp::Resize(resize) => is_nearest(resize),
        _ => false,
    }
}

fn is_nearest(resize: &Resize) -> bool {
    resize.interpolation != Interpolation::Linear
}

/// The input that an element `[c, h, w]` of the output comes from, and which of its elements.
type Origin<'a> = Box<dyn Fn([usize; 3]) -> (usize, [usize; 3]) + 'a>;

fn origins<'a>(op: &'a FloatOp, inputs: &'a [(Gather, Shape)], out: Shape) -> Origin<'a> {
    let x = inputs[0].1;
    match op {
        FloatOp::Slice(s) => Box::new(|at| {
            let of = |axis: usize| s.start[axis] + at[axis] * s.step[axis];
            (0, [of(0), of(1), of(2)])
        }),
        FloatOp::Select { axis, indices } => Box::new(|mut at| {
            at[*axis as usize] = indices[at[*axis as usize]];
            (0, at)
        }),
        FloatOp::ChannelShuffle { groups } => {
            Box::new(move |[c, h, w]| (0, [c % groups * (x.c / groups) + c / groups, h, w]))
        }
        FloatOp::Rearrange(r) => {
            let sources = r.sources();
            Box::new(move |[c, h, w]| {
                let at = sources[(c * out.h + h) * out.w + w];
                (0, [at / x.pixels(), at / x.w % x.h, at % x.w])
            })
        }
        FloatOp::Resize(r) => {
            let (rows, columns) = (r.taps(0, x.h), r.taps(1, x.w));
            Box::new(move |[c, h, w]| (0, [c, rows[h].first, columns[w].first]))
        }
        FloatOp::Concat(axis) => {
            let axis = *axis;
            // For each place along the axis, its input and the first place of that input.
            let places: Vec<(usize, usize)> = (inputs.iter().enumerate())
                .flat_map(|(input, (_, shape))| {
                    (0..shape.extent(axis)).map(move |place| (input, place))
                })
                .collect();
            Box::new(move |mut at| {
                let (input, place) = places[at[axis as usize]];
                at[axis as usize] = place;
                (input, at)
            })
        }
        other => unreachable!("{} does more than move elements", other.name()),
    }
}

/// Loops that copy the elements of `pairs` (from, to), which are in the order of the output.
pub(super) fn nests(pairs: impl Iterator<Item = (u32, u32)>) -> Vec<IntNest> {
    let mut all: Vec<IntNest> = pairs
        .map(|(from, to)| IntNest {
            from,
            to,
            loops: Vec::new(),
        })
        .collect();
    for _ in 0..Nest::DEPTH {
        let before = all.len();
        all = looped(all);
        if all.len() == before {
            break;
        }
    }
    for nest in &mut all {
        order(&mut nest.loops);
    }
    all
}

/// Joins equal nests at equal distances.
fn looped(all: Vec<IntNest>) -> Vec<IntNest> {
    let mut out: Vec<IntNest> = Vec::new();
    let mut rest = all.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut last = (first.from, first.to);
        let mut found: Option<Loop> = None;
        while let Some(next) = rest.peek() {
            let steps = (next.from.checked_sub(last.0)).zip(next.to.checked_sub(last.1));
            let Some((from, to)) = steps.filter(|_| next.loops == first.loops) else {
                break;
            };
            match &mut found {
                None => found = Some([2, from, to]),
                Some([count, f, t]) if (*f, *t) == (from, to) => *count += 1,
                Some(_) => break,
            }
            last = (next.from, next.to);
            rest.next();
        }
        let mut nest = first;
        if let Some(outer) = found {
            nest.loops.insert(0, outer);
        }
        out.push(nest);
    }
    out
}

/// Puts the loop innermost that is cheapest there. Loops may stand in any order: each element of the
/// output is written once.
fn order(loops: &mut Vec<Loop>) {
    let rounds: u64 = loops.iter().map(|l| u64::from(l[0])).product();
    let innermost = (0..loops.len()).rev().min_by_key(|&i| {
        let [count, from, to] = loops[i];
        let runs = rounds / u64::from(count.max(1));
        // The further elements are apart, the fewer a line of cache holds.
        let far = u64::from(from.min(32) + to.min(32));
        match (from, to) {
            (1, 1) => 20 * runs + rounds,
            _ => 12 * runs + (3 + far / 2) * rounds,
        }
    });
    if let Some(innermost) = innermost {
        let inner = loops.remove(innermost);
        loops.push(inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::float::{Axis, Coordinates, Rearrange, Slice};
    use crate::ir::ids::Id;
    use crate::ir::int::IntMove;

    fn id(i: usize) -> TensorId {
        TensorId::from_index(i)
    }

    /// The sources of every element of the output, by running the loops.
    fn run(gather: &Gather) -> Vec<[u32; 2]> {
        let mut given = vec![None; gather.from.len()];
        for source in 0..gather.sources.len() {
            let moved = IntMove {
                nests: gather.nests_of(source),
                tables: None,
            };
            moved.each(&mut |from, to| {
                let twice = given[to].replace([source as u32, from as u32]);
                assert_eq!(twice, None, "element {to} is written twice");
            });
        }
        given.into_iter().map(|g| g.expect("written")).collect()
    }

    fn whole(i: usize, shape: Shape) -> (Gather, Shape) {
        (Gather::whole(id(i), shape), shape)
    }

    #[test]
    fn loops_copy_what_the_gather_says() {
        let x = Shape::map(6, 4, 5);
        let resize = |coordinates, interpolation, size: [usize; 2]| {
            FloatOp::Resize(Resize {
                size,
                scale: [size[0] as f32 / 4.0, size[1] as f32 / 5.0],
                coordinates,
                interpolation,
            })
        };
        let ops = [
            FloatOp::Slice(Slice {
                start: [1, 0, 1],
                step: [2, 2, 1],
                count: [3, 2, 4],
            }),
            FloatOp::Select {
                axis: Axis::C,
                indices: vec![5, 0, 0, 2, 1, 3, 3],
            },
            FloatOp::ChannelShuffle { groups: 3 },
            FloatOp::Rearrange(Rearrange {
                factors: vec![2, 3, 20],
                perm: vec![2, 1, 0],
                shape: Shape::map(20, 3, 2),
            }),
            FloatOp::Rearrange(Rearrange {
                factors: vec![120],
                perm: vec![0],
                shape: Shape::vector(120),
            }),
            resize(Coordinates::Asymmetric, Interpolation::Floor, [8, 10]),
            resize(
                Coordinates::HalfPixel,
                Interpolation::RoundPreferFloor,
                [3, 7],
            ),
        ];
        for op in ops {
            let out = op.output_shape(&[x]).expect("it fits");
            let gather = Gather::of(&op, &[whole(3, x)], out);
            assert_eq!(gather.from.len(), out.len());
            assert_eq!(run(&gather), gather.from, "{}", op.name());
        }
    }

    #[test]
    fn plain_movements_are_few_loops() {
        let x = Shape::map(24, 10, 10);
        let joined = Shape::map(48, 10, 10);
        let op = FloatOp::Concat(Axis::C);
        let gather = Gather::of(&op, &[whole(0, x), whole(1, x)], joined);
        assert_eq!(gather.sources, [id(0), id(1)]);
        let nest = |from, to, loops| IntNest { from, to, loops };
        let loops = vec![[100, 24, 48], [24, 1, 1]];
        assert_eq!(gather.nests_of(0), [nest(0, 0, loops.clone())]);
        assert_eq!(gather.nests_of(1), [nest(0, 24, loops)]);
        // Joined columns of one row lie one behind the other.
        let row = Shape::map(2, 1, 30);
        let op = FloatOp::Concat(Axis::W);
        let gather = Gather::of(&op, &[whole(0, row), whole(1, row)], Shape::map(2, 1, 60));
        assert_eq!(gather.nests_of(1), [nest(0, 60, vec![[60, 1, 1]])]);
        // A chain of two reads its sources at once.
        let twice = FloatOp::ChannelShuffle { groups: 2 };
        let gather = Gather::of(
            &twice,
            &[(gather, Shape::map(2, 1, 60))],
            Shape::map(2, 1, 60),
        );
        assert_eq!(gather.sources, [id(0), id(1)]);
        assert_eq!(run(&gather), gather.from);
        // A source read twice is one.
        let same = Gather::of(
            &FloatOp::Concat(Axis::H),
            &[whole(7, row), whole(7, row)],
            Shape::map(2, 2, 30),
        );
        assert_eq!(same.sources, [id(7)]);
        assert_eq!(same.nests_of(0), [nest(0, 0, vec![[2, 0, 60], [60, 1, 1]])]);
    }

    #[test]
    fn sources_that_give_nothing_go() {
        let row = Shape::map(1, 1, 4);
        let joined = Gather::of(
            &FloatOp::Concat(Axis::W),
            &[whole(0, row), whole(1, row)],
            Shape::map(1, 1, 8),
        );
        let slice = FloatOp::Slice(Slice {
            start: [0, 0, 5],
            step: [1; 3],
            count: [1, 1, 2],
        });
        let cut = Gather::of(
            &slice,
            &[(joined, Shape::map(1, 1, 8))],
            Shape::map(1, 1, 2),
        );
        assert_eq!(cut.trimmed().sources, [id(1)]);
    }
}
