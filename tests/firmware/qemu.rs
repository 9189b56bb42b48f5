//! QEMU as a runner: the very bench image, driven through QEMU's gdb stub as a debug probe would drive
//! a board. (GDB manual, appendix E, "Remote Serial Protocol".)

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nestc::bench::{Compiled, Mark, Runner};
use nestc::diag::{DEVICE_STOPPED, Diagnostic};
use nestc::report::MeasuredBy;

/// Register number of the program counter.
const PC: &str = "f";
/// Bytes of one memory access: twice as many digits fit QEMU's packets of 4096.
const CHUNK: usize = 1024;

/// QEMU with an image, halted at reset or at a breakpoint.
pub struct Qemu {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    /// The breakpoint instruction the core stands at, which it must not run.
    at: Option<u32>,
}

impl Qemu {
    /// Starts the machine named as the image's board; `elf` is where its ELF file can be written.
    pub fn start(compiled: &Compiled, elf: &Path) -> Self {
        std::fs::write(elf, &compiled.elf).expect("written");
        let mut child = Command::new("qemu-system-arm")
            .args(["-M", &compiled.board.name, "-display", "none"])
            .args(["-monitor", "none", "-serial", "none", "-gdb", "stdio", "-S"])
            .arg("-kernel")
            .arg(elf)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-system-arm runs (Debian package qemu-system-arm)");
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let mut qemu = Self {
            child,
            to: to.expect("piped"),
            from: from.expect("piped"),
            at: None,
        };
        // QEMU numbers registers only for those who have read which there are.
        let registers = qemu.ask("qXfer:features:read:target.xml:0,ffb");
        assert!(registers.contains("arm"), "{registers}");
        // QEMU would take a breakpoint instruction for a fault; it stops before one it was told of.
        for segment in &compiled.image.segments {
            for (i, half) in segment.bytes.chunks_exact(2).enumerate() {
                if matches!(half, [1 | 2, 0xbe]) {
                    let address = segment.address + 2 * i as u32;
                    assert_eq!(qemu.ask(&format!("Z0,{address:x},2")), "OK");
                }
            }
        }
        qemu
    }

    /// Sends a packet and gives what comes back.
    fn ask(&mut self, packet: &str) -> String {
        let sum = packet.bytes().fold(0u8, u8::wrapping_add);
        write!(self.to, "${packet}#{sum:02x}").expect("QEMU listens");
        self.to.flush().expect("QEMU listens");
        let mut byte = || {
            let mut byte = [0];
            self.from.read_exact(&mut byte).expect("QEMU answers");
            byte[0]
        };
        while byte() != b'$' {}
        let mut answer = String::new();
        loop {
            match byte() {
                b'#' => break,
                other => answer.push(char::from(other)),
            }
        }
        let _checksum = [byte(), byte()];
        self.to.write_all(b"+").expect("QEMU listens");
        answer
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It is this process's own child; if it is gone already there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn refused(message: String) -> Diagnostic {
    Diagnostic::new(DEVICE_STOPPED, "QEMU", message, "see what QEMU says")
}

impl Runner for Qemu {
    fn measured_by(&self) -> MeasuredBy {
        MeasuredBy::Probe
    }

    fn emulator_model(&self) -> Option<String> {
        None
    }

    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic> {
        for (i, chunk) in buffer.chunks_mut(CHUNK).enumerate() {
            let from = address as usize + i * CHUNK;
            let answer = self.ask(&format!("m{from:x},{:x}", chunk.len()));
            if answer.len() != 2 * chunk.len() {
                return Err(refused(format!("{from:#x} cannot be read: {answer}")));
            }
            for (j, byte) in chunk.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&answer[2 * j..][..2], 16)
                    .map_err(|e| refused(e.to_string()))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Diagnostic> {
        for (i, chunk) in bytes.chunks(CHUNK).enumerate() {
            let to = address as usize + i * CHUNK;
            let digits: String = chunk.iter().map(|b| format!("{b:02x}")).collect();
            let answer = self.ask(&format!("M{to:x},{:x}:{digits}", chunk.len()));
            if answer != "OK" {
                return Err(refused(format!("{to:#x} cannot be written: {answer}")));
            }
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<u8, Diagnostic> {
        if let Some(at) = self.at {
            let digits: String = ((at + 2).to_le_bytes().iter())
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(self.ask(&format!("P{PC}={digits}")), "OK");
        }
        let stop = self.ask("c");
        if !stop.starts_with("T05") {
            return Err(refused(format!("stopped with {stop}")));
        }
        let digits = self.ask(&format!("p{PC}"));
        let word = u32::from_str_radix(&digits, 16).map_err(|e| refused(e.to_string()))?;
        let at = word.swap_bytes();
        self.at = Some(at);
        let mut half = [0; 2];
        self.read(at, &mut half)?;
        assert_eq!(half[1], 0xbe, "stopped at {at:#x}, which is no breakpoint");
        Ok(half[0])
    }

    fn take_marks(&mut self) -> Vec<Mark> {
        Vec::new()
    }
}
