//! Input and output of a convolution, which may share bytes.

use core::marker::PhantomData;

use crate::layer::Geometry;

/// Where a layer reads and where it writes. Both are borrowed for `'a`, as raw pointers, because the
/// output may lie over the input.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    pub input: *const i8,
    pub output: *mut i8,
    borrowed: PhantomData<&'a [i8]>,
}

impl<'a> Maps<'a> {
    /// Two maps.
    pub fn apart(input: &'a [i8], output: &'a mut [i8]) -> Self {
        Self {
            input: input.as_ptr(),
            output: output.as_mut_ptr(),
            borrowed: PhantomData,
        }
    }

    /// The output at the start of `data`, the input `input_at` elements from there on; `None` unless
    /// `data` holds just the two.
    pub fn in_place(g: &Geometry, data: &'a mut [i8], input_at: usize) -> Option<Self> {
        crate::overlap::parts(g, data, input_at)?;
        let output = data.as_mut_ptr();
        Some(Self {
            input: output.wrapping_add(input_at),
            output,
            borrowed: PhantomData,
        })
    }
}
