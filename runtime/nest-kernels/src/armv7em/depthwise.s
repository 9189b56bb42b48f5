@ Depthwise convolution of one output pixel, 4 channels at a time.
@
@ `args` (depthwise.rs, `Pixel`):
@    0 taps       pointers to channel 0 of the input pixel under each tap
@    4 taps_end   > taps
@    8 weights    [tap][channel], int8
@   12 channels   >= 4
@   16 requant    8 bytes a channel: bias, multiplier
@   20 output     channel 0 of the output pixel
@   24 zero       output zero point
@
@ A rest of fewer than 4 channels is served by a last group that overlaps the one before it. No
@ access leaves the channels.

    .syntax unified
    .thumb

    .set W_TAPS, 0
    .set W_TAPS_END, 4
    .set W_WEIGHTS, 8
    .set W_CHANNELS, 12
    .set W_REQUANT, 16
    .set W_OUTPUT, 20
    .set W_ZERO, 24
    .set W_SIZE, 28

@ Multiplies the 4 values in r8 by the 4 weights in r9, adding to r4-r7.
.macro NEST_DW_MAC
    sxtb16 r10, r8, ror #8
    sxtb16 r11, r9, ror #8
    sxtb16 r8, r8
    smlabb r5, r10, r11, r5
    sxtb16 r9, r9
    smlatt r7, r10, r11, r7
    smlabb r4, r8, r9, r4
    smlatt r6, r8, r9, r6
.endm

    .section .nest.itcm.nest_kernels_depthwise, "ax", %progbits
    .global nest_kernels_depthwise
    .type nest_kernels_depthwise, %function
    .thumb_func
    .p2align 4
nest_kernels_depthwise:
    push {r4-r11,lr}
    sub sp, #W_SIZE
    ldm r0, {r1-r7}
    stm sp, {r1-r7}
    movs r3, #0
1:  @ 4 channels from r3 on
    ldrd r1, lr, [sp,#W_WEIGHTS]
    ldrd r0, r2, [sp,#W_TAPS]
    movs r4, #0
    add r1, r3
    movs r5, #0
    movs r6, #0
    movs r7, #0
2:  ldr r12, [r0], #4
    ldr r9, [r1]
    add r1, lr
    ldr r8, [r12,r3]
    cmp r0, r2
    NEST_DW_MAC
    bne 2b
    ldrd r0, r2, [sp,#W_REQUANT]
    ldr r1, [sp,#W_ZERO]
    add r12, r0, r3, lsl #3
    add r2, r3
    ldm r12!, {r0,r8,r9,r10}
    add r4, r0
    add r5, r9
    smmlar r4, r4, r8, r1
    smmlar r5, r5, r10, r1
    ldm r12, {r0,r8,r9,r10}
    add r6, r0
    add r7, r9
    smmlar r6, r6, r8, r1
    ssat r4, #8, r4
    smmlar r7, r7, r10, r1
    ssat r5, #8, r5
    strb r4, [r2]
    adds r3, #4
    ssat r6, #8, r6
    strb r5, [r2,#1]
    ssat r7, #8, r7
    strb r6, [r2,#2]
    strb r7, [r2,#3]
    subs r0, lr, r3         @ channels left
    beq 3f
    cmp r0, #4
    bhs.w 1b
    sub r3, lr, #4
    b.w 1b
3:  add sp, #W_SIZE
    pop {r4-r11,pc}
    .size nest_kernels_depthwise, . - nest_kernels_depthwise
