//! The checks at the entry of every kernel: lengths, levels and extents agree. What passes here is
//! what the `unsafe` code of `armv7em` relies on.

use nest_format::Requant;

use crate::layer::*;

/// Constants of a layer at one level.
#[derive(Clone, Copy)]
pub(crate) struct AtLevel<'a> {
    /// One an output channel (or as the layer's documentation tells).
    pub requant: &'a [Requant],
    /// What padding holds.
    pub pad: i8,
    /// Output zero point.
    pub zero: i8,
}

/// Says that a call did not fit its layer: a panic in debug builds, else nothing.
pub(crate) fn refuse() {
    debug_assert!(
        false,
        "slices, level or constants do not fit the layer (see the crate's documentation)"
    );
}

/// Runs on the checked value, or refuses.
macro_rules! checked {
    ($check:expr) => {
        match $check {
            Some(value) => value,
            None => return crate::check::refuse(),
        }
    };
}
pub(crate) use checked;

const fn volume(h: u16, w: u16, c: u16) -> u64 {
    h as u64 * w as u64 * c as u64
}

/// Whether lengths agree and all coordinates of taps fit 31 bits.
fn extents(g: &Geometry, input: usize, output: usize) -> bool {
    let reach = |out: u16, stride: u16, kernel: u16, dilation: u16| {
        out as u64 * stride as u64 + kernel as u64 * dilation as u64
    };
    let limit = 1 << 30;
    volume(g.in_h, g.in_w, g.in_c) == input as u64
        && volume(g.out_h, g.out_w, g.out_c) == output as u64
        && reach(g.out_h, g.stride_h, g.kernel_h, g.dilation_h) < limit
        && reach(g.out_w, g.stride_w, g.kernel_w, g.dilation_w) < limit
}

fn at_level<'a>(
    requant: &'a [&'a [Requant]],
    out_zero: &[i8],
    pad: &[i8],
    level: usize,
    count: usize,
) -> Option<AtLevel<'a>> {
    let requant = *requant.get(level)?;
    let (zero, pad) = (*out_zero.get(level)?, *pad.get(level)?);
    (requant.len() == count).then_some(AtLevel { requant, pad, zero })
}

impl Geometry {
    /// Columns of a row of weights: `kernel_h * kernel_w * in_c`.
    pub const fn columns(&self) -> usize {
        self.kernel_h as usize * self.kernel_w as usize * self.in_c as usize
    }
    /// Output pixels.
    pub const fn out_pixels(&self) -> usize {
        self.out_h as usize * self.out_w as usize
    }
}

impl<'a> ConvNested<'a> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<AtLevel<'a>> {
        let g = &self.geometry;
        let ok = extents(g, input.len(), output.len())
            && level < self.stream.levels()
            && self.stream.rows() == g.out_c as usize
            && volume(g.kernel_h, g.kernel_w, g.in_c) <= u64::from(u16::MAX)
            && matches!(self.layout(), Some(layout) if layout.columns == self.stream.columns());
        if !ok {
            return None;
        }
        at_level(
            self.requant,
            self.out_zero,
            self.pad,
            level,
            g.out_c as usize,
        )
    }
}

impl<'a> ConvCompact<'a> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<AtLevel<'a>> {
        let g = &self.geometry;
        let ok = extents(g, input.len(), output.len())
            && level < self.stream.levels()
            && self.stream.rows() == g.out_c as usize
            && volume(g.kernel_h, g.kernel_w, g.in_c) <= u64::from(u16::MAX)
            && matches!(self.layout(), Some(layout) if layout.columns == self.stream.columns());
        if !ok {
            return None;
        }
        at_level(
            self.requant,
            self.out_zero,
            self.pad,
            level,
            g.out_c as usize,
        )
    }
}

impl<'a> ConvBlock<'a> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<AtLevel<'a>> {
        let g = &self.geometry;
        let ok = extents(g, input.len(), output.len())
            && level < self.stream.levels()
            && self.stream.rows() == g.out_c as usize
            && g.in_c % 4 == 0
            && volume(g.kernel_h, g.kernel_w, g.in_c) == self.stream.columns() as u64;
        if !ok {
            return None;
        }
        at_level(
            self.requant,
            self.out_zero,
            self.pad,
            level,
            g.out_c as usize,
        )
    }
}

impl<'a> ConvDense<'a> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<AtLevel<'a>> {
        let g = &self.geometry;
        let ok = extents(g, input.len(), output.len())
            && self.weights.rows() == g.out_c as usize
            && volume(g.kernel_h, g.kernel_w, g.in_c) == self.weights.columns() as u64;
        if !ok {
            return None;
        }
        at_level(
            self.requant,
            self.out_zero,
            self.pad,
            level,
            g.out_c as usize,
        )
    }
}

impl<'a> ConvGeneric<'a> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<AtLevel<'a>> {
        let g = &self.geometry;
        let groups = self.groups;
        let ok = extents(g, input.len(), output.len())
            && groups > 0
            && g.in_c % groups == 0
            && g.out_c % groups == 0
            && volume(g.kernel_h, g.kernel_w, g.in_c / groups) * g.out_c as u64
                == self.weights.len() as u64;
        if !ok {
            return None;
        }
        at_level(
            self.requant,
            self.out_zero,
            self.pad,
            level,
            g.out_c as usize,
        )
    }
}

impl<'a> Depthwise<'a> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<AtLevel<'a>> {
        let g = &self.geometry;
        let ok = extents(g, input.len(), output.len())
            && g.in_c > 0
            && g.out_c % g.in_c == 0
            && volume(g.kernel_h, g.kernel_w, g.out_c) == self.weights.len() as u64;
        if !ok {
            return None;
        }
        at_level(
            self.requant,
            self.out_zero,
            self.pad,
            level,
            g.out_c as usize,
        )
    }
}

