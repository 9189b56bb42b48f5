//! Straight-line snippets whose cycles on hardware are published, each unrolled 64 and 192 times
//! between symbols, so that a test can take the difference.
#![no_std]
#![no_main]

use core::arch::global_asm;

use emulator_firmware as _;

/// Defines a function per snippet, `NAME_64`..`NAME_64_end` and `NAME_192`..`NAME_192_end` in
/// it, and `main`, which calls them all. R9 and R10 point to words in even and odd banks.
macro_rules! snippets {
    ($($name:ident: $setup:literal, $body:literal;)*) => {
        $(global_asm!(
            concat!(
                ".section .text.", stringify!($name), ", \"ax\"\n",
                ".type ", stringify!($name), ", %function\n.thumb_func\n.p2align 3\n",
                stringify!($name), ":\n",
                "push {r4-r11, lr}\n",
                "movw r9, #0x1000\n movt r9, #0x2000\n add.w r10, r9, #4\n",
                "str r9, [r9]\n str r10, [r10]\n",
                "movs r0, #0\n movs r1, #0\n movs r2, #0\n movs r3, #0\n",
                "movs r4, #0\n movs r5, #0\n movs r6, #0\n movs r7, #0\n mov.w r8, #0\n",
                $setup, "\n.rept 64\nnop.w\n.endr\n.p2align 3\n",
                stringify!($name), "_64:\n.rept 64\n", $body, "\n.endr\n",
                stringify!($name), "_64_end:\n.rept 64\nnop.w\n.endr\n.p2align 3\n",
                stringify!($name), "_192:\n.rept 192\n", $body, "\n.endr\n",
                stringify!($name), "_192_end:\nnop.w\n",
                "pop {r4-r11, pc}\n",
                ".global ", stringify!($name), "\n",
            ),
            options(raw)
        );)*
        unsafe extern "C" {
            $(fn $name();)*
        }
        #[unsafe(no_mangle)]
        extern "C" fn main() {
            // SAFETY: the snippets keep the callee-saved registers and write only near 0x20001000.
            unsafe { $($name();)* }
        }
    };
}

