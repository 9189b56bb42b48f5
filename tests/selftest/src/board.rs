//! Start-up and the semihosting console.

use core::arch::{asm, global_asm};
use core::fmt::{self, Write};

global_asm!(
    r#"
    .section .vectors, "a"
    .word _stack_top
    .word Reset
    .word Fault
    .word Fault
    .word Fault
    .word Fault
    .word Fault

    .section .text.start, "ax"
    .global Reset
    .type Reset, %function
    .thumb_func
Reset:
    ldr r0, =_bss_start
    ldr r1, =_bss_end
    movs r2, #0
1:  cmp r0, r1
    bhs 2f
    str r2, [r0], #4
    b 1b
2:  ldr r0, =_data_start
    ldr r1, =_data_end
    ldr r2, =_data_load
3:  cmp r0, r1
    bhs 4f
    ldr r3, [r2], #4
    str r3, [r0], #4
    b 3b
4:  ldr r0, =0xE000ED88     @ CPACR: the FPU for all
    ldr r1, [r0]
    orr r1, #0xF00000
    str r1, [r0]
    dsb
    isb
    bl selftest_main
    udf #0

    .global Fault
    .type Fault, %function
    .thumb_func
Fault:
    mov r0, sp
    bl selftest_fault
    udf #0
"#,
    options(raw)
);

const SYS_WRITE0: u32 = 0x04;
const SYS_EXIT: u32 = 0x18;
const APPLICATION_EXIT: u32 = 0x20026;
const RUN_TIME_ERROR: u32 = 0x20023;

/// One line of output: collected, then written at once.
pub struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - 2 - self.len;
        let text = &text.as_bytes()[..text.len().min(room)];
        self.bytes[self.len..][..text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }
}

/// Whether a text starts so.
pub fn starts_with(text: fmt::Arguments<'_>, start: &[u8]) -> bool {
    let mut line = Line {
        bytes: [0; 160],
        len: 0,
    };
    let _ = line.write_fmt(text);
    line.bytes[..line.len].starts_with(start)
}

/// Prints a line.
pub fn print(line: fmt::Arguments<'_>) {
    let mut out = Line {
        bytes: [0; 160],
        len: 0,
    };
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

#[unsafe(no_mangle)]
extern "C" fn selftest_fault(frame: *const u32) -> ! {
    // SAFETY: on exception entry the core has stored 8 words at the stack pointer; the fault address
    // and status registers can always be read.
    let (pc, status, address) = unsafe {
        (
            frame.add(6).read(),
            (0xE000_ED28 as *const u32).read_volatile(),
            (0xE000_ED38 as *const u32).read_volatile(),
        )
    };
    print(format_args!(
        "FAULT pc={pc:#010x} cfsr={status:#x} address={address:#010x}"
    ));
    exit(false)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    print(format_args!("PANIC {info}"));
    exit(false)
}
