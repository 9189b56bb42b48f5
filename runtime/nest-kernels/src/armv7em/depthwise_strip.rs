//! Depthwise convolutions over strips: see `depthwise_strip.s`.

use core::arch::global_asm;

use crate::DepthwiseStrips;
use crate::check::{AtLevel, refuse};
use crate::layer::Depthwise;

global_asm!(include_str!("depthwise_strip.s"), options(raw));

/// Arguments of `nest_kernels_depthwise_pack`.
#[repr(C)]
struct Pack {
    from: *const i8,
    lower: isize,
    from_step: usize,
    to: *mut u32,
    to_channel: usize,
    to_step: usize,
    items: usize,
    runs: usize,
    from_run: usize,
    to_run: usize,
    padding: u32,
}

/// Arguments of the functions that compute rows.
#[repr(C)]
struct Rows {
    strips: *const u32,
    records: *const u32,
    records_end: *const u32,
    output: *mut i8,
    lower: usize,
    pixel: usize,
    last: usize,
    blocks: usize,
    plane: usize,
    zero: i32,
    to_second: isize,
    to_third: isize,
    to_first: isize,
}

type PackRows = unsafe extern "C" fn(*mut Pack);
type RunRows = unsafe extern "C" fn(*const Rows);

unsafe extern "C" {
    fn nest_kernels_depthwise_pack(pack: *mut Pack);
    fn nest_kernels_depthwise_pack_upper(pack: *mut Pack);
    fn nest_kernels_depthwise_pack_lower(pack: *mut Pack);
    fn nest_kernels_depthwise_3x3_s1_a(rows: *const Rows);
    fn nest_kernels_depthwise_3x3_s1_b(rows: *const Rows);
    fn nest_kernels_depthwise_3x3_s2_a(rows: *const Rows);
    fn nest_kernels_depthwise_3x3_s2_b(rows: *const Rows);
    fn nest_kernels_depthwise_3x3_s1_row_a(rows: *const Rows);
    fn nest_kernels_depthwise_3x3_s1_row_b(rows: *const Rows);
    fn nest_kernels_depthwise_3x3_s2_row_a(rows: *const Rows);
    fn nest_kernels_depthwise_3x3_s2_row_b(rows: *const Rows);
    fn nest_kernels_depthwise_5x5_s1(rows: *const Rows);
    fn nest_kernels_depthwise_5x5_s2_a(rows: *const Rows);
    fn nest_kernels_depthwise_5x5_s2_b(rows: *const Rows);
}

/// Bytes of a word.
const WORD: usize = size_of::<u32>();

/// Two rows, either of which may be missing.
#[derive(Clone, Copy)]
struct RowPair {
    upper: Option<*const i8>,
    lower: Option<*const i8>,
}

/// Items side by side: columns of pixels, or of weights.
#[derive(Clone, Copy)]
struct Items {
    count: usize,
    from_step: usize,
    to_step: usize,
}

/// A range of channels whose planes start at `first`, to be computed from `start` on.
#[derive(Clone, Copy)]
struct Chunk {
    first: usize,
    start: usize,
    end: usize,
}

impl Chunk {
    /// Packs the chunk's channels of `items` pixels (or taps) to planes `to_channel` bytes apart.
    ///
    /// # Safety
    /// Rows that are there hold `items` pixels, `from_step` bytes apart, of all the layer's channels;
    /// the words of all channels of the chunk can be written from `to` on.
    unsafe fn pack(
        self,
        rows: RowPair,
        padding: u32,
        mut items: Items,
        to: *mut u32,
        to_channel: usize,
    ) {
        let channels = self.end - self.first;
        // Bytes from a channel to the next.
        let mut apart = 1;
        let (from, lower, run): (_, _, PackRows) = match (rows.upper, rows.lower) {
            (Some(upper), Some(lower)) => (
                upper,
                (lower as isize).wrapping_sub(upper as isize),
                nest_kernels_depthwise_pack,
            ),
            (Some(upper), None) => (upper, 0, nest_kernels_depthwise_pack_upper),
            // The variant reads the row through its distance from the one that is not there.
            (None, Some(lower)) => (lower, 0, nest_kernels_depthwise_pack_lower),
            (None, None) => {
                // The padding is the upper row, again and again.
                items.from_step = 0;
                apart = 0;
                let padding = (&raw const padding).cast::<i8>();
                (padding, 0, nest_kernels_depthwise_pack_upper)
            }
        };
        let groups = Items {
            count: channels / 4,
            from_step: 4 * apart,
            to_step: 4 * to_channel,
        };
        // The longer loop inside.
        let (inner, outer) = if groups.count > items.count {
            (groups, items)
        } else {
            (items, groups)
        };
        let pack = |channel: usize, inner: Items, outer: Items| {
            let mut pack = Pack {
                from: from.wrapping_add((self.first + channel) * apart),
                lower,
                from_step: inner.from_step,
                to: to.wrapping_byte_add(channel * to_channel),
                to_channel,
                to_step: inner.to_step,
                items: inner.count,
                runs: outer.count,
                from_run: outer.from_step,
                to_run: outer.to_step,
                padding,
            };
            // SAFETY: groups of 4 channels inside the chunk, by contract of all items; counts are
            // above 0.
            unsafe { run(&mut pack) };
        };
        if items.count == 0 || groups.count == 0 {
            return;
        }
        pack(0, inner, outer);
        if channels % 4 != 0 {
            // The rest: a last group that overlaps the one before it.
            pack(channels - 4, items, Items { count: 1, ..groups });
        }
    }
}

