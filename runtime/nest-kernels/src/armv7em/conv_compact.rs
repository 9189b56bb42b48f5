//! Convolution with compact sparse weights: rows are expanded into words of a nested stream, as many
//! as a buffer holds, and run as those do.

use core::arch::global_asm;

use nest_format::{CompactLevel, CompactStream};

use super::conv_nested::Packed;
use super::maps::Maps;
use crate::check::{checked, refuse};
use crate::layer::ConvCompact;

global_asm!(include_str!("conv_compact.s"), options(raw));

/// A function of `conv_compact.s`.
type Expand = unsafe extern "C" fn(
    weights: *const u8,
    gaps: *const u8,
    to: *mut u32,
    end: *mut u32,
    base: u32,
);

unsafe extern "C" {
    fn nest_kernels_expand_b3(
        w: *const u8,
        gaps: *const u8,
        to: *mut u32,
        end: *mut u32,
        base: u32,
    );
    fn nest_kernels_expand_b4(
        w: *const u8,
        gaps: *const u8,
        to: *mut u32,
        end: *mut u32,
        base: u32,
    );
    fn nest_kernels_expand_b5(
        w: *const u8,
        gaps: *const u8,
        to: *mut u32,
        end: *mut u32,
        base: u32,
    );
}

/// Convolution with compact sparse weights at a level; slices as in [`super::conv_nested`], `scratch`
/// holds [`crate::conv_compact_scratch_words`] words.
///
/// A layer that its tile cannot run, or whose buffer does not hold its longest row and 3 words more,
/// is refused like wrong lengths are.
pub fn conv_compact(
    layer: &ConvCompact<'_>,
    level: usize,
    input: &[i8],
    output: &mut [i8],
    scratch: &mut [u32],
) {
    let at = checked!(layer.check(level, input, output));
    let layout = checked!(layer.layout());
    let packed = Packed {
        geometry: &layer.geometry,
        layout,
        tile: layer.tile,
        pass_tiles: layer.pass_tiles.into(),
        at,
    };
    let stream = &layer.stream;
    let rows = stream.rows();
    // A row's words, and what the expansion writes behind them.
    let room = stream.most_words() + SPILL;
    let buffer_words = layer.buffer_words as usize;
    let (packing, buffer) =
        match scratch.split_at_mut_checked(layout.scratch_words(packed.pass_tiles)) {
            Some((packing, buffer)) if buffer.len() >= rows.div_ceil(2) + buffer_words => {
                (packing, buffer)
            }
            _ => return refuse(),
        };
    if buffer_words < room {
        return refuse();
    }
    let counts = buffer.as_mut_ptr().cast::<u16>();
    let words = buffer.as_mut_ptr().wrapping_add(rows.div_ceil(2));
    let last = words.wrapping_add(buffer_words - room);
    let mut whole = false;
    packed.passes(Maps::apart(input, output), packing, &mut |run, args| {
        (args.words, args.count_width) = (words, size_of::<u16>());
        (args.active, args.stored) = (counts.cast(), counts.cast());
        if whole {
            // SAFETY: as below; the first pass has expanded all rows, and nothing writes there.
            return unsafe { run(args) };
        }
        let (mut row, mut byte) = (0, 0);
        while row < rows {
            let (mut expanded, mut to) = (0, words);
            while row + expanded < rows && to <= last {
                // SAFETY: from `last` on, and so from `to` on, there is room for a row; `byte` is
                // the start of a row.
                let end = unsafe { expand_row(stream, &mut byte, level, to) };
                let count = (end as usize - to as usize) / size_of::<u32>();
                // SAFETY: there is a count for each row.
                unsafe { counts.wrapping_add(expanded).write(count as u16) };
                (to, expanded) = (end, expanded + 1);
            }
            args.rows = expanded;
            args.row = row;
            args.requant = at.requant.as_ptr().wrapping_add(row);
            // SAFETY: `check` saw as many rows in the stream and in `requant` as channels; the
            // stream's constructor, that its columns stay inside windows; tiles lie as many pixels
            // before the end of the output as the kernel writes.
            unsafe { run(args) };
            row += expanded;
            whole = expanded == rows;
        }
    });
}

/// Words that the expansion of a level may write behind its last.
const SPILL: usize = 3;

/// Expands the row that begins at byte `start`, which becomes the next row's, up to `level`. Returns
/// the end of its words.
///
/// # Safety
/// `start` is the first byte of a row of the stream; a row's words and 3 more fit behind `to`.
unsafe fn expand_row(
    stream: &CompactStream<'_>,
    start: &mut usize,
    level: usize,
    mut to: *mut u32,
) -> *mut u32 {
    let mut next = stream.body(*start);
    for (index, &bits) in stream.gap_bits().iter().enumerate() {
        let at = stream.level(*start, next, index);
        if index <= level && at.count > 0 {
            let end = to.wrapping_add(at.count.div_ceil(2));
            // SAFETY: a level of the row, whose words fit by contract.
            unsafe { expand_level(stream.bytes(), &at, bits, index % 2 == 0, to, end) };
            to = end;
        }
        next = at.end;
    }
    *start = next;
    to
}

/// Expands the entries of a level, of which there are some, to the words from `to` to `end`.
///
/// # Safety
/// The level lies in `bytes`, which end in [`CompactStream::TAIL`] bytes more; `end` is half as many
/// words after `to` as there are entries, rounded up, and 3 words behind it can be written.
unsafe fn expand_level(
    bytes: &[u8],
    at: &CompactLevel,
    bits: u8,
    ascends: bool,
    to: *mut u32,
    end: *mut u32,
) {
    let run: Expand = match bits {
        3 => nest_kernels_expand_b3,
        4 => nest_kernels_expand_b4,
        _ => nest_kernels_expand_b5,
    };
    let most = ((1u32 << bits) - 1) * 4;
    let base = if ascends { most | most << 16 } else { 0 };
    let byte = |at: usize| bytes.as_ptr().wrapping_add(at);
    // SAFETY: by contract; the last group of 8 entries may read up to 7 bytes behind the weights, of
    // which one at least is of gaps, and 5 behind the gaps.
    unsafe {
        run(byte(at.weights), byte(at.gaps), to, end, base);
        to.cast::<i8>().write(at.turn << 2);
        if at.count % 2 == 1 {
            let last = end.wrapping_sub(1);
            last.write(last.read() & 0xffff);
        }
    }
}
