//! Operations of the float graph beyond those of plain classifiers: elementwise functions of one
//! and two values, and everything that only moves elements.
//!
//! A few general forms serve many ONNX operators. What moves elements is kept under the most
//! specific form that fits, since that is what a device can do cheapest: a strided slice, a channel
//! shuffle or a concatenation of channels is a change of offsets there, a free rearrangement is not.

use super::float::Shape;

/// An axis of a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// Channel.
    C,
    /// Row.
    H,
    /// Column.
    W,
}

impl Axis {
    /// All, outermost first.
    pub const ALL: [Axis; 3] = [Axis::C, Axis::H, Axis::W];

    /// `c`, `h` or `w`.
    pub fn name(self) -> &'static str {
        match self {
            Axis::C => "c",
            Axis::H => "h",
            Axis::W => "w",
        }
    }
}

impl Shape {
    /// The extent along an axis.
    pub fn extent(self, axis: Axis) -> usize {
        match axis {
            Axis::C => self.c,
            Axis::H => self.h,
            Axis::W => self.w,
        }
    }
    /// The same shape with another extent along an axis.
    #[must_use]
    pub fn with_extent(mut self, axis: Axis, extent: usize) -> Self {
        match axis {
            Axis::C => self.c = extent,
            Axis::H => self.h = extent,
            Axis::W => self.w = extent,
        }
        self
    }
    /// Channels, rows and columns.
    pub fn extents(self) -> [usize; 3] {
        [self.c, self.h, self.w]
    }
    /// The shape of what two values give together where each axis has the same extent in both or
    /// extent 1 in one.
    pub fn broadcast(self, other: Shape) -> Option<Shape> {
        let one = |a: usize, b: usize| match (a, b) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        };
        Some(Shape::map(
            one(self.c, other.c)?,
            one(self.h, other.h)?,
            one(self.w, other.w)?,
        ))
    }
    /// The element of a value of this shape that element `[c, h, w]` of a broadcast result reads.
    pub fn broadcast_index(self, [c, h, w]: [usize; 3]) -> usize {
        let at = |i: usize, extent: usize| if extent == 1 { 0 } else { i };
        (at(c, self.c) * self.h + at(h, self.h)) * self.w + at(w, self.w)
    }
}

/// A function of each element alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `min(max(x, low), high)`; a bound may be infinite.
    Clip {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// `x` above zero, `alpha * x` below.
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `x` above zero, `alpha * (e^x - 1)` below.
    Elu {
        /// Minus the limit far below zero.
        alpha: f32,
    },
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at zero.
        beta: f32,
    },
    /// `x * min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `x / (1 + e^-x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// `e^x`.
    Exp,
    /// What int8 stands for in place of `x`: `scale * (q - zero_point)` with
    /// `q = clamp(round(x / scale) + zero_point, -128, 127)`, halves to even. Files that are
    /// quantised already say so behind every layer.
    Int8 {
        /// The step.
        scale: f32,
        /// The integer that stands for 0.
        zero_point: i8,
    },
}

impl Unary {
    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Clip { .. } => "clip",
            Unary::LeakyRelu { .. } => "leaky_relu",
            Unary::Elu { .. } => "elu",
            Unary::Sigmoid => "sigmoid",
            Unary::HardSigmoid { .. } => "hard_sigmoid",
            Unary::HardSwish => "hard_swish",
            Unary::Silu => "silu",
            Unary::Tanh => "tanh",
            Unary::Exp => "exp",
            Unary::Int8 { .. } => "int8",
        }
    }

    /// The function itself.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Unary::Clip { low, high } => x.max(f64::from(low)).min(f64::from(high)),
            Unary::LeakyRelu { alpha } if x < 0.0 => f64::from(alpha) * x,
            Unary::Elu { alpha } if x < 0.0 => f64::from(alpha) * x.exp_m1(),
            Unary::LeakyRelu { .. } | Unary::Elu { .. } => x,
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::HardSigmoid { alpha, beta } => {
                (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
            }
            Unary::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Unary::Silu => x / (1.0 + (-x).exp()),
            Unary::Tanh => x.tanh(),
            Unary::Exp => x.exp(),
            Unary::Int8 { scale, zero_point } => int8(x as f32, scale, zero_point).into(),
        }
    }
}

/// [`Unary::Int8`], in the arithmetic of ONNX's QuantizeLinear and DequantizeLinear.
pub fn int8(x: f32, scale: f32, zero_point: i8) -> f32 {
    let zero = f32::from(zero_point);
    let q = ((x / scale).round_ties_even() + zero).clamp(-128.0, 127.0);
    (q - zero) * scale
}

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// The smaller.
    Min,
    /// The larger.
    Max,
}

impl Binary {
    /// All of them.
    pub const ALL: [Binary; 6] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Min,
        Binary::Max,
    ];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Min => "min",
            Binary::Max => "max",
        }
    }

    /// The function itself.
    pub fn value(self, a: f64, b: f64) -> f64 {
        match self {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
            Binary::Min => a.min(b),
            Binary::Max => a.max(b),
        }
    }
}

/// A function of a value and a constant, broadcast against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct WithConstant {
    /// The function.
    pub op: Binary,
    /// Extents of the constant: each 1 or the value's.
    pub shape: Shape,
    /// The constant, channel-major.
    pub data: Vec<f32>,
    /// Whether the constant is the first operand.
    pub constant_first: bool,
}

/// A permutation of all elements that ONNX writes as reshape, transpose, reshape: the value's
/// elements in channel-major order are an array of extents `factors`, its axes are put in the order
/// `perm`, and the result is read as `shape`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rearrange {
    /// Extents whose product is the number of elements.
    pub factors: Vec<usize>,
    /// Which factor stands at each place of the result.
    pub perm: Vec<usize>,
    /// The extents of the result.
    pub shape: Shape,
}

