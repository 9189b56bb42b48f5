//! Operators on single elements.

use core::arch::global_asm;

use nest_format::AddParams;

use crate::check::{checked, refuse};
use crate::layer::{Add, Clamp};

global_asm!(include_str!("elementwise.s"), options(raw));

/// Arguments of `nest_kernels_add`.
#[repr(C)]
struct AddPass {
    /// `factor_a` in the low half, `factor_b` in the high one.
    factors: u32,
    bias: i32,
    shift: u32,
    eights: usize,
}

unsafe extern "C" {
    fn nest_kernels_add(a: *const i8, b: *const i8, to: *mut i8, n: usize, pass: *const AddPass);
    fn nest_kernels_clamp(from: *const i8, to: *mut i8, n: usize, low: u32, high: u32);
    fn nest_kernels_max(to: *mut i8, from: *const i8, n: usize);
}

/// `to[i] = max(to[i], from[i])`, as far as the shorter slice goes.
pub(super) fn max_into(to: &mut [i8], from: &[i8]) {
    // SAFETY: both slices hold that many elements.
    unsafe { nest_kernels_max(to.as_mut_ptr(), from.as_ptr(), to.len().min(from.len())) };
}

/// A byte in all bytes of a word.
const fn splat(x: i8) -> u32 {
    u32::from_ne_bytes([x as u8; 4])
}

/// Arguments for `n` elements.
fn pass(params: &AddParams, n: usize) -> AddPass {
    let factors =
        u32::from(params.factor_a.unsigned_abs()) + u32::from(params.factor_b.unsigned_abs());
    let largest = 128 * u64::from(factors) + u64::from(params.bias.unsigned_abs());
    let narrow = largest >> params.shift.min(22) < 1 << 15;
    AddPass {
        eights: if narrow { n / 8 } else { 0 },
        factors: u32::from(params.factor_a as u16) | u32::from(params.factor_b as u16) << 16,
        bias: params.bias,
        shift: params.shift,
    }
}

/// `output[i]` from `a[i]` and `b[i]`.
pub fn add(layer: &Add<'_>, level: usize, a: &[i8], b: &[i8], output: &mut [i8]) {
    let params = checked!(layer.params.get(level));
    if a.len() != b.len() || a.len() != output.len() {
        return refuse();
    }
    // SAFETY: three slices of one length.
    unsafe {
        nest_kernels_add(
            a.as_ptr(),
            b.as_ptr(),
            output.as_mut_ptr(),
            a.len(),
            &pass(params, a.len()),
        );
    }
}

/// [`add`] with the result in place of `a`, which takes `factor_a`.
pub fn add_in_place(layer: &Add<'_>, level: usize, a_and_output: &mut [i8], b: &[i8]) {
    let params = checked!(layer.params.get(level));
    if a_and_output.len() != b.len() {
        return refuse();
    }
    let data = a_and_output.as_mut_ptr();
    // SAFETY: two slices of one length; the kernel reads each element of `a` before it writes there.
    unsafe { nest_kernels_add(data, b.as_ptr(), data, b.len(), &pass(params, b.len())) };
}

/// Clamps every element to the level's bounds; a lower bound above the upper one wins.
pub fn clamp(layer: &Clamp<'_>, level: usize, input: &[i8], output: &mut [i8]) {
    let &[low, high] = checked!(layer.bounds.get(level));
    if input.len() != output.len() {
        return refuse();
    }
    let (from, to) = (input.as_ptr(), output.as_mut_ptr());
    // SAFETY: two slices of one length.
    unsafe { nest_kernels_clamp(from, to, input.len(), splat(low), splat(high)) };
}

/// [`clamp`] in place.
pub fn clamp_in_place(layer: &Clamp<'_>, level: usize, data: &mut [i8]) {
    let &[low, high] = checked!(layer.bounds.get(level));
    let to = data.as_mut_ptr();
    // SAFETY: one slice; the kernel reads each element before it writes there.
    unsafe { nest_kernels_clamp(to, to, data.len(), splat(low), splat(high)) };
}
