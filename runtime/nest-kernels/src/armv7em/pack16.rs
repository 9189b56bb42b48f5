//! Gathers the columns of output pixels as pairs of int16, for `conv_dense.s`.

use core::arch::global_asm;

use super::window::{Window, Windows};
use crate::dense_layout::{Gather, TILE, gather, line_bytes, line_start};
use crate::layer::Geometry;

global_asm!(include_str!("pack16.s"), options(raw));

unsafe extern "C" {
    fn nest_kernels_pack16(
        from: *const i8,
        words: usize,
        to: *mut u32,
        rows: usize,
        from_step: usize,
        to_step: usize,
    );
    fn nest_kernels_pack16_tiles(run: *const Run);
    fn nest_kernels_fill(to: *mut u32, words: usize, value: u32);
    fn nest_kernels_pack16_rgb(
        from: *const i8,
        line_step: usize,
        to: *mut u32,
        pixels: usize,
        pixel_step: usize,
        lane: usize,
        tile_step: usize,
    );
}

/// Arguments of `nest_kernels_pack16_tiles`.
#[repr(C)]
struct Run {
    from: *const i8,
    words: usize,
    to: *mut u32,
    rows: usize,
    from_step: usize,
    to_step: usize,
    pixel_step: usize,
    tiles: usize,
    tile_from: usize,
    tile_to: usize,
}

/// Words of a tile for 4 columns.
const BLOCK: usize = 2 * TILE;

/// Channels of padding at hand; a multiple of 4.
const PADDING: usize = 64;

#[repr(align(4))]
struct Padding([i8; PADDING]);

/// Packs pixels of one input map.
pub(super) struct Packer16<'a> {
    windows: Windows<'a>,
    input: *const i8,
    padding: Padding,
    /// Elements of a row of taps.
    row: usize,
    /// Elements from one row of taps to the next.
    row_step: usize,
    /// The output row of the pixel packed last.
    line: Line,
    /// Whether its lines were copied.
    copied: bool,
}

/// What all windows of an output row share.
#[derive(Clone, Copy)]
struct Line {
    /// The row's first pixel, and the one after its last.
    first: usize,
    end: usize,
    /// The output row.
    oy: usize,
    /// Rows of taps above the input, inside it and below it.
    above: usize,
    inside: usize,
    below: usize,
    /// First element of the input row under the first row of taps inside.
    start: usize,
}

impl Line {
    #[inline(never)]
    fn of(windows: Windows<'_>, oy: usize) -> Self {
        let g = windows.geometry;
        let kernel_h = g.kernel_h as usize;
        let window = windows.at(oy, 0);
        let above = (0..kernel_h)
            .take_while(|&ky| windows.above(window, ky))
            .count();
        let inside = (above..kernel_h)
            .take_while(|&ky| windows.row(window, ky).is_some())
            .count();
        let first = oy * g.out_w as usize;
        Self {
            first,
            end: first + g.out_w as usize,
            oy,
            above,
            inside,
            below: kernel_h - above - inside,
            start: windows.row(window, above).unwrap_or(0),
        }
    }
}

impl<'a> Packer16<'a> {
    /// `input` has the geometry's extent, which `check` has seen.
    pub fn new(geometry: &'a Geometry, input: *const i8, pad: i8) -> Self {
        let in_c = geometry.in_c as usize;
        let windows = Windows::new(geometry);
        Self {
            windows,
            input,
            padding: Padding([pad; PADDING]),
            row: in_c * geometry.kernel_w as usize,
            row_step: in_c * geometry.in_w as usize * geometry.dilation_h as usize,
            line: Line::of(windows, 0),
            copied: false,
        }
    }

    /// Whether pixels follow one another in the input as in the output, channel by channel.
    fn is_stream(&self) -> bool {
        let g = self.windows.geometry;
        (g.kernel_h, g.kernel_w, g.stride_h, g.stride_w) == (1, 1, 1, 1)
            && (g.pad_top, g.pad_left) == (0, 0)
            && (g.in_h, g.in_w) == (g.out_h, g.out_w)
    }

