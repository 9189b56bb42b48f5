//! Start-up code and console shared by the test firmware.
#![no_std]

use core::arch::{asm, global_asm};

// The vector table: any exception ends the run with exit code 1.
global_asm!(
    r#"
    .section .vectors, "a"
    .word _stack
    .word reset
    .rept 14
    .word unexpected
    .endr

    .section .text.reset, "ax"
    .global reset
    .type reset, %function
    .thumb_func
reset:
    // CPACR: full access to the floating-point unit.
    ldr r0, =0xe000ed88
    ldr r1, [r0]
    orr r1, r1, #0xf00000
    str r1, [r0]
    dsb
    isb
    bl main
    ldr r1, =0x20026
    movs r0, #0x18
    bkpt #0xab

    .type unexpected, %function
    .thumb_func
unexpected:
    ldr r1, =1f
    movs r0, #4
    bkpt #0xab
    movs r1, #0
    movs r0, #0x18
    bkpt #0xab
    b unexpected
1:  .asciz "unexpected exception\n"
    .p2align 2
"#
);

/// Writes a NUL-terminated text to the console.
pub fn write(text: &core::ffi::CStr) {
    // SAFETY: SYS_WRITE0 reads the text, which ends with NUL, and writes no memory.
    unsafe { asm!("bkpt #0xab", inout("r0") 4 => _, in("r1") text.as_ptr()) }
}

/// A line of text to be filled and written.
pub struct Line {
    bytes: [u8; 128],
    length: usize,
}

impl Line {
    /// An empty line.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            bytes: [0; 128],
            length: 0,
        }
    }

    /// Appends `text`, as far as there is room.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for &byte in text.as_bytes() {
            if self.length < 120 {
                self.bytes[self.length] = byte;
                self.length += 1;
            }
        }
        self
    }

    /// Appends `value` as eight hexadecimal digits after a space.
    pub fn hex(&mut self, value: u32) -> &mut Self {
        self.text(" ");
        for k in (0..8).rev() {
            let digit = (value >> (4 * k) & 15) as usize;
            self.text(&"0123456789abcdef"[digit..=digit]);
        }
        self
    }

    /// Writes the line to the console.
    pub fn write(&mut self) {
        self.bytes[self.length] = b'\n';
        self.bytes[self.length + 1] = 0;
        if let Ok(text) = core::ffi::CStr::from_bytes_until_nul(&self.bytes) {
            write(text);
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    write(c"panic\n");
    // SAFETY: SYS_EXIT does not return.
    unsafe { asm!("bkpt #0xab", in("r0") 0x18, in("r1") 0, options(noreturn)) }
}