impl Rearrange {
    /// For each element of the result in channel-major order, the element of the value.
    pub fn sources(&self) -> Vec<usize> {
        let mut strides = vec![1; self.factors.len()];
        for i in (1..self.factors.len()).rev() {
            strides[i - 1] = strides[i] * self.factors[i];
        }
        let mut all = vec![0];
        for &p in &self.perm {
            all = (all.iter())
                .flat_map(|&at| (0..self.factors[p]).map(move |i| (at, i)))
                .map(|(at, i)| at + i * strides[p])
                .collect();
        }
        all
    }
    /// Whether `perm` names every factor once.
    pub fn is_permutation(&self) -> bool {
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..self.factors.len())
    }
}

/// How output positions of a [`Resize`] become input positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// `(o + 0.5) / scale - 0.5`.
    HalfPixel,
    /// As `HalfPixel`, but 0 where the output has extent 1.
    PytorchHalfPixel,
    /// `o * (in - 1) / (out - 1)`.
    AlignCorners,
    /// `o / scale`.
    Asymmetric,
}

impl Coordinates {
    /// All of them, with ONNX's names.
    pub const ALL: [(Coordinates, &'static str); 4] = [
        (Coordinates::HalfPixel, "half_pixel"),
        (Coordinates::PytorchHalfPixel, "pytorch_half_pixel"),
        (Coordinates::AlignCorners, "align_corners"),
        (Coordinates::Asymmetric, "asymmetric"),
    ];

    /// ONNX's name.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(c, _)| *c == self).map_or("", |(_, name)| name)
    }
}

/// How a [`Resize`] reads between input positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest element, halves rounded down.
    RoundPreferFloor,
    /// The nearest element, halves rounded up.
    RoundPreferCeil,
    /// The element before.
    Floor,
    /// The element behind.
    Ceil,
    /// Weighted by distance.
    Linear,
}

impl Interpolation {
    /// All of them, with ONNX's names of the rounding (and `linear`).
    pub const ALL: [(Interpolation, &'static str); 5] = [
        (Interpolation::RoundPreferFloor, "round_prefer_floor"),
        (Interpolation::RoundPreferCeil, "round_prefer_ceil"),
        (Interpolation::Floor, "floor"),
        (Interpolation::Ceil, "ceil"),
        (Interpolation::Linear, "linear"),
    ];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(i, _)| *i == self).map_or("", |(_, name)| name)
    }
}

/// What one output row or column of a [`Resize`] reads: two input positions and the share of the
/// second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    /// First position.
    pub first: usize,
    /// Second position.
    pub second: usize,
    /// Share of the second, 0 to 1.
    pub share: f32,
}

/// Resampling of rows and columns. Pairs are `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    /// Output height and width.
    pub size: [usize; 2],
    /// Output over input extent as the file states it (positions depend on it).
    pub scale: [f32; 2],
    /// How positions are found.
    pub coordinates: Coordinates,
    /// How elements are read there.
    pub interpolation: Interpolation,
}

impl Resize {
    /// What each output position along `axis` (0 vertical, 1 horizontal) reads of `extent` input
    /// positions.
    pub fn taps(&self, axis: usize, extent: usize) -> Vec<Tap> {
        let (size, scale) = (self.size[axis], self.scale[axis]);
        let last = extent.saturating_sub(1);
        (0..size)
            .map(|o| {
                let position = self.position(o as f32, size, scale, extent);
                let nearest = |at: f32| {
                    let at = at.clamp(0.0, last as f32) as usize;
                    Tap {
                        first: at,
                        second: at,
                        share: 0.0,
                    }
                };
                match self.interpolation {
                    // Halves go down: just below a half and above it are apart by more than this.
                    Interpolation::RoundPreferFloor => nearest((position - 0.5).ceil()),
                    Interpolation::RoundPreferCeil => nearest((position + 0.5).floor()),
                    Interpolation::Floor => nearest(position.floor()),
                    Interpolation::Ceil => nearest(position.ceil()),
                    Interpolation::Linear => {
                        let position = position.clamp(0.0, last as f32);
                        let first = position as usize;
                        Tap {
                            first,
                            second: (first + 1).min(last),
                            share: position - first as f32,
                        }
                    }
                }
            })
            .collect()
    }

    fn position(&self, o: f32, size: usize, scale: f32, extent: usize) -> f32 {
        match self.coordinates {
            // Without scaling no rounding may creep in.
            _ if scale == 1.0 && size == extent => o,
            Coordinates::HalfPixel => (o + 0.5) / scale - 0.5,
            Coordinates::PytorchHalfPixel if size > 1 => (o + 0.5) / scale - 0.5,
            Coordinates::PytorchHalfPixel => 0.0,
            Coordinates::AlignCorners if size > 1 => {
                o * (extent as f32 - 1.0) / (size as f32 - 1.0)
            }
            Coordinates::AlignCorners => 0.0,
            Coordinates::Asymmetric => o / scale,
        }
    }
}

/// How the file that a graph came from lays out one of its outputs.
///
/// Values are channel-major in the graph; the file's own order is kept beside it, so that what is
/// written again looks as its users expect it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputLayout {
    /// Whether elements run pixel by pixel (`[h][w][c]`) instead of channel by channel.
    pub pixel_major: bool,
    /// Extents behind the batch, in that order.
    pub dims: Vec<usize>,
}

impl OutputLayout {
    /// Whether this is just how the graph itself has a value of this shape.
    pub fn is_plain(&self, shape: Shape) -> bool {
        let vector = shape.pixels() == 1 && self.dims == [shape.c];
        (!self.pixel_major || shape.pixels() == 1 || shape.c == 1)
            && (vector || self.dims == shape.extents())
    }
}