    /// Packs tiles of three output pixels each from `pixel` on: some of the `tiles` there are, at
    /// least one, and says how many. The first goes to `to`, the next `step` words after it; `bytes`
    /// is for gathering.
    ///
    /// # Safety
    /// `tiles > 0`; the output has all their pixels, and the input can be read; their words can be
    /// written from `to` on, and [`gather_words`] words from `bytes` on.
    ///
    /// [`gather_words`]: crate::dense_layout::gather_words
    #[inline(never)]
    pub unsafe fn tiles(
        &mut self,
        pixel: usize,
        tiles: usize,
        to: *mut u32,
        step: usize,
        bytes: *mut i8,
    ) -> usize {
        let g = self.windows.geometry;
        let form = gather(g);
        if form == Gather::Lines {
            // SAFETY: the contract's pixels, tiles and lines.
            unsafe { self.lines(pixel, pixel + tiles * TILE, to, step, bytes) };
            return tiles;
        }
        let in_c = g.in_c as usize;
        let stride = g.stride_w as usize;
        if form == Gather::None && self.row > 0 {
            let mut run = Run {
                from: self.input,
                words: self.row / 4,
                to,
                rows: 1,
                from_step: self.row_step,
                to_step: self.row / 4 * BLOCK * size_of::<u32>(),
                pixel_step: stride * in_c,
                tiles,
                tile_from: TILE * stride * in_c,
                tile_to: step * size_of::<u32>(),
            };
            if self.is_stream() {
                run.from = run.from.wrapping_add(pixel * in_c);
                // SAFETY: the input has the output's pixels, each of `in_c` channels.
                unsafe { nest_kernels_pack16_tiles(&run) };
                return tiles;
            }
            self.seek(pixel);
            let x = self.windows.x(pixel - self.line.first);
            run.tiles = self.whole_tiles(pixel, x).min(tiles);
            if run.tiles > 0 {
                let line = self.line;
                let row_words = self.row / 4 * BLOCK;
                let pad = u32::from(self.padding.0[0] as i16 as u16) * 0x1_0001;
                for tile in 0..run.tiles {
                    let to = to.wrapping_add(tile * step);
                    let below = to.wrapping_add((line.above + line.inside) * row_words);
                    // SAFETY: rows of taps of three pixels, within the tile's words.
                    unsafe {
                        nest_kernels_fill(to, line.above * row_words, pad);
                        nest_kernels_fill(below, line.below * row_words, pad);
                    }
                }
                if line.inside > 0 {
                    run.from = run.from.wrapping_add(line.start + x as usize * in_c);
                    run.to = to.wrapping_add(line.above * row_words);
                    run.rows = line.inside;
                    // SAFETY: the elements of a row of taps lie side by side in the input for each
                    // pixel of these tiles, in each of the rows; the tiles have room for them.
                    unsafe { nest_kernels_pack16_tiles(&run) };
                }
                return run.tiles;
            }
        }
        for lane in 0..TILE {
            // SAFETY: the first tile's pixels, words and bytes.
            unsafe { self.pixel(pixel + lane, to.wrapping_add(lane), bytes) };
        }
        1
    }

    /// Tiles from `pixel` of the present output row on, with its first tap in column `x`, whose windows
    /// lie inside the input from left to right.
    fn whole_tiles(&self, pixel: usize, x: i32) -> usize {
        let g = self.windows.geometry;
        let room = g.in_w as i32 - g.kernel_w as i32 - x;
        if x < 0 || room < 0 || g.dilation_w != 1 {
            return 0;
        }
        let fit = match g.stride_w {
            1 => room as usize + 1,
            stride => room as usize / stride.max(1) as usize + 1,
        };
        fit.min(self.line.end - pixel) / TILE
    }

