//! Operators on single elements.

use core::arch::global_asm;

use nest_format::AddParams;

use crate::check::{checked, refuse};
use crate::layer::Add;

global_asm!(include_str!("elementwise.s"), options(raw));

/// Arguments of `nest_kernels_add`.
#[repr(C)]
struct AddPass {
    /// `factor_a` in the low half, `factor_b` in the high one.
    factors: u32,
    bias: i32,
    shift: u32,
}

unsafe extern "C" {
    fn nest_kernels_add(a: *const i8, b: *const i8, to: *mut i8, n: usize, pass: *const AddPass);
}

fn pass(params: &AddParams) -> AddPass {
    AddPass {
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
            &pass(params),
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
    unsafe { nest_kernels_add(data, b.as_ptr(), data, b.len(), &pass(params)) };
}
