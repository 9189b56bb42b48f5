//! Convolutions and fully connected layers as sums over taps.
//!
//! A fully connected layer is a `1 x 1` convolution of a `1 x 1` map. The gradient of the input is a
//! set of convolutions of the output's gradient, one for each phase of the stride: input pixels whose
//! position agrees modulo the stride are reached by the same taps.

use std::ops::Range;

use crate::ir::float::{FloatOp, Shape, Window};
use crate::train::simd::convolve::{
    self, Band, DenseWeights, Offsets, Row, Tap, TapLists, Windows, dense_gradient, dense_row,
    depthwise_gradient, depthwise_rows, list_gradient, list_row,
};
use crate::train::simd::winograd::{FREQUENCIES, Tiles};
use crate::train::simd::{Isa, Lanes, Map};

use super::plan::{Halo, ParamIx, SlotIx};
use super::winograd::{self, Spare, Weights};

/// Pixels whose contribution to the weight gradient is summed before the lanes are: enough to make
/// the sums over lanes cheap, few enough that their gradients stay in the second cache, fixed so that
/// every machine rounds alike.
const BAND_PIXELS: usize = 128;

/// A convolution or fully connected layer.
#[derive(Clone, Debug)]
pub struct Linear {
    /// What it reads.
    pub input: SlotIx,
    /// What it writes.
    pub output: SlotIx,
    /// `[out][in of the group][ky][kx]`.
    pub weight: ParamIx,
    /// One an output channel.
    pub bias: Option<ParamIx>,
    /// Whether the input's gradient is added to what stands there.
    pub accumulate: bool,
    groups: usize,
    group_in: usize,
    group_out: usize,
    window: Window,
    shape: Shape,
    out: Shape,
    phases: Vec<Phase>,
    /// Whether minimal filtering may do it; see [`winograd`].
    filtering: bool,
}

/// The input pixels `(y + i * stride, x + j * stride)`.
#[derive(Clone, Debug)]
struct Phase {
    y: usize,
    x: usize,
    rows: usize,
    cols: usize,
    /// Window taps `(ky, kx)` that reach them, and the output pixel relative to `(i, j)`.
    taps: Vec<([usize; 2], [isize; 2])>,
}

impl Phase {
    /// The least relative output position of the taps along `axis`.
    fn first(&self, axis: usize) -> isize {
        self.taps.iter().map(|t| t.1[axis]).min().unwrap_or(0)
    }
    /// The vector of the output's gradient that offset 0 means for the pixels of row `i`.
    fn start(&self, dy_map: &Map, i: usize) -> usize {
        let row = i as isize + self.first(0);
        (dy_map.origin as isize + row * dy_map.row as isize + self.first(1)) as usize
    }
    fn last(&self, axis: usize) -> isize {
        self.taps.iter().map(|t| t.1[axis]).max().unwrap_or(0)
    }
    /// Rows and columns of the window that its taps are without dilation.
    fn kernel(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.last(axis) - self.first(axis)) as usize + 1)
    }
}

impl Linear {
    /// The pass of a [`FloatOp::Conv`] or [`FloatOp::Dense`] node.
    pub fn new(
        op: &FloatOp,
        shape: Shape,
        out: Shape,
        input: SlotIx,
        output: SlotIx,
        weight: ParamIx,
        bias: Option<ParamIx>,
    ) -> Self {
        let (groups, group_in, window) = match op {
            FloatOp::Conv(conv) => (conv.groups, conv.group_channels, conv.window),
            _ => (1, shape.c, Window::UNIT),
        };
        Self {
            input,
            output,
            weight,
            bias,
            accumulate: false,
            groups,
            group_in,
            group_out: out.c / groups,
            window,
            shape,
            out,
            phases: phases(&window, shape),
            filtering: groups == 1
                && window.kernel == [3, 3]
                && window.stride == [1, 1]
                && window.dilation == [1, 1]
                && [shape.h, shape.w, out.h, out.w].iter().all(|n| n % 2 == 0)
                && shape.c.min(out.c) >= winograd::LEAST_CHANNELS,
        }
    }