    /// Packs the pixels `pixel..end`, the first into lane 0 of the tile at `to`, tiles being `step`
    /// words apart, by way of `lines`.
    ///
    /// # Safety
    /// The layer's form is [`Gather::Lines`]; the output has these pixels, and the input can be read;
    /// from `to` on lie as many tiles as they need, and from `lines` on three lines.
    #[inline(never)]
    unsafe fn lines(
        &mut self,
        mut pixel: usize,
        end: usize,
        mut to: *mut u32,
        step: usize,
        lines: *mut i8,
    ) {
        let g = self.windows.geometry;
        let line = line_bytes(g);
        let mut lane = 0;
        while pixel < end {
            if pixel < self.line.first || pixel >= self.line.end || !self.copied {
                self.seek(pixel);
                // SAFETY: three lines by contract.
                unsafe { self.copy_lines(lines, line) };
                self.copied = true;
            }
            let ox = pixel - self.line.first;
            let pixels = end.min(self.line.end) - pixel;
            let pixel_step = 3 * g.stride_w as usize;
            let from = lines.wrapping_add(line_start(g) + ox * pixel_step);
            // SAFETY: a line holds the pixels under the output row; tiles by contract.
            unsafe {
                let step = step * size_of::<u32>();
                let to = to.wrapping_add(lane);
                nest_kernels_pack16_rgb(from, line, to, pixels, pixel_step, lane, step);
            }
            lane += pixels;
            while lane >= TILE {
                lane -= TILE;
                to = to.wrapping_add(step);
            }
            pixel += pixels;
        }
    }

    /// Copies the rows of the input under the present output row, `step` bytes apart, padding
    /// included.
    ///
    /// # Safety
    /// Three lines can be written from `to` on.
    #[inline(never)]
    unsafe fn copy_lines(&self, to: *mut i8, step: usize) {
        let g = self.windows.geometry;
        let start = line_start(g);
        let left = 3 * g.pad_left as usize;
        let bytes = step - start;
        let inside = (3 * g.in_w as usize).min(bytes.saturating_sub(left));
        for ky in 0..3 {
            let to = to.wrapping_add(ky * step + start);
            let [pad, ..] = self.padding.0;
            // SAFETY: within the line.
            let fill = |from: usize, end: usize| unsafe {
                to.wrapping_add(from).write_bytes(pad as u8, end - from);
            };
            let row = self.windows.row(self.windows.at(self.line.oy, 0), ky);
            let Some(row) = row.filter(|_| left < bytes) else {
                fill(0, bytes);
                continue;
            };
            fill(0, left);
            let from = self.input.wrapping_add(row);
            // SAFETY: a row of the input, and what of the line follows its left padding.
            unsafe { from.copy_to_nonoverlapping(to.wrapping_add(left), inside) };
            fill(left + inside, bytes);
        }
    }

    /// Makes `line` that of a pixel.
    fn seek(&mut self, pixel: usize) {
        if pixel < self.line.first || pixel >= self.line.end {
            self.seek_row(pixel);
        }
    }

    #[inline(never)]
    fn seek_row(&mut self, pixel: usize) {
        let out_w = self.windows.geometry.out_w as usize;
        // Nearly always the next row: no division.
        let mut oy = self.line.oy;
        while pixel < oy * out_w {
            oy -= 1;
        }
        while pixel >= (oy + 1) * out_w {
            oy += 1;
        }
        self.line = Line::of(self.windows, oy);
        self.copied = false;
    }

    /// Packs an output pixel into every third word from `to` on; `bytes` is for gathering.
    ///
    /// # Safety
    /// The output has this pixel, and the input can be read. From `to` on, every third word for two
    /// for each block of 4 columns can be written; `bytes` as for [`Self::tiles`].
    #[inline(never)]
    pub unsafe fn pixel(&mut self, pixel: usize, to: *mut u32, bytes: *mut i8) {
        self.seek(pixel);
        let x = self.windows.x(pixel - self.line.first);
        if gather(self.windows.geometry) != Gather::None {
            let blocks = self.windows.geometry.columns().div_ceil(4);
            // SAFETY: the contract's bytes and words.
            unsafe {
                self.gather(x, bytes);
                nest_kernels_pack16(bytes, blocks, to, 1, 0, 0);
            }
            return;
        }
        let row_words = self.row / 4 * BLOCK;
        let line = self.line;
        let inside = to.wrapping_add(line.above * row_words);
        let below = inside.wrapping_add(line.inside * row_words);
        // SAFETY: the three parts of the contract's words; `line` has `inside` rows of taps in the
        // input.
        unsafe {
            self.fill(to, line.above * self.row);
            self.fill(below, line.below * self.row);
            self.rows(x, inside);
        }
    }