impl<'a> DenseNested<'a> {
    pub(crate) fn check(
        &self,
        level: usize,
        input: &[i8],
        output: &[i8],
    ) -> Option<(&'a [Requant], i8)> {
        let requant = *self.requant.get(level)?;
        let zero = *self.out_zero.get(level)?;
        let rows = self.stream.rows();
        let ok = level < self.stream.levels()
            && input.len() == self.stream.columns()
            && output.len() == rows
            && requant.len() == rows;
        ok.then_some((requant, zero))
    }
}

impl<'a> FullyConnected<'a> {
    pub(crate) fn check(
        &self,
        level: usize,
        input: &[i8],
        output: &[i8],
    ) -> Option<(&'a [Requant], i8)> {
        let requant = *self.requant.get(level)?;
        let zero = *self.out_zero.get(level)?;
        let ok = input.len() == self.columns as usize
            && requant.len() == output.len()
            && output.len() as u64 * self.columns as u64 == self.weights.len() as u64;
        ok.then_some((requant, zero))
    }
}

impl MaxPool {
    pub(crate) fn check(&self, input: &[i8], output: &[i8]) -> Option<()> {
        let g = &self.geometry;
        (extents(g, input.len(), output.len()) && g.in_c == g.out_c).then_some(())
    }
}

impl<'a> AvgPool<'a> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<AtLevel<'a>> {
        let g = &self.geometry;
        if !extents(g, input.len(), output.len()) || g.in_c != g.out_c {
            return None;
        }
        let taps = g.kernel_h as usize * g.kernel_w as usize;
        at_level(self.requant, self.out_zero, self.pad, level, taps)
    }
}

impl GlobalAvgPool<'_> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<(Requant, i8)> {
        let ok = output.len() == self.channels as usize
            && self.pixels as u64 * self.channels as u64 == input.len() as u64;
        if !ok {
            return None;
        }
        Some((*self.requant.get(level)?, *self.out_zero.get(level)?))
    }
}

impl Pad<'_> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<i8> {
        let volumes = volume(self.input[0], self.input[1], self.input[2]) == input.len() as u64
            && volume(self.output[0], self.output[1], self.output[2]) == output.len() as u64;
        let inside = (0..3).all(|axis| {
            self.before[axis] as u32 + self.input[axis] as u32 <= self.output[axis] as u32
        });
        if !(volumes && inside) {
            return None;
        }
        self.value.get(level).copied()
    }
}

impl Softmax<'_> {
    pub(crate) fn check(&self, level: usize, input: &[i8], output: &[i8]) -> Option<&[u32; 256]> {
        let channels = usize::from(self.channels);
        let ok = channels > 0 && input.len() % channels == 0 && input.len() == output.len();
        self.table.get(level).filter(|_| ok)
    }
}

impl Nest<'_> {
    /// The last elements that the loops reach in the input and in the output.
    fn last(&self) -> Option<[u32; 2]> {
        let (mut from, mut to) = (self.from, self.to);
        for &[count, from_step, to_step] in self.loops {
            let steps = count.checked_sub(1)?;
            from = from.checked_add(steps.checked_mul(from_step)?)?;
            to = to.checked_add(steps.checked_mul(to_step)?)?;
        }
        (self.loops.len() <= Nest::DEPTH).then_some([from, to])
    }
}

impl<'a> Move<'a> {
    /// The level's table, if there are tables.
    pub(crate) fn check(
        &self,
        level: usize,
        input: &[i8],
        output: &[i8],
    ) -> Option<Option<&'a [i8; 256]>> {
        let ok = input.len() == self.input as usize
            && output.len() == self.output as usize
            && (self.nests.iter())
                .all(|n| matches!(n.last(), Some([i, o]) if i < self.input && o < self.output));
        if !ok {
            return None;
        }
        Some(match self.table {
            Some(tables) => Some(tables.get(level)?),
            None => None,
        })
    }
}

impl Binary<'_> {
    pub(crate) fn check(&self, a: usize, b: usize, output: usize) -> Option<()> {
        let of = |[h, w, c]: [u16; 3]| volume(h, w, c);
        let fits = |extent: [u16; 3]| {
            (0..3).all(|axis| extent[axis] == 1 || extent[axis] == self.output[axis])
        };
        let ok = of(self.a) == a as u64
            && of(self.b) == b as u64
            && of(self.output) == output as u64
            && fits(self.a)
            && fits(self.b);
        ok.then_some(())
    }
}

impl<'a> PRelu<'a> {
    pub(crate) fn check(
        &self,
        level: usize,
        input: usize,
        output: usize,
    ) -> Option<(i8, &'a [nest_format::AddParams])> {
        let params = *self.params.get(level)?;
        let zero = *self.zero.get(level)?;
        let ok = !params.is_empty() && input == output && input % params.len() == 0;
        ok.then_some((zero, params))
    }
}

impl Resize<'_> {
    pub(crate) fn check(&self, input: &[i8], output: &[i8]) -> Option<()> {
        let [h, w, c] = self.input;
        let sound = |taps: &[Tap], extent: u16| {
            (taps.iter())
                .all(|&[first, second, share]| first < extent && second < extent && share <= 256)
        };
        let outputs = self.rows.len() as u64 * self.columns.len() as u64 * u64::from(c);
        let ok = volume(h, w, c) == input.len() as u64
            && outputs == output.len() as u64
            && sound(self.rows, h)
            && sound(self.columns, w);
        ok.then_some(())
    }
}