    /// Taps of one output channel.
    pub fn row_len(&self) -> usize {
        self.group_in * self.window.taps()
    }

    /// The margin the input needs.
    pub fn input_halo(&self) -> Halo {
        let beyond = |axis: usize, extent: usize, out: usize| {
            ((out - 1) * self.window.stride[axis] + self.window.extent(axis))
                .saturating_sub(self.window.pads[axis] + extent)
        };
        [
            self.window.pads[0],
            self.window.pads[1],
            beyond(0, self.shape.h, self.out.h),
            beyond(1, self.shape.w, self.out.w),
        ]
    }

    /// The margin the output's gradient needs.
    pub fn gradient_halo(&self) -> Halo {
        let mut halo = [0; 4];
        for phase in &self.phases {
            for (axis, out, count) in [(0, self.out.h, phase.rows), (1, self.out.w, phase.cols)] {
                if phase.taps.is_empty() || count == 0 {
                    continue;
                }
                let before = (-phase.first(axis)).max(0) as usize;
                let after = (phase.last(axis) + count as isize - out as isize).max(0) as usize;
                halo[axis] = halo[axis].max(before);
                halo[axis + 2] = halo[axis + 2].max(after);
            }
        }
        halo
    }

    fn input_offset(&self, map: &Map, k: usize) -> u32 {
        let [kh, kw] = self.window.kernel;
        let (channel, ky, kx) = (k / (kh * kw), k / kw % kh, k % kw);
        let [dy, dx] = self.window.dilation;
        (channel * map.channel + ky * dy * map.row + kx * dx) as u32
    }

    /// The vector that offset 0 means at output pixel `(oy, 0)`, channel `channel`.
    fn input_base(&self, map: &Map, channel: usize, oy: usize) -> usize {
        map.origin + channel * map.channel + oy * self.window.stride[0] * map.row
            - self.window.pads[0] * map.row
            - self.window.pads[1]
    }

    /// The form this layer runs fastest in when the share `density` of its weights lives: its window
    /// slides if every channel has its own, and lists pay once they leave out enough, or where groups
    /// are too narrow for tiles. But for the rounding of minimal filtering the result does not depend on it.
    fn form(&self, density: f64) -> Form {
        let Window {
            kernel,
            stride,
            dilation,
            ..
        } = self.window;
        let slides = self.group_in == 1
            && self.group_out == 1
            && dilation == [1, 1]
            && convolve::Window::supports(kernel[1], stride[1]);
        if slides {
            Form::Windows
        } else if density < if self.filtering { 0.45 } else { 0.6 } || self.group_out < 3 {
            Form::Lists
        } else if self.filtering {
            Form::Filters
        } else {
            Form::Dense
        }
    }

