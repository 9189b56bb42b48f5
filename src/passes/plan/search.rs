//! Where blocks go: the search for offsets, and the proof that none are better.
//!
//! Blocks that live at the same time are apart, so of two such the one lies above the other: by its
//! length, or by less where an output may lie over its input. Which of two lies below settles all
//! offsets: each is the least that those below allow. The search walks through such orders. Where
//! orders made by rules, and then by small changes around the top of the arena, miss the lower bound,
//! it goes through all of them, lowest block first, and leaves out those that exceed the bound already
//! (iterative deepening, R. Korf 1985). What ends without a plan has proven a higher bound.

use super::Block;
use crate::ir::program::shared_bytes;
use crate::passes::calibrate::Random;

/// Changed orders that are tried at most, and what trying all may cost, in pairs of blocks.
const TRIES: usize = 5000;
const CHANGE_WORK: usize = 100_000_000;
/// What the complete search may cost, in blocks and steps looked at.
const EXHAUST_WORK: usize = 20_000_000;

/// What the search found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// First byte of each block.
    pub offsets: Vec<usize>,
    /// Bytes that they take.
    pub bytes: usize,
    /// No offsets take fewer.
    pub lower_bound: usize,
}

/// Offsets of all blocks, given a bound that no plan can beat.
pub(super) fn best_offsets(blocks: &[Block], mut lower_bound: usize) -> Found {
    let mut found = by_rules(blocks, lower_bound);
    if found.bytes > lower_bound {
        change(blocks, lower_bound, &mut found);
    }
    if found.bytes > lower_bound {
        exhaust(blocks, &mut lower_bound, &mut found);
    }
    Found {
        offsets: found.offsets,
        bytes: found.bytes,
        lower_bound,
    }
}

/// An order of blocks and what comes of it.
#[derive(Clone, Debug, Default)]
struct Order {
    order: Vec<usize>,
    offsets: Vec<usize>,
    bytes: usize,
}

impl Order {
    fn of(order: Vec<usize>, blocks: &[Block]) -> Self {
        let (offsets, bytes) = offsets_in(&order, blocks);
        Self {
            order,
            offsets,
            bytes,
        }
    }
}

/// The best of a few orders: large blocks first, large and long-lived ones, long-lived ones.
fn by_rules(blocks: &[Block], lower_bound: usize) -> Order {
    let span = |b: &Block| b.to - b.from + 1;
    let keys: [&dyn Fn(&Block) -> usize; 3] = [&|b| b.bytes, &|b| b.bytes * span(b), &|b| span(b)];
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    let mut best: Option<Order> = None;
    for key in keys {
        order.sort_by_key(|&i| std::cmp::Reverse(key(&blocks[i])));
        let candidate = Order::of(order.clone(), blocks);
        if best.as_ref().is_none_or(|b| candidate.bytes < b.bytes) {
            best = Some(candidate);
        }
        if best.as_ref().is_some_and(|b| b.bytes == lower_bound) {
            break;
        }
    }
    best.unwrap_or_default()
}

/// Improves an order by small changes, as long as there is something to gain: a block at the top of
/// the arena goes to an earlier place, or two blocks change places.
fn change(blocks: &[Block], lower_bound: usize, best: &mut Order) {
    let count = best.order.len() as u64;
    let mut random = Random(0);
    let mut now = best.clone();
    let tries = TRIES.min(CHANGE_WORK / best.order.len().pow(2).max(1));
    for _ in 0..tries {
        if best.bytes == lower_bound || count < 2 {
            return;
        }
        let mut order = now.order.clone();
        let top = (0..order.len()).filter(|&at| {
            let block = order[at];
            (now.offsets[block] + blocks[block].bytes).next_multiple_of(4) == now.bytes
        });
        let top: Vec<usize> = top.collect();
        if let (false, Some(&at)) = (random.next().is_multiple_of(4), top.first()) {
            let block = order.remove(at);
            order.insert((random.next() % (at as u64 + 1)) as usize, block);
        } else {
            let [a, b] = [random.next(), random.next()].map(|r| (r % count) as usize);
            order.swap(a, b);
        }
        let changed = Order::of(order, blocks);
        // As good is good enough: the search may walk along a plain.
        if changed.bytes <= now.bytes {
            now = changed;
            if now.bytes < best.bytes {
                best.clone_from(&now);
            }
        }
    }
}

