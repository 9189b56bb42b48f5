@ Expansion of compact streams (see `CompactStream`) into words of nested ones.
@
@ void nest_kernels_expand_bN(const u8 *weights, const u8 *gaps, u32 *to, u32 *end, u32 base)
@
@ writes words `[delta0 * 4, weight0, delta1 * 4, weight1]` from `to` to `end` and at most 3 more, from
@ gaps of N bits: delta = base - gap in each byte lane, so that base is the largest gap (times 4, in
@ both lanes) on the way up and 0 on the way down. Takes 8 entries at a time: reads up to 7 bytes
@ behind the weights and 5 behind the gaps. to < end; any alignment of weights and gaps.

    .syntax unified
    .thumb

.macro NEST_EXPAND name, bits
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    push {r4-r11,lr}
    ldr r4, [sp,#36]
    mov r5, #0xff00ff00
    mov r6, #(((1 << \bits) - 1) * 4 * 0x10001)
    .p2align 3
1:  ldr r7, [r0], #4            @ weights 0, 2, 1, 3
    .if \bits == 5
    ldr r11, [r1,#2]
    .endif
    ldr r8, [r1], #\bits        @ gaps 0 to 3 and some more
    ldr r10, [r0], #4
    .if \bits == 5
    lsr r11, r11, #4
    .else
    lsr r11, r8, #(4*\bits)
    .endif
    pkhbt r9, r8, r8, lsl #(16-\bits)   @ gaps 0 and 2 in the low half, 1 and 3 in the high one
    and r12, r5, r7, lsl #8
    pkhbt r11, r11, r11, lsl #(16-\bits)
    and r7, r7, r5
    and lr, r6, r9, lsl #2
    and r9, r6, r9, lsr #(2*\bits-2)
    usub8 lr, r4, lr
    and r8, r6, r11, lsl #2
    usub8 r9, r4, r9
    orr r12, r12, lr
    usub8 r8, r4, r8
    orr r7, r7, r9
    and r11, r6, r11, lsr #(2*\bits-2)
    and lr, r5, r10, lsl #8
    usub8 r11, r4, r11
    and r10, r10, r5
    strd r12, r7, [r2], #8
    orr lr, lr, r8
    orr r10, r10, r11
    strd lr, r10, [r2], #8
    cmp r2, r3
    blo 1b
    pop {r4-r11,pc}
    .size \name, . - \name
.endm

    NEST_EXPAND nest_kernels_expand_b3, 3
    NEST_EXPAND nest_kernels_expand_b4, 4
    NEST_EXPAND nest_kernels_expand_b5, 5