/// What all steps of a layer share.
struct Strips<'a> {
    layer: &'a Depthwise<'a>,
    layout: DepthwiseStrips,
    at: AtLevel<'a>,
    input: *const i8,
    output: *mut i8,
    planes: *mut u32,
    records: *mut u32,
    /// 4 bytes of padding.
    padding: u32,
}

/// Runs a layer over strips; `output` may be `input` if [`DepthwiseStrips::in_place`] says so.
///
/// # Safety
/// `input` and `output` hold what the geometry says; `check` has seen the layer.
pub(super) unsafe fn run(
    layer: &Depthwise<'_>,
    layout: DepthwiseStrips,
    at: AtLevel<'_>,
    input: *const i8,
    output: *mut i8,
    scratch: &mut [u32],
) {
    let Some(scratch) = scratch.get_mut(..layout.words) else {
        return refuse();
    };
    let planes = scratch.as_mut_ptr();
    let strips = Strips {
        layer,
        layout,
        at,
        input,
        output,
        planes,
        records: planes.wrapping_add(layout.channels * layout.plane),
        padding: u32::from_ne_bytes([at.pad as u8; 4]),
    };
    let channels = layer.geometry.in_c as usize;
    // SAFETY: by contract.
    unsafe { strips.margins() };
    let mut start = 0;
    while start < channels {
        let end = channels.min(start + layout.channels);
        let chunk = Chunk {
            first: start.min(end.saturating_sub(4)),
            start,
            end,
        };
        // SAFETY: by contract; the layout has room for the chunk's channels.
        unsafe { strips.chunk(chunk) };
        start = end;
    }
}