/// Each block in turn goes to the tightest gap (ties: the lowest) between those placed before it that
/// live at its time.
fn offsets_in(order: &[usize], blocks: &[Block]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; blocks.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(blocks.len());
    let mut bytes = 0;
    for &i in order {
        let block = &blocks[i];
        if block.bytes == 0 {
            continue;
        }
        // Where the block may not begin: from the first on, up to before the second.
        let mut forbidden: Vec<(usize, usize)> = (placed.iter())
            .filter(|&&j| block.meets(&blocks[j]))
            .map(|&j| {
                let start = offsets[j];
                let above = start + distance(blocks, j, i);
                // The last place below lets the blocks be that far apart.
                ((start + 1).saturating_sub(distance(blocks, i, j)), above)
            })
            .collect();
        forbidden.sort_unstable();
        let mut at = 0;
        let mut tightest: Option<(usize, usize)> = None;
        for (from, to) in forbidden {
            if from > at && tightest.is_none_or(|(gap, _)| from - at < gap) {
                tightest = Some((from - at, at));
            }
            at = at.max(to.next_multiple_of(block.align));
        }
        offsets[i] = tightest.map_or(at, |(_, at)| at);
        bytes = bytes.max(offsets[i] + block.bytes);
        placed.push(i);
    }
    (offsets, bytes.next_multiple_of(4))
}

/// How far above a lower block the upper one begins at least, if both live at one time.
fn distance(blocks: &[Block], lower: usize, upper: usize) -> usize {
    match blocks[lower].over {
        Some((input, distance)) if input == upper => distance.min(blocks[lower].bytes),
        _ => blocks[lower].bytes,
    }
}

/// The complete search: see the module.
struct Exhaustive<'a> {
    blocks: &'a [Block],
    /// For each block, those that live at the same time.
    meets: Vec<Vec<usize>>,
    /// The least offset that blocks below allow.
    least: Vec<usize>,
    offsets: Vec<usize>,
    placed: Vec<bool>,
    /// At each step: the end of what is placed, and the bytes of what is not.
    top: Vec<usize>,
    left: Vec<usize>,
    /// At each step: an output, its input, and how many bytes the two may share.
    shared: Vec<Option<[usize; 3]>>,
    nodes: usize,
    /// Bytes that the blocks are to take at most.
    limit: usize,
    /// What they need at least where the limit is too low.
    needed: usize,
}

/// Raises the bound until there are offsets that reach it, the best known do, or the nodes are used
/// up. A bound is raised to the least that any of the orders left out would need.
fn exhaust(blocks: &[Block], lower_bound: &mut usize, best: &mut Order) {
    let steps = blocks.iter().map(|b| b.to + 1).max().unwrap_or(0);
    let mut search = Exhaustive {
        blocks,
        meets: (0..blocks.len())
            .map(|i| {
                let others = (0..blocks.len()).filter(|&j| j != i && blocks[j].bytes > 0);
                others.filter(|&j| blocks[i].meets(&blocks[j])).collect()
            })
            .collect(),
        least: vec![0; blocks.len()],
        offsets: vec![0; blocks.len()],
        placed: blocks.iter().map(|b| b.bytes == 0).collect(),
        top: vec![0; steps],
        left: vec![0; steps],
        shared: vec![None; steps],
        nodes: EXHAUST_WORK / (blocks.len() + steps).max(1),
        limit: 0,
        needed: 0,
    };
    for (at, left) in search.left.iter_mut().enumerate() {
        *left = (blocks.iter().filter(|b| b.lives(at)))
            .map(|b| b.bytes)
            .sum();
    }
    for (output, block) in blocks.iter().enumerate() {
        if let Some((input, distance)) = block.over {
            let bytes = shared_bytes(blocks[input].bytes, block.bytes, distance);
            search.shared[block.from] = Some([output, input, bytes]);
        }
    }
    let unplaced = search.placed.iter().filter(|&&placed| !placed).count();
    while *lower_bound < best.bytes {
        (search.limit, search.needed) = (*lower_bound, usize::MAX);
        if search.place_next(unplaced, None) {
            best.offsets.clone_from(&search.offsets);
            best.bytes = *lower_bound;
        } else if search.nodes == 0 {
            return;
        } else {
            *lower_bound = search.needed.min(best.bytes);
        }
    }
}