    /// Fills `columns` columns, a multiple of 4, with padding.
    ///
    /// # Safety
    /// The columns' words from `to` on can be written.
    unsafe fn fill(&self, to: *mut u32, columns: usize) {
        if columns > 0 {
            // SAFETY: the contract's words.
            unsafe { self.fill_some(to, columns) };
        }
    }

    /// [`Self::fill`], out of the way.
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    unsafe fn fill_some(&self, to: *mut u32, columns: usize) {
        for column in (0..columns).step_by(PADDING) {
            let words = PADDING.min(columns - column) / 4;
            let to = to.wrapping_add(column / 4 * BLOCK);
            // SAFETY: as many words of padding are at hand, and within the contract's words.
            unsafe { nest_kernels_pack16(self.padding.0.as_ptr(), words, to, 1, 0, 0) };
        }
    }

    /// Packs the rows of taps inside the input, with the first tap in column `x`.
    ///
    /// # Safety
    /// The rows' words from `to` on can be written.
    unsafe fn rows(&self, x: i32, to: *mut u32) {
        let g = self.windows.geometry;
        let line = self.line;
        if line.inside == 0 {
            return;
        }
        let in_c = g.in_c as usize;
        let to_step = self.row / 4 * BLOCK * size_of::<u32>();
        let input = self.input.wrapping_add(line.start);
        let kernel_w = g.kernel_w as usize;
        let mut kx = 0;
        while kx < kernel_w {
            let to = to.wrapping_add(kx * (in_c / 4 * BLOCK));
            let Some(at) = self.windows.column(Window { y: 0, x }, kx) else {
                for channel in (0..in_c).step_by(PADDING) {
                    let words = PADDING.min(in_c - channel) / 4;
                    let to = to.wrapping_add(channel / 4 * BLOCK);
                    let from = self.padding.0.as_ptr();
                    // SAFETY: the padding at hand again and again; `to` has room by contract.
                    unsafe { nest_kernels_pack16(from, words, to, line.inside, 0, to_step) };
                }
                kx += 1;
                continue;
            };
            // Neighbouring taps inside the input go together.
            let taps = match g.dilation_w {
                1 => (kernel_w - kx).min((g.in_w as i32 - x) as usize - kx),
                _ => 1,
            };
            let (from, words) = (input.wrapping_add(at), taps * in_c / 4);
            // SAFETY: as many elements lie side by side in the input, in each of the rows; `to` has
            // room by contract.
            unsafe { nest_kernels_pack16(from, words, to, line.inside, self.row_step, to_step) };
            kx += taps;
        }
    }

    /// Gathers the columns of a pixel whose first tap lies in column `x`.
    ///
    /// # Safety
    /// As many bytes as there are columns can be written from `to` on.
    #[inline(never)]
    unsafe fn gather(&self, x: i32, to: *mut i8) {
        let g = self.windows.geometry;
        let line = self.line;
        let in_c = g.in_c as usize;
        let whole = g.dilation_w == 1 && x >= 0 && x + g.kernel_w as i32 <= g.in_w as i32;
        let mut to = to;
        for ky in 0..g.kernel_h as usize {
            let inside = ky >= line.above && ky < line.above + line.inside;
            let start = line.start + ky.wrapping_sub(line.above).wrapping_mul(self.row_step);
            if inside && whole {
                let from = self.input.wrapping_add(start + x as usize * in_c);
                // SAFETY: a row of taps lies inside the input; `to` has room by contract.
                unsafe { from.copy_to_nonoverlapping(to, self.row) };
                to = to.wrapping_add(self.row);
                continue;
            }
            for kx in 0..g.kernel_w as usize {
                match self.windows.column(Window { y: 0, x }, kx) {
                    Some(at) if inside => {
                        let from = self.input.wrapping_add(start + at);
                        // SAFETY: a tap lies inside the input; `to` has room by contract.
                        unsafe { from.copy_to_nonoverlapping(to, in_c) };
                    }
                    // SAFETY: `to` has room by contract.
                    _ => unsafe { to.write_bytes(self.padding.0[0] as u8, in_c) },
                }
                to = to.wrapping_add(in_c);
            }
        }
    }
}