impl Strips<'_> {
    /// Columns of the input that strips hold: how many, behind how many of padding.
    fn inside(&self) -> (usize, usize) {
        let g = &self.layer.geometry;
        let left = self.layout.columns.min(g.pad_left as usize);
        (left, (self.layout.columns - left).min(g.in_w as usize))
    }

    /// Fills the columns of padding that outputs read, of all planes. Rows that pass later leave
    /// them alone.
    ///
    /// # Safety
    /// As for [`run`].
    unsafe fn margins(&self) {
        let g = &self.layer.geometry;
        let layout = &self.layout;
        let (left, inside) = self.inside();
        let end = (g.out_w as usize - 1) * layout.stride + g.kernel_w as usize;
        let pad = i32::from(self.at.pad);
        let word = (pad << 16 | pad & 0xffff) as u32;
        for column in (0..left).chain(left + inside..end) {
            let mut to = self.planes.wrapping_add(column * layout.strips);
            for _ in 0..layout.channels {
                for strip in 0..layout.strips {
                    // SAFETY: a word of a column of a plane.
                    unsafe { to.wrapping_add(strip).write(word) };
                }
                to = to.wrapping_add(layout.plane);
            }
        }
    }

    /// All rows of a chunk of channels.
    ///
    /// # Safety
    /// As for [`run`].
    unsafe fn chunk(&self, chunk: Chunk) {
        let g = &self.layer.geometry;
        let layout = &self.layout;
        // SAFETY: by contract.
        unsafe { self.expand(chunk) };
        let out_h = g.out_h as usize;
        let out_row = g.out_w as usize * g.out_c as usize;
        let pixel = g.out_c as usize;
        // Strips that a step needs which the one before it does not, and those they share.
        let (fresh, shared) = (layout.stride, g.kernel_h as usize / 2);
        for index in 0..shared {
            // SAFETY: by contract.
            unsafe { self.strip(chunk, index) };
        }
        let skip = chunk.start - chunk.first;
        let mut step = 0;
        let mut oy = 0;
        while oy < out_h {
            // The lower of two rows alone needs the last strip at stride 2.
            let two = out_h - oy > 1;
            let needed = if two { fresh } else { 1 };
            for index in 0..needed {
                // SAFETY: by contract.
                unsafe { self.strip(chunk, step * fresh + shared + index) };
            }
            // The word of a step's strip in a column.
            let word = |strip: usize| (step * fresh + strip) & (layout.strips - 1);
            let apart = |from, to| (word(to) as isize - word(from) as isize) * WORD as isize;
            let record = layout.record;
            // Where the step's first strip lies is either in the code or in the pointer.
            let even = step % 2 == 0;
            let (run, first): (RunRows, _) = match (g.kernel_h, layout.stride) {
                (3, 1) if two && even => (nest_kernels_depthwise_3x3_s1_a, 0),
                (3, 1) if two => (nest_kernels_depthwise_3x3_s1_b, 0),
                (3, 1) if even => (nest_kernels_depthwise_3x3_s1_row_a, 0),
                (3, 1) => (nest_kernels_depthwise_3x3_s1_row_b, 0),
                (3, _) if two && even => (nest_kernels_depthwise_3x3_s2_a, 0),
                (3, _) if two => (nest_kernels_depthwise_3x3_s2_b, 0),
                (3, _) if even => (nest_kernels_depthwise_3x3_s2_row_a, 0),
                (3, _) => (nest_kernels_depthwise_3x3_s2_row_b, 0),
                (_, 1) => (nest_kernels_depthwise_5x5_s1, word(0)),
                (_, _) if even => (nest_kernels_depthwise_5x5_s2_a, 0),
                (_, _) => (nest_kernels_depthwise_5x5_s2_b, 0),
            };
            let args = Rows {
                strips: self.planes.wrapping_add(skip * layout.plane + first),
                records: self.records.wrapping_add(skip * record),
                records_end: self
                    .records
                    .wrapping_add((chunk.end - chunk.first) * record),
                output: self.output.wrapping_add(oy * out_row + chunk.start),
                lower: if two { out_row } else { 0 },
                pixel,
                last: if g.out_w % 2 == 0 { pixel } else { 0 },
                blocks: (g.out_w as usize).div_ceil(2),
                plane: layout.plane * WORD,
                zero: self.at.zero.into(),
                to_second: apart(0, 1),
                to_third: apart(1, 2),
                to_first: (layout.plane * WORD) as isize + apart(2, 0),
            };
            // SAFETY: strips and records of the chunk's channels are there, with room behind them;
            // the output rows and pixels that `blocks`, `lower` and `last` tell lie in the output.
            unsafe { run(&args) };
            step += 1;
            oy += 2;
        }
    }

    /// Expands the chunk's weights and copies its constants.
    ///
    /// # Safety
    /// As for [`run`].
    unsafe fn expand(&self, chunk: Chunk) {
        let g = &self.layer.geometry;
        let pixel = g.out_c as usize;
        let row = g.kernel_w as usize * pixel;
        let weights = self.layer.weights.as_ptr();
        let record = self.layout.record;
        let columns = Items {
            count: g.kernel_w as usize,
            from_step: pixel,
            to_step: (g.kernel_h as usize - 1) * WORD,
        };
        for first in 0..g.kernel_h as usize - 1 {
            let upper = weights.wrapping_add(first * row);
            let rows = RowPair {
                upper: Some(upper),
                lower: Some(upper.wrapping_add(row)),
            };
            let to = self.records.wrapping_add(first);
            // SAFETY: two rows of weights of all channels; records of the chunk's channels.
            unsafe { chunk.pack(rows, 0, columns, to, record * WORD) };
        }
        let constants = self.at.requant.get(chunk.first..chunk.end).unwrap_or(&[]);
        for (i, requant) in constants.iter().enumerate() {
            let to = self.records.wrapping_add(i * record + record - 2);
            // SAFETY: the last two words of a record of the chunk.
            unsafe {
                to.write(requant.bias as u32);
                to.wrapping_add(1).write(requant.multiplier as u32);
            }
        }
    }

    /// Packs strip `index` of the chunk, which replaces the one `layout.strips` before it.
    ///
    /// # Safety
    /// As for [`run`].
    unsafe fn strip(&self, chunk: Chunk, index: usize) {
        let g = &self.layer.geometry;
        let layout = &self.layout;
        let pixel = g.in_c as usize;
        let row = |y: usize| {
            let y = y.checked_sub(g.pad_top as usize)?;
            let at = y * g.in_w as usize * pixel;
            (y < g.in_h as usize).then(|| self.input.wrapping_add(at))
        };
        let rows = RowPair {
            upper: row(2 * index),
            lower: row(2 * index + 1),
        };
        let (left, inside) = self.inside();
        let items = Items {
            count: inside,
            from_step: pixel,
            to_step: layout.strips * WORD,
        };
        let at = left * layout.strips + (index & (layout.strips - 1));
        let to = self.planes.wrapping_add(at);
        // SAFETY: rows of the input; columns that exist there and in the planes.
        unsafe { chunk.pack(rows, self.padding, items, to, layout.plane * WORD) };
    }
}
