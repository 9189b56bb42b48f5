//! Where windows lie in the input, in 32-bit arithmetic: `check` has seen that every coordinate fits.

use crate::layer::Geometry;

/// The input coordinates of an output pixel's first tap.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub y: i32,
    pub x: i32,
}

/// The windows of a layer.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    pub geometry: &'a Geometry,
    /// Elements of an input row.
    row_elements: usize,
}

impl<'a> Windows<'a> {
    pub fn new(geometry: &'a Geometry) -> Self {
        Self {
            geometry,
            row_elements: geometry.in_c as usize * geometry.in_w as usize,
        }
    }

    /// All windows in the order of the output's pixels.
    pub fn iter(self) -> impl Iterator<Item = Window> {
        let g = self.geometry;
        (0..g.out_h as usize)
            .flat_map(move |oy| (0..g.out_w as usize).map(move |ox| self.at(oy, ox)))
    }

    /// The window of an output pixel.
    pub fn at(self, oy: usize, ox: usize) -> Window {
        let g = self.geometry;
        Window {
            y: (oy * g.stride_h as usize) as i32 - g.pad_top as i32,
            x: self.x(ox),
        }
    }

    /// The first tap's input column for an output column.
    pub fn x(self, ox: usize) -> i32 {
        (ox * self.geometry.stride_w as usize) as i32 - self.geometry.pad_left as i32
    }

    /// Whether a row of taps lies above the input.
    pub fn above(self, window: Window, ky: usize) -> bool {
        window.y + ((ky * self.geometry.dilation_h as usize) as i32) < 0
    }

    /// First element of the input row under a row of taps; `None` in the padding.
    pub fn row(self, window: Window, ky: usize) -> Option<usize> {
        let g = self.geometry;
        let y = window.y + (ky * g.dilation_h as usize) as i32;
        // A negative row is a huge unsigned one.
        ((y as u32) < g.in_h as u32).then(|| y as usize * self.row_elements)
    }

    /// First element of the input pixel under a tap, relative to its row's; `None` in the padding.
    pub fn column(self, window: Window, kx: usize) -> Option<usize> {
        let g = self.geometry;
        let x = window.x + (kx * g.dilation_w as usize) as i32;
        ((x as u32) < g.in_w as u32).then(|| x as usize * g.in_c as usize)
    }

    /// First element of the input pixel under a tap; `None` in the padding.
    pub fn tap(self, window: Window, ky: usize, kx: usize) -> Option<usize> {
        Some(self.row(window, ky)? + self.column(window, kx)?)
    }
}

/// The pixels of a map one after the other, `channels` elements each. (Unlike `chunks_exact_mut` it
/// divides nothing, so that no panic for `channels == 0` remains in the code.)
pub(super) struct Pixels<'a> {
    rest: &'a mut [i8],
    channels: usize,
}

impl<'a> Pixels<'a> {
    pub fn of(map: &'a mut [i8], channels: usize) -> Self {
        Self {
            rest: map,
            channels,
        }
    }
}

impl<'a> Iterator for Pixels<'a> {
    type Item = &'a mut [i8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.channels == 0 {
            return None;
        }
        let rest = core::mem::take(&mut self.rest);
        let (pixel, rest) = rest.split_at_mut_checked(self.channels)?;
        self.rest = rest;
        Some(pixel)
    }
}
