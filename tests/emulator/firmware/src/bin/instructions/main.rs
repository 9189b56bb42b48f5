//! Runs random encodings of every instruction class on random registers and prints a hash of
//! what they leave behind, one line per class, for two emulators to be compared.
//!
//! Each encoding is written to RAM, followed by `bx lr`, and called with all of R0-R7, the flags
//! and S0-S31 set. R4 points into a buffer and R5 holds a small number, so that loads and stores
//! have somewhere to go; the buffer is hashed too.
#![no_std]
#![no_main]

mod patterns;

use core::arch::global_asm;
use core::ptr::{addr_of, addr_of_mut};

use emulator_firmware::Line;
use patterns::PATTERNS;

/// Encodings tried per pattern.
const ROUNDS: u32 = 200;

/// Registers before and after.
#[repr(C)]
struct State {
    r: [u32; 8],
    apsr: u32,
    fpscr: u32,
    s: [u32; 32],
}

global_asm!(
    r#"
    // run(state: *mut State, code: *const u16)
    .section .text.run, "ax"
    .global run
    .type run, %function
    .thumb_func
run:
    push {{r4-r11, lr}}
    vpush {{s16-s31}}
    mov r8, r0
    orr r12, r1, #1
    ldr r9, [r8, #36]
    vmsr fpscr, r9
    add r9, r8, #40
    vldmia r9, {{s0-s31}}
    ldr r9, [r8, #32]
    msr apsr_nzcvqg, r9
    ldm r8, {{r0-r7}}
    dsb
    isb
    blx r12
    stm r8, {{r0-r7}}
    mrs r9, apsr
    str r9, [r8, #32]
    vmrs r9, fpscr
    str r9, [r8, #36]
    add r9, r8, #40
    vstmia r9, {{s0-s31}}
    vpop {{s16-s31}}
    pop {{r4-r11, pc}}
"#
);

unsafe extern "C" {
    fn run(state: *mut State, code: *const u16);
}

const BUFFER: usize = 8192;
static mut MEMORY: [u32; BUFFER / 4] = [0; BUFFER / 4];
static mut CODE: [u16; 16] = [0; 16];

/// xorshift32.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// An operand: often one at the edge of some width.
    fn integer(&mut self) -> u32 {
        const EDGES: [u32; 16] = [
            0,
            1,
            2,
            31,
            32,
            33,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            0xffff,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x8000_8000,
        ];
        let value = self.next();
        match value >> 28 {
            0..=3 => EDGES[(self.next() >> 10 & 15) as usize],
            4 | 5 => value & 0xff,
            6 => 0u32.wrapping_sub(value & 0xffff),
            _ => self.next(),
        }
    }

    /// A single-precision operand: often a special value, else of moderate magnitude.
    fn float(&mut self) -> u32 {
        const SPECIAL: [u32; 16] = [
            0,
            0x8000_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_1234,
            0xffc0_0001,
            0x7f80_0001,
            0xffbf_ffff,
            1,
            0x807f_ffff,
            0x3f80_0000,
            0xbf00_0000,
            0x4f00_0000,
            0xcf00_0001,
            0x3fc0_0000,
            0x7f7f_ffff,
        ];
        let value = self.next();
        match value >> 29 {
            0 | 1 => SPECIAL[(self.next() >> 10 & 15) as usize],
            2 => value << 3,
            // Exponents from 2^-16 to 2^15, so that sums and products interact.
            _ => self.next() & 0x807f_ffff | (111 + (value & 31)) << 23,
        }
    }
}

/// Writes the halfwords of `pattern` with its free bits drawn; returns how many.
fn encode(pattern: &str, random: &mut Random, code: &mut [u16; 16]) -> usize {
    let (mut length, mut bits, mut value) = (0, 0, 0u16);
    for c in pattern.bytes() {
        let bit = match c {
            b' ' => continue,
            b'0' => 0,
            b'1' => 1,
            _ => (random.next() >> 16 & 1) as u16,
        };
        value = value << 1 | bit;
        bits += 1;
        if bits == 16 {
            code[length] = value;
            (length, bits, value) = (length + 1, 0, 0);
        }
    }
    assert!(bits == 0);
    code[length] = 0x4770; // bx lr
    length + 1
}

struct Hash(u32);

impl Hash {
    fn add(&mut self, value: u32) {
        // FNV-1a by words, with the high bits folded back.
        self.0 = (self.0 ^ value).wrapping_mul(0x0100_0193);
        self.0 ^= self.0 >> 15;
    }
}

#[unsafe(no_mangle)]
extern "C" fn main() {
    let mut random = Random(0x1234_5678);
    for &(name, pattern) in PATTERNS {
        let mut hash = Hash(0x811c_9dc5);
        // SAFETY: one thread of execution, and no reference outlives its block.
        for word in unsafe { &mut *addr_of_mut!(MEMORY) } {
            *word = random.integer();
        }
        for _ in 0..ROUNDS {
            // SAFETY: one thread of execution, and no reference outlives its statement.
            let (memory, code) = unsafe { (&mut *addr_of_mut!(MEMORY), &mut *addr_of_mut!(CODE)) };
            encode(pattern, &mut random, code);
            let mut state = State {
                r: core::array::from_fn(|_| random.integer()),
                apsr: random.next() & 0xf80f_0000,
                fpscr: random.next() & 0xf000_0000,
                s: core::array::from_fn(|_| random.float()),
            };
            state.r[4] = addr_of!(*memory) as u32 + 2048;
            state.r[5] = random.next() >> 24;
            // SAFETY: the patterns only name R0-R7 as results, and R4 as base of accesses that
            // reach at most 1 KB below and 5 KB above it, inside MEMORY.
            unsafe { run(&mut state, addr_of!(*code).cast()) };
            state.r.iter().for_each(|&r| hash.add(r));
            hash.add(state.apsr & 0xf80f_0000);
            hash.add(state.fpscr & 0xf000_0000);
            state.s.iter().for_each(|&s| hash.add(s));
        }
        // SAFETY: as above.
        let memory = unsafe { &*addr_of!(MEMORY) };
        memory.iter().for_each(|&word| hash.add(word));
        Line::new().text(name).hex(hash.0).write();
    }
}
