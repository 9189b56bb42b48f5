//! The loops that are measured. Each takes an address and how often to repeat its body.
//!
//! All keep to AAPCS. Bodies are unrolled 16 times where a loop's own branch would blur what is
//! measured; loads whose time matters are consumed at once.

use core::arch::global_asm;

/// A loop: where it reads, and its repetitions.
pub type Loop = unsafe extern "C" fn(*const u32, u32);

macro_rules! loops {
    ($($(#[$doc:meta])* $name:ident: $code:literal;)*) => {
        $(global_asm!(
            concat!(
                ".section .nest.itcm.", stringify!($name), ", \"ax\"\n",
                ".global ", stringify!($name), "\n",
                ".type ", stringify!($name), ", %function\n.thumb_func\n.p2align 3\n",
                stringify!($name), ":\n",
                "push {r4-r8, lr}\n",
                "movs r2, #0\n movs r3, #0\n movs r4, #0\n movs r5, #0\n movs r6, #0\n movs r7, #0\n",
                ".p2align 3\n",
                $code,
                "\npop {r4-r8, pc}\n",
            ),
            options(raw)
        );)*
        unsafe extern "C" {
            $($(#[$doc])* pub fn $name(base: *const u32, repetitions: u32);)*
        }
    };
}

loops! {
    /// Nothing: what the call and the clock take.
    empty: "";
    /// 16 pairs of SMLAL and a load with an immediate offset.
    pair_immediate: "1:\n .rept 16\n smlal r4, r5, r6, r7\n ldr.w r8, [r0, #4]\n .endr\n subs.w r1, r1, #1\n bne.w 1b";
    /// 16 pairs of SMLAL and a load with a register offset.
    pair_register: "1:\n .rept 16\n smlal r4, r5, r6, r7\n ldr.w r8, [r0, r2]\n .endr\n subs.w r1, r1, #1\n bne.w 1b";
    /// 16 loads, each of the next one's address. The word at `base` is `base`.
    chase: "1:\n .rept 16\n ldr.w r0, [r0]\n .endr\n subs.w r1, r1, #1\n bne.w 1b";
    /// 16 times a word load whose result is multiplied to give the next one's offset. The word at
    /// `base + 4` is zero.
    factor_word: "adds.w r0, r0, #4\n .p2align 3\n 1:\n .rept 16\n ldr.w r2, [r0, r2]\n mul r2, r2, r3\n .endr\n subs.w r1, r1, #1\n bne.w 1b";
    /// The same with a byte load.
    factor_narrow: "adds.w r0, r0, #4\n .p2align 3\n 1:\n .rept 16\n ldrb.w r2, [r0, r2]\n mul r2, r2, r3\n .endr\n subs.w r1, r1, #1\n bne.w 1b";
    /// `repetitions` short loops with the trip counts at `base`, whose branch follows its flags.
    exit_late_flags: "1:\n ldr.w r2, [r0], #4\n nop.w\n nop.w\n .p2align 3\n 2:\n add.w r3, r3, #1\n subs.w r2, r2, #1\n bne.w 2b\n subs.w r1, r1, #1\n bne.w 1b";
    /// The same with the flags set five cycles before the branch.
    exit_early_flags: "1:\n ldr.w r2, [r0], #4\n nop.w\n nop.w\n .p2align 3\n 2:\n subs.w r2, r2, #1\n .rept 5\n add.w r3, r3, #1\n .endr\n bne.w 2b\n subs.w r1, r1, #1\n bne.w 1b";
    /// Reads a word in each of `repetitions` lines of 32 bytes; every address depends on the word
    /// before it.
    lines: "1:\n ldr.w r2, [r0], #32\n and.w r2, r2, #0\n add.w r0, r0, r2\n subs.w r1, r1, #1\n bne.w 1b";
    /// Writes a word in each of `repetitions` lines.
    store_lines: "1:\n str.w r2, [r0], #32\n subs.w r1, r1, #1\n bne.w 1b";
    /// Writes a word in each of `repetitions` lines, which fill the cache, and reads as many that
    /// take their places.
    dirty_lines: "mov.w r4, r1\n 1:\n str.w r2, [r0], #32\n subs.w r4, r4, #1\n bne.w 1b\n .p2align 3\n 2:\n ldr.w r2, [r0], #32\n and.w r2, r2, #0\n add.w r0, r0, r2\n subs.w r1, r1, #1\n bne.w 2b";
}