    /// Arranges `weight` for the kernels. `mask` tells the weights that live (the others are zero);
    /// the gradient of dead weights may be left out.
    pub fn prepare(
        &self,
        isa: Isa,
        maps: &Maps,
        weight: &[f32],
        mask: Option<&[bool]>,
        prepared: &mut PreparedLinear,
    ) {
        let live = |i: usize| mask.is_none_or(|m| m[i]);
        let density = mask.map_or(1.0, |m| {
            m.iter().filter(|&&live| live).count() as f64 / m.len().max(1) as f64
        });
        prepared.form = self.form(density);
        let k = self.row_len();
        if prepared.form == Form::Filters {
            let (out, inputs) = (self.out.c, self.shape.c);
            let taps =
                |o: usize, i: usize| std::array::from_fn(|t| weight[(o * inputs + i) * 9 + t]);
            prepared.filters.prepare(isa, [out, inputs], taps);
            // The gradient of the input is the convolution with the windows turned round.
            let turned =
                |i: usize, o: usize| std::array::from_fn(|t| weight[(o * inputs + i) * 9 + 8 - t]);
            prepared.turned_filters.prepare(isa, [inputs, out], turned);
            return;
        }
        if prepared.form == Form::Windows {
            prepared.windows.clear();
            prepared.windows.extend_from_slice(weight);
        } else if prepared.form == Form::Lists {
            prepared.forward_lists.clear();
            prepared.places.clear();
            for o in 0..self.out.c {
                let group = o / self.group_out * self.group_in * maps.input.channel;
                let row = o * k;
                prepared
                    .places
                    .extend((row..row + k).filter(|&i| live(i)).map(|i| i as u32));
                prepared
                    .forward_lists
                    .push_output((0..k).filter(|&i| live(row + i)).map(|i| Tap {
                        offset: group as u32 + self.input_offset(&maps.input, i),
                        weight: weight[row + i],
                    }));
            }
        } else {
            prepared.offsets =
                Offsets::new((0..k).map(|i| self.input_offset(&maps.input, i)).collect());
            prepared.forward.resize_with(self.groups, Default::default);
            for (g, packed) in prepared.forward.iter_mut().enumerate() {
                let first = g * self.group_out * k;
                packed.pack(self.group_out, k, isa.tile_channels(), |o, i| {
                    weight[first + o * k + i]
                });
            }
        }
        prepared
            .phases
            .resize_with(self.phases.len(), Default::default);
        for (phase, to) in self.phases.iter().zip(&mut prepared.phases) {
            self.prepare_phase(isa, maps, weight, &live, prepared.form, phase, to);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn prepare_phase(
        &self,
        isa: Isa,
        maps: &Maps,
        weight: &[f32],
        live: &dyn Fn(usize) -> bool,
        form: Form,
        phase: &Phase,
        to: &mut PreparedPhase,
    ) {
        let [kh, kw] = self.window.kernel;
        let map = &maps.dy;
        let first = [phase.first(0), phase.first(1)];
        let taps = phase.taps.len();
        let offset = |tap: usize| {
            let at = phase.taps[tap].1;
            (at[0] - first[0]) as usize * map.row + (at[1] - first[1]) as usize
        };
        let place = |o: usize, i: usize, tap: usize| {
            let [ky, kx] = phase.taps[tap].0;
            ((o * self.group_in + i) * kh + ky) * kw + kx
        };
        if form == Form::Windows {
            to.windows.clear();
            for channel in 0..self.shape.c {
                (to.windows).extend((0..taps).map(|tap| weight[place(channel, 0, tap)]));
            }
        } else if form == Form::Lists {
            to.lists.clear();
            for channel in 0..self.shape.c {
                let (g, i) = (channel / self.group_in, channel % self.group_in);
                to.lists
                    .push_output((0..self.group_out * taps).filter_map(|k| {
                        let (o, tap) = (g * self.group_out + k / taps, k % taps);
                        let at = place(o, i, tap);
                        live(at).then(|| Tap {
                            offset: (o * map.channel + offset(tap)) as u32,
                            weight: weight[at],
                        })
                    }));
            }
        } else {
            to.offsets = Offsets::new(
                (0..self.group_out * taps)
                    .map(|k| (k / taps * map.channel + offset(k % taps)) as u32)
                    .collect(),
            );
            to.dense.resize_with(self.groups, Default::default);
            for (g, packed) in to.dense.iter_mut().enumerate() {
                packed.pack(
                    self.group_in,
                    self.group_out * taps,
                    isa.tile_channels(),
                    |i, k| weight[place(g * self.group_out + k / taps, i, k % taps)],
                );
            }
        }
    }

    /// Rows of the output.
    pub fn out_rows(&self) -> usize {
        self.out.h
    }

    /// How many output rows are best computed together.
    pub fn rows_at_once(&self, prepared: &PreparedLinear) -> usize {
        if prepared.form == Form::Filters {
            self.band_rows()
        } else {
            1
        }
    }

    /// The tiles of output rows or, where stride and window make them as many, of input rows.
    fn tiles(&self, [rows, cols]: [usize; 2], channels: usize, base: usize, map: &Map) -> Tiles {
        Tiles {
            rows: rows / 2,
            cols: cols / 2,
            channels,
            base,
            row: map.row,
            channel: map.channel,
        }
    }

    /// How many input rows, from the first, the output rows before `out_rows` read.
    pub fn input_rows_for(&self, out_rows: usize) -> usize {
        let Some(last) = out_rows.checked_sub(1) else {
            return 0;
        };
        (last * self.window.stride[0] + self.window.extent(0))
            .saturating_sub(self.window.pads[0])
            .min(self.shape.h)
    }

    /// Writes the output rows `rows`.
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        &self,
        isa: Isa,
        prepared: &PreparedLinear,
        bias: Option<&[f32]>,
        x_map: &Map,
        x: &[Lanes],
        out_map: &Map,
        rows: Range<usize>,
        out: &mut [Lanes],
        spare: &mut Spare,
    ) {
        if prepared.form == Form::Filters {
            let extent = [rows.len(), self.out.w];
            let base = self.input_base(x_map, 0, rows.start);
            let from = self.tiles(extent, self.shape.c, base, x_map);
            let base = out_map.span(0, rows.start).start;
            let to = self.tiles(extent, self.out.c, base, out_map);
            (prepared.filters).convolve(isa, &from, x, &to, bias, false, out, spare);
            return;
        }
        let row = |group: usize, oy: usize| Row {
            cols: self.out.w,
            x_base: self.input_base(x_map, group * self.group_in, oy),
            x_step: self.window.stride[1],
            out_base: out_map.span(group * self.group_out, oy).start,
            out_step: 1,
            out_channel: out_map.channel,
            accumulate: false,
        };
        if prepared.form == Form::Windows {
            if !rows.is_empty() {
                let windows = Windows {
                    window: sliding(self.window.kernel, x_map),
                    channels: self.out.c,
                    weights: &prepared.windows,
                    reversed: false,
                    rows: rows.len(),
                    x_row: self.window.stride[0] * x_map.row,
                    out_row: out_map.row,
                };
                depthwise_rows(isa, &windows, bias, x, out, &row(0, rows.start));
            }
            return;
        }
        for oy in rows {
            if prepared.form == Form::Lists {
                list_row(isa, &prepared.forward_lists, bias, x, out, &row(0, oy));
            } else {
                for (g, packed) in prepared.forward.iter().enumerate() {
                    let bias = bias.map(|b| &b[g * self.group_out..][..self.group_out]);
                    dense_row(isa, &prepared.offsets, packed, bias, x, out, &row(g, oy));
                }
            }
        }
    }

    /// Groups of input rows, one for each row index of the stride's phases.
    pub fn input_row_groups(&self) -> usize {
        self.shape.h.div_ceil(self.window.stride[0])
    }

    /// How many groups of input rows, from the first, have a gradient that depends on no output row
    /// from `out_rows` on.
    pub fn input_groups_for(&self, out_rows: usize) -> usize {
        if out_rows >= self.out.h {
            return self.input_row_groups();
        }
        let last = self.phases.iter().map(|p| p.last(0)).max().unwrap_or(0);
        let ready = (out_rows as isize - last).clamp(0, self.input_row_groups() as isize) as usize;
        if self.filtering { ready & !1 } else { ready }
    }

    /// The input rows before the group `group`.
    pub fn input_rows_before(&self, group: usize) -> usize {
        (group * self.window.stride[0]).min(self.shape.h)
    }

    /// Writes or adds to the gradient of the input rows of the groups `groups`.
    #[allow(clippy::too_many_arguments)]
    pub fn input_gradient(
        &self,
        isa: Isa,
        prepared: &PreparedLinear,
        dy_map: &Map,
        dy: &[Lanes],
        dx_map: &Map,
        groups: Range<usize>,
        dx: &mut [Lanes],
        spare: &mut Spare,
    ) {
        if groups.is_empty() {
            return;
        }
        if let (true, [phase]) = (prepared.form == Form::Filters, self.phases.as_slice()) {
            let extent = [groups.len(), self.shape.w];
            let base = phase.start(dy_map, groups.start);
            let from = self.tiles(extent, self.out.c, base, dy_map);
            let base = dx_map.span(0, groups.start).start;
            let to = self.tiles(extent, self.shape.c, base, dx_map);
            let filters = &prepared.turned_filters;
            filters.convolve(isa, &from, dy, &to, None, self.accumulate, dx, spare);
            return;
        }
        let [sy, sx] = self.window.stride;
        for i in groups {
            for (phase, weights) in self.phases.iter().zip(&prepared.phases) {
                if i >= phase.rows {
                    continue;
                }
                let y = phase.y + i * sy;
                if phase.taps.is_empty() {
                    if !self.accumulate {
                        for c in 0..self.shape.c {
                            for at in dx_map.span(c, y).skip(phase.x).step_by(sx) {
                                dx[at] = Lanes::ZERO;
                            }
                        }
                    }
                    continue;
                }
                let start = phase.start(dy_map, i);
                let row = |group: usize| Row {
                    cols: phase.cols,
                    x_base: start + group * self.group_out * dy_map.channel,
                    x_step: 1,
                    out_base: dx_map.span(group * self.group_in, y).start + phase.x,
                    out_step: sx,
                    out_channel: dx_map.channel,
                    accumulate: self.accumulate,
                };
                if prepared.form == Form::Windows {
                    let [kh, kw] = phase.kernel();
                    let windows = Windows {
                        window: sliding([kh, kw], dy_map),
                        channels: self.shape.c,
                        weights: &weights.windows,
                        reversed: true,
                        rows: 1,
                        x_row: dy_map.row,
                        out_row: dx_map.row,
                    };
                    depthwise_rows(isa, &windows, None, dy, dx, &row(0));
                } else if prepared.form == Form::Lists {
                    list_row(isa, &weights.lists, None, dy, dx, &row(0));
                } else {
                    for (g, packed) in weights.dense.iter().enumerate() {
                        dense_row(isa, &weights.offsets, packed, None, dy, dx, &row(g));
                    }
                }
            }
        }
    }

    /// Output rows whose contribution to the weight gradient is summed before the lanes are.
    pub fn band_rows(&self) -> usize {
        let rows = (BAND_PIXELS / self.out.w).max(1);
        if self.filtering {
            rows.next_multiple_of(2)
        } else {
            rows
        }
    }

    /// Sums of the weight gradient, where it is not summed in place, to be given to
    /// [`Linear::weight_gradient`] of every band and then to [`Linear::finish_weight_gradient`].
    pub fn start_weight_gradient(&self, prepared: &PreparedLinear, sums: &mut Vec<f32>) {
        sums.clear();
        if prepared.form == Form::Lists {
            sums.resize(prepared.forward_lists.len(), 0.0);
        } else if prepared.form == Form::Filters {
            sums.resize(FREQUENCIES * self.shape.c * self.out.c, 0.0);
        }
    }

    /// Adds the band of output rows `rows`, at most [`Linear::band_rows`], to the gradient of the
    /// weights.
    #[allow(clippy::too_many_arguments)]
    pub fn weight_gradient(
        &self,
        isa: Isa,
        prepared: &PreparedLinear,
        x_map: &Map,
        x: &[Lanes],
        dy_map: &Map,
        dy: &[Lanes],
        rows: Range<usize>,
        sums: &mut [f32],
        gradient: &mut [f32],
        spare: &mut Spare,
    ) {
        if prepared.form == Form::Filters {
            let extent = [rows.len(), self.out.w];
            let base = self.input_base(x_map, 0, rows.start);
            let from = self.tiles(extent, self.shape.c, base, x_map);
            let base = dy_map.span(0, rows.start).start;
            let to = self.tiles(extent, self.out.c, base, dy_map);
            winograd::add_gradient(isa, &from, x, &to, dy, sums, spare);
            return;
        }
        let band = |group: usize, channels: usize| Band {
            x_base: self.input_base(x_map, group * self.group_in, rows.start),
            x_step: self.window.stride[1],
            x_row: self.window.stride[0] * x_map.row,
            ..Band::of(
                dy_map,
                group * self.group_out,
                channels,
                rows.start,
                rows.len(),
            )
        };
        if prepared.form == Form::Windows {
            let band = band(0, self.out.c);
            let window = sliding(self.window.kernel, x_map);
            depthwise_gradient(isa, &window, x, dy, &band, gradient);
        } else if prepared.form == Form::Lists {
            let band = band(0, self.out.c);
            list_gradient(isa, &prepared.forward_lists, x, dy, &band, sums);
        } else {
            let k = self.row_len();
            for (g, gradient) in gradient.chunks_exact_mut(self.group_out * k).enumerate() {
                let band = band(g, self.group_out);
                dense_gradient(isa, &prepared.offsets, x, dy, &band, gradient);
            }
        }
    }

    /// Adds what the bands left in `sums`.
    pub fn finish_weight_gradient(
        &self,
        prepared: &PreparedLinear,
        sums: &[f32],
        gradient: &mut [f32],
    ) {
        if prepared.form == Form::Filters {
            winograd::finish_gradient(sums, gradient);
        }
        if prepared.form == Form::Lists {
            for (&place, sum) in prepared.places.iter().zip(sums) {
                gradient[place as usize] += sum;
            }
        }
    }
}

/// Adds the sums of each channel's gradient over pixels and images.
pub fn bias_gradient(dy_map: &Map, dy: &[Lanes], gradient: &mut [f32]) {
    for (c, gradient) in gradient.iter_mut().enumerate() {
        let mut sum = Lanes::ZERO;
        for y in 0..dy_map.h {
            for v in &dy[dy_map.span(c, y)] {
                for (sum, v) in sum.0.iter_mut().zip(v.0) {
                    *sum += v;
                }
            }
        }
        *gradient += crate::train::simd::lane_sum(&sum);
    }
}

/// The window of a depthwise kernel that slides over `map`.
fn sliding(kernel: [usize; 2], map: &Map) -> convolve::Window {
    convolve::Window {
        kernel,
        row: map.row,
        channel: map.channel,
    }
}

/// Where a layer's input and its output's gradient lie.
#[derive(Clone, Copy, Debug)]
pub struct Maps {
    /// Input elements.
    pub input: Map,
    /// Gradient of the output.
    pub dy: Map,
}

/// A layer's weights, arranged for the kernels.
#[derive(Clone, Debug, Default)]
pub struct PreparedLinear {
    form: Form,
    filters: Weights,
    turned_filters: Weights,
    offsets: Offsets,
    forward: Vec<DenseWeights>,
    forward_lists: TapLists,
    /// The weight each entry of `forward_lists` is.
    places: Vec<u32>,
    /// `[channel][ky][kx]`.
    windows: Vec<f32>,
    phases: Vec<PreparedPhase>,
}

/// Which kernels a layer runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Tiles of outputs that share their taps.
    #[default]
    Dense,
    /// Each output's own taps.
    Lists,
    /// A window a channel.
    Windows,
    /// Minimal filtering; see [`winograd`].
    Filters,
}