impl Exhaustive<'_> {
    /// Places the `unplaced` blocks that are left above `last`, in order of their offsets; whether
    /// they fit. Offsets are left as they are then.
    fn place_next(&mut self, unplaced: usize, last: Option<usize>) -> bool {
        let floor = last.map_or(0, |last| self.offsets[last]);
        // All that is left goes above the floor.
        let needed = (self.top.iter().zip(&self.left).zip(&self.shared))
            .map(|((&top, &left), shared)| {
                let shared = match *shared {
                    Some([a, b, bytes]) if !(self.placed[a] && self.placed[b]) => bytes,
                    _ => 0,
                };
                let start = if left > 0 { top.max(floor) } else { top };
                (start + left).saturating_sub(shared)
            })
            .max()
            .map_or(0, |needed| needed.next_multiple_of(4));
        if needed > self.limit {
            self.needed = self.needed.min(needed);
            return false;
        }
        if unplaced == 0 {
            return true;
        }
        let eligible = |&i: &usize| {
            let after = last.is_none_or(|last| {
                // Of two with one offset that do not meet, either order gives the same.
                self.least[i] > floor
                    || self.least[i] == floor && (i > last || self.meets[i].contains(&last))
            });
            !self.placed[i] && after
        };
        let mut next: Vec<usize> = (0..self.blocks.len()).filter(eligible).collect();
        // A block that would end before another begins may as well come first.
        let end = |i: usize| self.least[i] + self.blocks[i].bytes;
        let first_end = next.iter().map(|&i| end(i)).min().unwrap_or(0);
        next.retain(|&i| self.least[i] < first_end);
        let size = |i: usize| self.blocks[i].bytes * (1 + self.blocks[i].to - self.blocks[i].from);
        next.sort_by_key(|&i| (self.least[i], std::cmp::Reverse(size(i))));
        for i in next {
            if self.nodes == 0 {
                return false;
            }
            self.nodes -= 1;
            if self.fits_with(i, unplaced - 1) {
                return true;
            }
        }
        false
    }

    /// Places a block at its least offset and the others above it, or takes it away again.
    fn fits_with(&mut self, i: usize, unplaced: usize) -> bool {
        let block = &self.blocks[i];
        let steps = block.from..block.to + 1;
        let top: Vec<usize> = self.top[steps.clone()].to_vec();
        let least: Vec<usize> = self.meets[i].iter().map(|&j| self.least[j]).collect();
        self.offsets[i] = self.least[i];
        self.placed[i] = true;
        for at in steps.clone() {
            self.top[at] = self.top[at].max(self.offsets[i] + block.bytes);
            self.left[at] -= block.bytes;
        }
        for &j in &self.meets[i] {
            let above = self.offsets[i] + distance(self.blocks, i, j);
            let above = above.next_multiple_of(self.blocks[j].align);
            self.least[j] = self.least[j].max(above);
        }
        if self.place_next(unplaced, Some(i)) {
            return true;
        }
        for (&j, &before) in self.meets[i].iter().zip(&least) {
            self.least[j] = before;
        }
        for at in steps.clone() {
            self.left[at] += block.bytes;
        }
        self.top[steps].copy_from_slice(&top);
        self.placed[i] = false;
        false
    }
}