snippets! {
    adds_independent: "", "add.w r1, r1, #1\n add.w r2, r2, #1\n add.w r3, r3, #1\n add.w r4, r4, #1\n add.w r5, r5, #1\n add.w r6, r6, #1\n add.w r7, r7, #1\n add.w r8, r8, #1";
    adds_dependent: "", "add.w r1, r1, #1\n add.w r1, r1, #1\n add.w r1, r1, #1\n add.w r1, r1, #1";
    movw_movt: "", "movw r1, #1\n movt r1, #2";
    mul_mul: "", "mul r1, r2, r3\n mul r4, r5, r6";
    smlal_chain: "", "smlal r1, r2, r3, r4\n smlal r1, r2, r3, r4\n smlal r1, r2, r3, r4\n smlal r1, r2, r3, r4";
    mla_chain: "", "mla r1, r3, r4, r1\n mla r1, r3, r4, r1\n mla r1, r3, r4, r1\n mla r1, r3, r4, r1";
    smlad_chain: "", "smlad r1, r3, r4, r1\n smlad r1, r3, r4, r1\n smlad r1, r3, r4, r1\n smlad r1, r3, r4, r1";
    mul_factor: "", "mul r1, r1, r3\n mul r1, r1, r3";
    smlal_add: "", "smlal r1, r2, r3, r4\n add.w r5, r6, #1";
    smlal_ldr: "", "smlal r1, r2, r3, r4\n ldr.w r5, [r9]";
    ldr_two_banks: "", "ldr.w r1, [r9]\n ldr.w r2, [r9, #4]";
    ldr_one_bank: "", "ldr.w r1, [r9]\n ldr.w r2, [r9, #8]";
    ldr_post_index: "", "ldr.w r1, [r9], #8\n ldr.w r2, [r9], #-8";
    ldr_chase: "", "ldr.w r9, [r9]";
    ldr_add: "", "ldr.w r1, [r9]\n add.w r2, r1, #1";
    ldr_unaligned: "", "ldr.w r1, [r9, #1]";
    uxtb_uxtb: "", "uxtb.w r1, r2\n uxtb.w r3, r4";
    uxtb_smlabb: "", "uxtb.w r1, r2\n smlabb r3, r4, r5, r3";
    shifted_shifted: "", "add.w r1, r2, r3, lsl #3\n add.w r4, r5, r6, lsl #3";
    rotated_rotated: "", "eor.w r1, r2, #0x1fc0\n eor.w r3, r4, #0x1fc0";
    pattern_pattern: "", "eor.w r1, r2, #0x1b1b1b1b\n eor.w r3, r4, #0x1b1b1b1b";
    shift_shift: "", "lsr.w r1, r2, #12\n lsr.w r3, r4, #12";
    ldrd: "", "ldrd r1, r2, [r9]";
    ldm_4: "", "ldm.w r9, {r1, r2, r3, r4}";
    ldm_8: "", "ldm.w r9, {r1, r2, r3, r4, r5, r6, r7, r8}";
    str_str: "", "str.w r1, [r9]\n str.w r2, [r9, #4]";
    ldr_str: "", "ldr.w r1, [r9]\n str.w r2, [r9, #12]";
    ldr_str_same: "", "ldr.w r1, [r9]\n str.w r1, [r10]";
    mul_str: "", "mul r1, r2, r3\n str.w r4, [r9]";
    strb_one_bank: "", "strb.w r1, [r9]";
    strb_two_banks: "", "strb.w r1, [r9]\n strb.w r2, [r9, #4]";
    strb_unit_stride: "mov.w r8, r9", "strb.w r1, [r8], #1";
    strh_unit_stride: "mov.w r8, r9", "strh.w r1, [r8], #2";
    stm_aligned: "", "stm.w r9, {r1, r2, r3, r4}";
    stm_misaligned: "", "stm.w r10, {r1, r2, r3, r4}";
    str_unaligned: "", "str.w r1, [r9, #9]";
    ldrsb_smlal: "", "ldrsb.w r1, [r9]\n smlal r2, r3, r4, r5";
    sxtb16_pair: "", "sxtb16 r1, r2\n sxtb16 r3, r2, ror #8";
    uxtab_chain_added: "", "uxtab r1, r1, r2";
    uxtab_chain_extracted: "", "uxtab r1, r2, r1";
    pkhbt_chain_shifted: "", "pkhbt r1, r2, r1, lsl #16";
    shifted_chain: "", "add.w r1, r2, r1, lsl #1";
    shift_chain: "", "lsr.w r1, r1, #1";
    eor_ubfx_chain: "", "eor.w r1, r1, r2\n ubfx r1, r1, #1, #8";
    uxtb_index_chain: "", "uxtb.w r1, r2\n ldr.w r3, [r9, r1]\n and.w r2, r3, #0";
    smlabb_shifted: "", "smlabb r1, r3, r4, r1\n add.w r5, r6, r7, lsl #3";
    mla_chain_of_factors: "", "mla r1, r1, r3, r4";
    smlal_str: "", "smlal r1, r2, r3, r4\n str.w r5, [r9]";
    ldrb_mla_addend: "", "ldrb.w r1, [r9]\n mla r1, r3, r4, r1";
    sdiv: "", "sdiv r1, r2, r3";
    branch_not_taken: "movs r0, #1", "beq.w 1f\n add.w r1, r1, #1\n .p2align 2\n 1:\n add.w r2, r2, #1\n add.w r3, r3, #1";
    mispredict_late_flags: "", "cmp.w r0, #0\n beq.w 1f\n nop.w\n nop.w\n 1:";
    mispredict_early_flags: "cmp.w r0, #0", "beq.w 1f\n nop.w\n 1:";
    vadd_independent: "", "vadd.f32 s0, s1, s2\n vadd.f32 s3, s4, s5";
    vadd_chain: "", "vadd.f32 s0, s0, s2";
    vmul_chain: "", "vmul.f32 s0, s0, s2";
    vfma_three_chains: "", "vfma.f32 s0, s3, s4\n vfma.f32 s1, s3, s4\n vfma.f32 s2, s3, s4";
    vfma_chain: "", "vfma.f32 s0, s3, s4";
    vfma_vldr: "", "vfma.f32 s0, s3, s4\n vldr s8, [r9]\n vfma.f32 s1, s3, s4\n vldr s9, [r9]\n vfma.f32 s2, s3, s4\n vldr s10, [r9]";
    vadd_vldr: "", "vldr s8, [r9]\n vadd.f32 s0, s1, s2";
    vdiv: "", "vdiv.f32 s0, s1, s2";
    vsqrt: "", "vsqrt.f32 s0, s1";
}