#[derive(Clone, Debug, Default)]
struct PreparedPhase {
    windows: Vec<f32>,
    offsets: Offsets,
    dense: Vec<DenseWeights>,
    lists: TapLists,
}

/// The phases of the input gradient.
fn phases(window: &Window, shape: Shape) -> Vec<Phase> {
    let [sy, sx] = window.stride;
    let mut all = Vec::with_capacity(sy * sx);
    // The output pixel relative to `i` that `tap` connects with input pixel `phase + i * stride`.
    let reach = |axis: usize, phase: usize, tap: usize| {
        let at = (phase + window.pads[axis]) as isize - (tap * window.dilation[axis]) as isize;
        let stride = window.stride[axis] as isize;
        (at.rem_euclid(stride) == 0).then(|| at.div_euclid(stride))
    };
    for y in 0..sy.min(shape.h) {
        for x in 0..sx.min(shape.w) {
            let mut taps = Vec::new();
            for ky in 0..window.kernel[0] {
                for kx in 0..window.kernel[1] {
                    if let (Some(ry), Some(rx)) = (reach(0, y, ky), reach(1, x, kx)) {
                        taps.push(([ky, kx], [ry, rx]));
                    }
                }
            }
            all.push(Phase {
                y,
                x,
                rows: (shape.h - y).div_ceil(sy),
                cols: (shape.w - x).div_ceil(sx),
                taps,
            });
        }
    }
    all
}
