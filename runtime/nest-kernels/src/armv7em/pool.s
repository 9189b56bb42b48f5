@ Pooling.

    .syntax unified
    .thumb

@ u64 nest_kernels_sum4(const i8 *from, size_t step, size_t n): the sums of 4 neighbouring channels
@ over n >= 1 pixels, `step` bytes apart, as 4 signed 16-bit halves: r0 = [c2 : c0], r1 = [c3 : c1].
@ n <= 255, so that no half overflows.
    .section .nest.itcm.nest_kernels_sum4, "ax", %progbits
    .global nest_kernels_sum4
    .type nest_kernels_sum4, %function
    .thumb_func
    .p2align 4
nest_kernels_sum4:
    push {r4,lr}
    movs r3, #0
    movs r12, #0
    .p2align 3
1:  ldr r4, [r0]
    add r0, r1
    subs r2, #1
    sxtab16 r3, r3, r4
    sxtab16 r12, r12, r4, ror #8
    bne 1b
    mov r0, r3
    mov r1, r12
    pop {r4,pc}
    .size nest_kernels_sum4, . - nest_kernels_sum4

@ void nest_kernels_max_pixels(struct *args), void nest_kernels_mean_pixels(struct *args): output pixels
@ side by side whose windows have the same taps.
@
@ args (pool.rs, `Pixels`); it is overwritten:
@    0 from         channel 0 of the first window's origin
@    4 offsets      bytes from a window's origin to its taps
@    8 offsets_end  behind the last one; 1 to 255 offsets, and a word behind them can be read
@   12 channels     >= 4
@   16 to           channel 0 of the first output pixel
@   20 pixels       > 0
@   24 step         bytes from a window to the next
@ and for the mean
@   28 start        added to each sum
@   32 multiplier
@   36 zero         output zero point
@
@ 8 channels at a time, as two words. A rest of fewer than 8 is served by a last group that overlaps
@ the one before it, or by words that overlap, where there are fewer than 8 channels at all.

    .set P_FROM, 0
    .set P_OFFSETS, 4
    .set P_END, 8
    .set P_CHANNELS, 12
    .set P_TO, 16
    .set P_PIXELS, 20
    .set P_STEP, 24
    .set P_START, 28
    .set P_MULTIPLIER, 32
    .set P_ZERO, 36

@ r12, the distance of the two words, from the channels in r6.
.macro NEST_POOL_WORDS
    mov r12, #4
    cmp r6, #8
    it lt
    sublt r12, r6, #4
.endm

@ Goes on with the next group (\group) or pixel (\pixel); \left holds the channels left in this pixel,
@ r0 the input, r9 the output, and \args the arguments. Overwrites r1 and r5.
.macro NEST_POOL_NEXT args, left, group, pixel
    subs \left, #8
    ble 3f
    mov r1, #8
    cmp \left, #8
    it lt
    movlt r1, \left
    it lt
    movlt \left, #8             @ the overlapping group is the last
    add r0, r1
    add r9, r1
    b \group
3:  ldr r1, [\args,#P_FROM]
    ldr r5, [\args,#P_STEP]
    add r1, r5
    str r1, [\args,#P_FROM]
    ldr r1, [\args,#P_TO]
    ldr r5, [\args,#P_CHANNELS]
    add r1, r5
    str r1, [\args,#P_TO]
    ldr r1, [\args,#P_PIXELS]
    subs r1, #1
    str r1, [\args,#P_PIXELS]
    bne \pixel
.endm

    .section .nest.itcm.nest_kernels_max_pixels, "ax", %progbits
    .global nest_kernels_max_pixels
    .type nest_kernels_max_pixels, %function
    .thumb_func
    .p2align 4
nest_kernels_max_pixels:
    push {r4-r11,lr}
    mov r11, r0
    ldr r2, [r11,#P_END]
    ldr r6, [r11,#P_CHANNELS]
    add r2, #4
    NEST_POOL_WORDS
1:  ldr r0, [r11,#P_FROM]
    ldr r9, [r11,#P_TO]
    ldr r10, [r11,#P_CHANNELS]
2:  ldr r1, [r11,#P_OFFSETS]
    add r8, r0, r12
    ldr r5, [r1], #4
    mov r3, #0x80808080
    mov r4, r3
    .p2align 3
4:  ldr r6, [r0,r5]
    ldr r7, [r8,r5]
    ssub8 lr, r6, r3
    ldr r5, [r1], #4
    sel r3, r6, r3
    cmp r1, r2
    ssub8 lr, r7, r4
    sel r4, r7, r4
    bne 4b
    str r3, [r9]
    str r4, [r9,r12]
    NEST_POOL_NEXT r11, r10, 2b, 1b
    pop {r4-r11,pc}
    .size nest_kernels_max_pixels, . - nest_kernels_max_pixels

@ Four outputs from the sums [c2 : c0] in \s02 and [c3 : c1] in \s13, to \to. r5 start, r6 multiplier,
@ r7 zero point.
.macro NEST_POOL_MEANS s02, s13, to:vararg
    sxtah r1, r5, \s02
    add \s02, r5, \s02, asr #16
    sxtah r2, r5, \s13
    smmlar r1, r1, r6, r7
    add \s13, r5, \s13, asr #16
    smmlar \s02, \s02, r6, r7
    smmlar r2, r2, r6, r7
    ssat r1, #8, r1
    smmlar \s13, \s13, r6, r7
    ssat \s02, #8, \s02
    ssat r2, #8, r2
    ssat \s13, #8, \s13
    pkhbt r1, r1, \s02, lsl #16
    pkhbt r2, r2, \s13, lsl #16
    lsl r2, r2, #8
    sel r1, r2, r1
    str r1, \to
.endm

    .section .nest.itcm.nest_kernels_mean_pixels, "ax", %progbits
    .global nest_kernels_mean_pixels
    .type nest_kernels_mean_pixels, %function
    .thumb_func
    .p2align 4
nest_kernels_mean_pixels:
    push {r0,r4-r11,lr}
    ldr r6, [r0,#P_CHANNELS]
    NEST_POOL_WORDS
    movs r1, #0
    mov r2, #0x00ff00ff
    usub8 r1, r1, r2            @ SEL takes bytes 1 and 3 of its first operand
1:  ldr r1, [sp]
    ldr r0, [r1,#P_FROM]
    ldr r9, [r1,#P_TO]
    ldr lr, [r1,#P_CHANNELS]
2:  ldr r5, [sp]
    add r8, r0, r12
    ldr r1, [r5,#P_OFFSETS]
    ldr r2, [r5,#P_END]
    movs r3, #0
    ldr r5, [r1], #4
    add r2, #4
    movs r4, #0
    mov r10, r3
    mov r11, r3
    .p2align 3
4:  ldr r6, [r0,r5]
    ldr r7, [r8,r5]
    sxtab16 r3, r3, r6
    ldr r5, [r1], #4
    sxtab16 r4, r4, r6, ror #8
    cmp r1, r2
    sxtab16 r10, r10, r7
    sxtab16 r11, r11, r7, ror #8
    bne 4b
    ldr r1, [sp]
    ldr r5, [r1,#P_START]
    ldr r6, [r1,#P_MULTIPLIER]
    ldr r7, [r1,#P_ZERO]
    NEST_POOL_MEANS r3, r4, [r9]
    NEST_POOL_MEANS r10, r11, [r9,r12]
    ldr r6, [sp]
    NEST_POOL_NEXT r6, lr, 2b, 1b
    pop {r0,r4-r11,pc}
    .size nest_kernels_mean_pixels, . - nest_kernels_mean_pixels
