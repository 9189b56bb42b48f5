//! The semihosting console.

use core::arch::asm;
use core::fmt::{self, Write};

const SYS_WRITE0: u32 = 0x04;
const SYS_EXIT: u32 = 0x18;
const APPLICATION_EXIT: u32 = 0x20026;
const RUN_TIME_ERROR: u32 = 0x20023;

/// One line of output: collected, then written at once.
struct Line {
    bytes: [u8; 120],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Room for the newline and the zero behind it.
        let room = self.bytes.len() - 2 - self.len;
        let text = &text.as_bytes()[..text.len().min(room)];
        self.bytes[self.len..][..text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }
}

/// Prints a line.
pub fn print(line: fmt::Arguments<'_>) {
    let mut out = Line {
        bytes: [0; 120],
        len: 0,
    };
    // Writing into a line does not fail; what is too long is cut off.
    let _ = out.write_fmt(line);
    out.bytes[out.len] = b'\n';
    // SAFETY: SYS_WRITE0 reads the zero-terminated text at r1 and nothing else.
    unsafe {
        asm!("bkpt #0xab", inout("r0") SYS_WRITE0 => _, in("r1") out.bytes.as_ptr());
    }
}

/// Ends the run.
pub fn exit(success: bool) -> ! {
    let reason = if success {
        APPLICATION_EXIT
    } else {
        RUN_TIME_ERROR
    };
    loop {
        // SAFETY: SYS_EXIT does not return to us.
        unsafe { asm!("bkpt #0xab", in("r0") SYS_EXIT, in("r1") reason) }
    }
}
