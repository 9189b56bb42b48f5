@ Depthwise convolution over strips: rows of the input two by two, one channel a plane.
@
@ A word of a strip holds one channel of one input column, [row 2s : row 2s + 1] as 16-bit halves, so
@ that one SMLAD takes two taps, one above the other. Two rows of 3x3 outputs need two strips at
@ stride 1 and three at stride 2. Weights are 16-bit pairs to match.

    .syntax unified
    .thumb

@ void nest_kernels_depthwise_pack*(struct *args): rows of int8 pixels to strips, 4 channels at once.
@
@ args (depthwise_strip.rs, `Pack`); it is overwritten:
@    0 from         4 channels of the upper row's first pixel
@    4 lower        bytes from there to the lower row
@    8 from_step    bytes to the next item
@   12 to           word for the first of the 4 channels
@   16 to_channel   bytes to the word for the next channel
@   20 to_step      bytes to the words of the next item
@   24 items        > 0
@   28 runs         > 0: how often to do that
@   32 from_run     bytes from one run's first item to the next run's
@   36 to_run       the same for the words
@   40 padding      4 bytes that stand for the row that the variants `_upper` (there is no lower row)
@                   and `_lower` (there is no upper row) do not have
@
@ The two rows' words [a3 a2 a1 a0] and [b3 b2 b1 b0] become [b1 b0 a1 a0] and [b3 b2 a3 a2], of
@ which SXTB16 takes a column of channels each.
.macro NEST_DW_PACK name, upper, lower
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    push {r4-r11,lr}
    mov lr, r0
    ldr r8, [r0,#40]
    ldm r0, {r0-r6}
    mov r9, r8
    add r7, r4, r4, lsl #1
    .p2align 3
1:  @ a run
    .if \upper
    ldr r8, [r0]
    .endif
    subs r6, #1
    .if \lower
    ldr r9, [r0,r1]
    .endif
    beq 3f
    add r0, r2
    .p2align 3
2:  pkhbt r10, r8, r9, lsl #16
    subs r6, #1
    pkhtb r11, r9, r8, asr #16
    .if \upper
    ldr r8, [r0]
    .endif
    sxtb16 r12, r10
    .if \lower
    ldr r9, [r0,r1]
    .endif
    sxtb16 r10, r10, ror #8
    str r12, [r3]
    sxtb16 r12, r11
    str r10, [r3,r4]
    sxtb16 r11, r11, ror #8
    str r12, [r3,r4,lsl #1]
    str r11, [r3,r7]
    add r3, r5
    add r0, r2
    bne 2b
3:  pkhbt r10, r8, r9, lsl #16
    pkhtb r11, r9, r8, asr #16
    sxtb16 r12, r10
    ldr r6, [lr,#28]
    sxtb16 r10, r10, ror #8
    str r12, [r3]
    sxtb16 r12, r11
    str r10, [r3,r4]
    sxtb16 r11, r11, ror #8
    str r12, [r3,r4,lsl #1]
    subs r6, #1
    str r11, [r3,r7]
    beq 4f
    ldrd r10, r11, [lr,#32]
    str r6, [lr,#28]
    ldr r0, [lr]
    ldr r3, [lr,#12]
    ldr r6, [lr,#24]
    add r0, r10
    add r3, r11
    str r0, [lr]
    str r3, [lr,#12]
    b 1b
4:  pop {r4-r11,pc}
    .size \name, . - \name
.endm

    NEST_DW_PACK nest_kernels_depthwise_pack, 1, 1
    NEST_DW_PACK nest_kernels_depthwise_pack_upper, 1, 0
    NEST_DW_PACK nest_kernels_depthwise_pack_lower, 0, 1

@ void nest_kernels_depthwise_3x3_s*(const struct *args): the channels of two output pixels side by
@ side, in two rows, then those of the next two pixels, to the end of the rows.
@
@ args (depthwise_strip.rs, `Rows`):
@    0 strips       column 0 of the first channel
@    4 records      the first channel's weights and constants
@    8 records_end  behind the last channel's
@   12 output       the first channel of the first pixel
@   16 lower        bytes from an output row to the one below it; 0 if there is none (for 3x3, the
@                   functions `_row` compute one row)
@   20 pixel        bytes from an output pixel to the next
@   24 last         the same for the last two pixels; 0 if there is only one
@   28 blocks       pairs of pixels in a row, > 0
@   32 plane        bytes from a channel's strips to the next one's
@   36 zero         output zero point
@
@ A column of a plane holds a word of each strip, 2 at stride 1 and 4 at stride 2; which of them is
@ the topmost changes from one call to the next (`_a`, `_b`). A record takes 32 bytes: for each
@ column of weights the words [w0 : w1] and [w1 : w2], then bias and multiplier. Where there is no
@ second pixel or no second row, its outputs go where those of the first are written after them. Up
@ to one plane and one record beyond the last are read.

    .set R_STRIPS, 0
    .set R_RECORDS, 4
    .set R_END, 8
    .set R_OUTPUT, 12
    .set R_LOWER, 16
    .set R_PIXEL, 20
    .set R_LAST, 24
    .set R_BLOCKS, 28
    .set R_PLANE, 32
    .set R_ZERO, 36
    .set R_SIZE, 44

@ Copies the arguments to the stack, in the same layout; R_END becomes 4 less.
.macro NEST_DW_ENTER
    push {r4-r11,lr}
    sub sp, #R_SIZE
    ldm r0, {r0-r9}
    subs r2, #4
    stm sp, {r0-r9}
.endm

@ The addresses of the next pair of pixels: r0 strips, r1 records - 4, r2 and r3 outputs. Columns
@ advance by \step bytes.
.macro NEST_DW_NEXT step
    ldr r0, [sp,#R_STRIPS]
    ldr r10, [sp,#R_BLOCKS]
    ldr r2, [sp,#R_OUTPUT]
    subs r10, #1
    ldr r3, [sp,#R_PIXEL]
    str r10, [sp,#R_BLOCKS]
    add r10, r0, #\step
    ldr r1, [sp,#R_RECORDS]
    add r11, r2, r3, lsl #1
    it eq
    ldreq r3, [sp,#R_LAST]
    str r10, [sp,#R_STRIPS]
    str r11, [sp,#R_OUTPUT]
    subs r1, #4
    add r3, r2
.endm

@ Stride 1. r6 to r9 are the outputs (upper, first), (upper, second), (lower, first), (lower,
@ second). With the strips' words A and B and the weights' words V = [w0 : w1] and W = [w1 : w2] of
@ a column, an upper output takes A.V + B.bottom * W.top, a lower one A.top * V.bottom + B.W. \a and
@ \b are the places of A and B in a column. Loads come three cycles before their use; the next
@ channel's begin at the end of the loop.
.macro NEST_DW_3X3_S1 name, a, b
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    NEST_DW_ENTER
    mov r5, r8
1:  NEST_DW_NEXT 16
    ldr r10, [r0,#24+\a]        @ A3
    ldr r12, [r1,#20]           @ V2
    ldr r11, [r0,#16+\a]        @ A2
    ldr r9, [r1,#28]            @ bias
    .p2align 3
2:  smlad r7, r10, r12, r9
    ldr lr, [r1,#12]            @ V1
    smlad r6, r11, r12, r9
    smlatb r8, r11, r12, r9
    smlatb r9, r10, r12, r9
    ldr r10, [r0,#8+\a]         @ A1
    smlad r7, r11, lr, r7
    ldr r12, [r1,#4]            @ V0
    smlatb r9, r11, lr, r9
    smlad r6, r10, lr, r6
    ldr r11, [r0,#\a]           @ A0
    smlatb r8, r10, lr, r8
    smlad r7, r10, r12, r7
    ldr lr, [r1,#24]            @ W2
    smlatb r9, r10, r12, r9
    ldr r10, [r0,#24+\b]        @ B3
    smlad r6, r11, r12, r6
    smlatb r8, r11, r12, r8
    ldr r11, [r0,#16+\b]        @ B2
    smlabt r7, r10, lr, r7
    ldr r12, [r1,#16]           @ W1
    smlad r9, r10, lr, r9
    ldr r10, [r0,#8+\b]         @ B1
    smlabt r6, r11, lr, r6
    smlad r8, r11, lr, r8
    ldr lr, [r1,#8]             @ W0
    smlabt r7, r11, r12, r7
    smlad r9, r11, r12, r9
    ldr r11, [r0,#\b]           @ B0
    smlabt r7, r10, lr, r7
    add r0, r5
    smlad r9, r10, lr, r9
    smlabt r6, r10, r12, r6
    smlad r8, r10, r12, r8
    ldr r10, [r1,#32]!          @ multiplier
    smlabt r6, r11, lr, r6
    ldr r12, [sp,#R_END]
    smlad r8, r11, lr, r8
    ldr lr, [sp,#R_ZERO]
    smmlar r9, r9, r10, lr
    ldr r11, [r0,#16+\a]
    smmlar r7, r7, r10, lr
    cmp r1, r12
    smmlar r6, r6, r10, lr
    ldr r12, [r1,#20]
    ssat r9, #8, r9
    smmlar r8, r8, r10, lr
    ssat r7, #8, r7
    ldr r10, [r0,#24+\a]
    ssat r6, #8, r6
    strb r9, [r3,r4]
    ssat r8, #8, r8
    strb r7, [r3], #1
    ldr r9, [r1,#28]
    strb r8, [r2,r4]
    strb r6, [r2], #1
    bne 2b
    ldr r10, [sp,#R_BLOCKS]
    cmp r10, #0
    bne 1b
    add sp, #R_SIZE
    pop {r4-r11,pc}
    .size \name, . - \name
.endm

    NEST_DW_3X3_S1 nest_kernels_depthwise_3x3_s1_a, 0, 4
    NEST_DW_3X3_S1 nest_kernels_depthwise_3x3_s1_b, 4, 0

@ Stride 2: as above, with three strips A, B and C, of which the upper outputs take A.V + B.bottom *
@ W.top, the lower ones B.V + C.bottom * W.top.
.macro NEST_DW_3X3_S2 name, a, b, c
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    NEST_DW_ENTER
    mov r5, r8
1:  NEST_DW_NEXT 64
    ldr r12, [r0,#\a]           @ A0
    ldr lr, [r1,#4]             @ V0
    ldr r11, [r0,#32+\a]        @ A2
    ldr r4, [r0,#\b]            @ B0
    ldr r9, [r1,#28]            @ bias
    .p2align 3
2:  smlad r6, r12, lr, r9
    ldr r12, [r1,#8]            @ W0
    smlad r7, r11, lr, r9
    ldr r10, [r0,#32+\b]        @ B2
    smlad r8, r4, lr, r9
    ldr r11, [r0,#\c]           @ C0
    smlabt r6, r4, r12, r6
    ldr r4, [r0,#32+\c]         @ C2
    smlad r9, r10, lr, r9
    ldr lr, [r1,#12]            @ V1
    smlabt r7, r10, r12, r7
    ldr r10, [r0,#16+\a]        @ A1
    smlabt r8, r11, r12, r8
    ldr r11, [r0,#48+\a]        @ A3
    smlabt r9, r4, r12, r9
    ldr r4, [r0,#16+\b]         @ B1
    smlad r6, r10, lr, r6
    ldr r12, [r1,#16]           @ W1
    smlad r7, r11, lr, r7
    ldr r10, [r0,#48+\b]        @ B3
    smlad r8, r4, lr, r8
    ldr r11, [r0,#16+\c]        @ C1
    smlabt r6, r4, r12, r6
    ldr r4, [r0,#48+\c]         @ C3
    smlad r9, r10, lr, r9
    ldr lr, [r1,#20]            @ V2
    smlabt r7, r10, r12, r7
    ldr r10, [r0,#32+\a]        @ A2
    smlabt r8, r11, r12, r8
    ldr r11, [r0,#64+\a]        @ A4
    smlabt r9, r4, r12, r9
    ldr r4, [r0,#32+\b]         @ B2
    smlad r6, r10, lr, r6
    ldr r12, [r1,#24]           @ W2
    smlad r7, r11, lr, r7
    ldr r10, [r0,#64+\b]        @ B4
    smlad r8, r4, lr, r8
    ldr r11, [r0,#32+\c]        @ C2
    smlabt r6, r4, r12, r6
    ldr r4, [r0,#64+\c]         @ C4
    smlad r9, r10, lr, r9
    add r0, r5
    smlabt r7, r10, r12, r7
    ldr r10, [r1,#32]!          @ multiplier
    smlabt r8, r11, r12, r8
    ldr r11, [sp,#R_END]
    smlabt r9, r4, r12, r9
    ldr lr, [sp,#R_ZERO]
    smmlar r7, r7, r10, lr
    ldr r4, [sp,#R_LOWER]
    smmlar r9, r9, r10, lr
    cmp r1, r11
    smmlar r8, r8, r10, lr
    ldr r11, [r0,#32+\a]
    ssat r7, #8, r7
    smmlar r6, r6, r10, lr
    ssat r9, #8, r9
    ldr r12, [r0,#\a]
    ssat r8, #8, r8
    strb r9, [r3,r4]
    ssat r6, #8, r6
    strb r7, [r3], #1
    ldr lr, [r1,#4]
    strb r8, [r2,r4]
    ldr r9, [r1,#28]
    strb r6, [r2], #1
    ldr r4, [r0,#\b]
    bne 2b
    ldr r10, [sp,#R_BLOCKS]
    cmp r10, #0
    bne 1b
    add sp, #R_SIZE
    pop {r4-r11,pc}
    .size \name, . - \name
.endm

    NEST_DW_3X3_S2 nest_kernels_depthwise_3x3_s2_a, 0, 4, 8
    NEST_DW_3X3_S2 nest_kernels_depthwise_3x3_s2_b, 8, 12, 0

@ The last one of an odd number of rows: upper outputs only. r6 and r7 are the first and the second,
@ r8 the end of the records, r9 the output zero point.
.macro NEST_DW_3X3_S1_ROW name, a, b
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    NEST_DW_ENTER
    mov r5, r8
    mov r8, r2
1:  NEST_DW_NEXT 16
    ldr r10, [r0,#24+\a]        @ A3
    ldr r12, [r1,#20]           @ V2
    ldr r11, [r0,#16+\a]        @ A2
    ldr r7, [r1,#28]            @ bias
    .p2align 3
2:  smlad r6, r11, r12, r7
    ldr lr, [r1,#12]            @ V1
    smlad r7, r10, r12, r7
    ldr r4, [r0,#8+\a]          @ A1
    ldr r12, [r1,#4]            @ V0
    smlad r7, r11, lr, r7
    ldr r10, [r0,#\a]           @ A0
    smlad r6, r4, lr, r6
    ldr r11, [r0,#24+\b]        @ B3
    smlad r7, r4, r12, r7
    ldr lr, [r1,#24]            @ W2
    smlad r6, r10, r12, r6
    ldr r4, [r0,#16+\b]         @ B2
    ldr r12, [r1,#16]           @ W1
    smlabt r7, r11, lr, r7
    ldr r10, [r0,#8+\b]         @ B1
    smlabt r6, r4, lr, r6
    ldr lr, [r1,#8]             @ W0
    smlabt r7, r4, r12, r7
    ldr r11, [r0,#\b]           @ B0
    smlabt r6, r10, r12, r6
    ldr r4, [r1,#32]!           @ multiplier
    smlabt r7, r10, lr, r7
    add r0, r5
    smlabt r6, r11, lr, r6
    ldr r12, [r1,#20]
    smmlar r7, r7, r4, r9
    ldr r10, [r0,#24+\a]
    smmlar r6, r6, r4, r9
    ldr r11, [r0,#16+\a]
    cmp r1, r8
    ssat r4, #8, r7
    ldr r7, [r1,#28]
    ssat r6, #8, r6
    strb r4, [r3], #1
    strb r6, [r2], #1
    bne 2b
    ldr r10, [sp,#R_BLOCKS]
    cmp r10, #0
    bne 1b
    add sp, #R_SIZE
    pop {r4-r11,pc}
    .size \name, . - \name
.endm

    NEST_DW_3X3_S1_ROW nest_kernels_depthwise_3x3_s1_row_a, 0, 4
    NEST_DW_3X3_S1_ROW nest_kernels_depthwise_3x3_s1_row_b, 4, 0

.macro NEST_DW_3X3_S2_ROW name, a, b
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    NEST_DW_ENTER
    mov r5, r8
    mov r8, r2
1:  NEST_DW_NEXT 64
    ldr r12, [r1,#4]            @ V0
    ldr r10, [r0,#\a]           @ A0
    ldr r11, [r0,#32+\a]        @ A2
    ldr r7, [r1,#28]            @ bias
    .p2align 3
2:  ldr lr, [r1,#20]            @ V2
    smlad r6, r10, r12, r7
    ldr r4, [r0,#64+\a]         @ A4
    smlad r7, r11, r12, r7
    ldr r12, [r1,#12]           @ V1
    ldr r10, [r0,#16+\a]        @ A1
    smlad r6, r11, lr, r6
    ldr r11, [r0,#48+\a]        @ A3
    smlad r7, r4, lr, r7
    ldr lr, [r1,#8]             @ W0
    ldr r4, [r0,#\b]            @ B0
    smlad r6, r10, r12, r6
    ldr r10, [r0,#32+\b]        @ B2
    smlad r7, r11, r12, r7
    ldr r12, [r1,#24]           @ W2
    ldr r11, [r0,#64+\b]        @ B4
    smlabt r6, r4, lr, r6
    ldr r4, [r0,#48+\b]         @ B3
    smlabt r7, r10, lr, r7
    ldr lr, [r1,#16]            @ W1
    smlabt r6, r10, r12, r6
    ldr r10, [r0,#16+\b]        @ B1
    smlabt r7, r11, r12, r7
    ldr r11, [r1,#32]!          @ multiplier
    smlabt r7, r4, lr, r7
    ldr r12, [r1,#4]
    smlabt r6, r10, lr, r6
    add r0, r5
    smmlar r7, r7, r11, r9
    ldr r10, [r0,#\a]
    smmlar r6, r6, r11, r9
    cmp r1, r8
    ssat r4, #8, r7
    ldr r11, [r0,#32+\a]
    ssat r6, #8, r6
    strb r4, [r3], #1
    ldr r7, [r1,#28]
    strb r6, [r2], #1
    bne 2b
    ldr r10, [sp,#R_BLOCKS]
    cmp r10, #0
    bne 1b
    add sp, #R_SIZE
    pop {r4-r11,pc}
    .size \name, . - \name
.endm

    NEST_DW_3X3_S2_ROW nest_kernels_depthwise_3x3_s2_row_a, 0, 4
    NEST_DW_3X3_S2_ROW nest_kernels_depthwise_3x3_s2_row_b, 8, 12

    .set R_TO_SECOND, 40
    .set R_TO_THIRD, 44
    .set R_TO_FIRST, 48
    .set R_SIZE_5X5, 52

.macro NEST_DW_ENTER_5X5
    push {r4-r11,lr}
    sub sp, #R_SIZE_5X5
    ldm r0!, {r1-r6}
    subs r3, #4
    stm sp, {r1-r6}
    ldm r0, {r1-r7}
    add r0, sp, #24
    stm r0, {r1-r7}
.endm

.macro NEST_DW_LEAVE_5X5
    ldr r10, [sp,#R_BLOCKS]
    cmp r10, #0
    bne 1b
    add sp, #R_SIZE_5X5
    pop {r4-r11,pc}
.endm

@ void nest_kernels_depthwise_5x5_s*(const struct *args): the same for 5x5 windows. A column of a plane
@ holds 4 strips. A record takes 88 bytes: for each column of weights the words V = [w0 : w1], W =
@ [w1 : w2], T = [w2 : w3] and U = [w3 : w4]. More of args:
@   40 to_second    bytes from the first strip's word in a column to the second's
@   44 to_third     from there to the third's
@   48 to_first     from there to the first's of the next channel
@ The last three are for stride 1.

@ Stride 1: the strips one after the other. Upper outputs take A.V + B.T + C.bottom * U.top, lower ones
@ A.top * V.bottom + B.W + C.U.
    .section .nest.itcm.nest_kernels_depthwise_5x5_s1, "ax", %progbits
    .global nest_kernels_depthwise_5x5_s1
    .type nest_kernels_depthwise_5x5_s1, %function
    .thumb_func
    .p2align 4
nest_kernels_depthwise_5x5_s1:
    NEST_DW_ENTER_5X5
1:  NEST_DW_NEXT 32
    ldr r10, [r0,#80]           @ A5
    ldr r12, [r1,#68]           @ V4
    ldr r11, [r0,#64]           @ A4
    ldr r9, [r1,#84]            @ bias
    .p2align 3
2:  smlad r7, r10, r12, r9
    ldr lr, [r1,#52]            @ V3
    smlad r6, r11, r12, r9
    smlatb r8, r11, r12, r9
    ldr r4, [sp,#R_TO_SECOND]
    smlatb r9, r10, r12, r9
    ldr r10, [r0,#48]           @ A3
    smlad r7, r11, lr, r7
    ldr r12, [r1,#36]           @ V2
    smlatb r9, r11, lr, r9
    ldr r11, [r0,#32]           @ A2
    smlad r6, r10, lr, r6
    smlatb r8, r10, lr, r8
    ldr lr, [r1,#20]            @ V1
    smlad r7, r10, r12, r7
    smlatb r9, r10, r12, r9
    ldr r10, [r0,#16]           @ A1
    smlad r6, r11, r12, r6
    smlatb r8, r11, r12, r8
    ldr r12, [r1,#4]            @ V0
    smlad r7, r11, lr, r7
    smlatb r9, r11, lr, r9
    ldr r11, [r0,#0]            @ A0
    add r0, r4                  @ to B
    smlad r6, r10, lr, r6
    smlatb r8, r10, lr, r8
    ldr lr, [r1,#76]            @ T4
    smlad r7, r10, r12, r7
    ldr r4, [r0,#80]            @ B5
    smlatb r9, r10, r12, r9
    ldr r10, [r1,#72]           @ W4
    smlad r6, r11, r12, r6
    smlatb r8, r11, r12, r8
    ldr r5, [r0,#64]            @ B4
    smlad r7, r4, lr, r7
    ldr r12, [r1,#60]           @ T3
    smlad r9, r4, r10, r9
    ldr r11, [r1,#56]           @ W3
    ldr r4, [r0,#48]            @ B3
    smlad r6, r5, lr, r6
    ldr lr, [r1,#44]            @ T2
    smlad r8, r5, r10, r8
    ldr r10, [r1,#40]           @ W2
    smlad r7, r5, r12, r7
    smlad r9, r5, r11, r9
    ldr r5, [r0,#32]            @ B2
    smlad r6, r4, r12, r6
    ldr r12, [r1,#28]           @ T1
    smlad r8, r4, r11, r8
    ldr r11, [r1,#24]           @ W1
    smlad r7, r4, lr, r7
    smlad r9, r4, r10, r9
    ldr r4, [r0,#16]            @ B1
    smlad r6, r5, lr, r6
    ldr lr, [r1,#12]            @ T0
    smlad r8, r5, r10, r8
    ldr r10, [r1,#8]            @ W0
    smlad r7, r5, r12, r7
    smlad r9, r5, r11, r9
    ldr r5, [r0,#0]             @ B0
    smlad r6, r4, r12, r6
    ldr r12, [sp,#R_TO_THIRD]
    smlad r8, r4, r11, r8
    smlad r7, r4, lr, r7
    add r0, r12                 @ to C
    smlad r9, r4, r10, r9
    ldr r11, [r0,#80]           @ C5
    ldr r12, [r1,#80]           @ U4
    ldr r4, [r0,#64]            @ C4
    smlad r6, r5, lr, r6
    ldr lr, [r1,#64]            @ U3
    smlad r8, r5, r10, r8
    smlabt r7, r11, r12, r7
    smlad r9, r11, r12, r9
    ldr r11, [r0,#48]           @ C3
    smlabt r6, r4, r12, r6
    smlad r8, r4, r12, r8
    ldr r12, [r1,#48]           @ U2
    smlabt r7, r4, lr, r7
    smlad r9, r4, lr, r9
    ldr r4, [r0,#32]            @ C2
    smlabt r6, r11, lr, r6
    smlad r8, r11, lr, r8
    ldr lr, [r1,#32]            @ U1
    smlabt r7, r11, r12, r7
    smlad r9, r11, r12, r9
    ldr r11, [r0,#16]           @ C1
    smlabt r6, r4, r12, r6
    smlad r8, r4, r12, r8
    ldr r12, [r1,#16]           @ U0
    smlabt r7, r4, lr, r7
    ldr r5, [sp,#R_TO_FIRST]
    smlad r9, r4, lr, r9
    ldr r4, [r0,#0]             @ C0
    smlabt r7, r11, r12, r7
    add r0, r5                  @ to A of the next channel
    smlad r9, r11, r12, r9
    ldr r10, [r1,#88]!          @ multiplier
    smlabt r6, r11, lr, r6
    ldr r5, [sp,#R_LOWER]
    smlad r8, r11, lr, r8
    ldr lr, [sp,#R_ZERO]
    smlabt r6, r4, r12, r6
    ldr r11, [sp,#R_END]
    smlad r8, r4, r12, r8
    smmlar r9, r9, r10, lr
    cmp r1, r11
    smmlar r7, r7, r10, lr
    ldr r12, [r1,#68]
    smmlar r6, r6, r10, lr
    ldr r11, [r0,#64]
    ssat r9, #8, r9
    smmlar r8, r8, r10, lr
    ssat r7, #8, r7
    ldr r10, [r0,#80]
    ssat r6, #8, r6
    strb r9, [r3,r5]
    ssat r8, #8, r8
    strb r7, [r3], #1
    ldr r9, [r1,#84]
    strb r8, [r2,r5]
    strb r6, [r2], #1
    bne 2b
    NEST_DW_LEAVE_5X5
    .size nest_kernels_depthwise_5x5_s1, . - nest_kernels_depthwise_5x5_s1

@ Stride 2: the columns of weights one after the other. Upper outputs take A.V + B.T + C.bottom *
@ U.top, lower ones B.V + C.T + D.bottom * U.top.
.macro NEST_DW_5X5_S2 name, a, b, c, d
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    NEST_DW_ENTER_5X5
1:  NEST_DW_NEXT 64
    ldr r10, [r0,#\a]           @ A0
    ldr lr, [r1,#4]             @ V0
    ldr r11, [r0,#32+\a]        @ A2
    ldr r12, [r1,#12]           @ T0
    ldr r4, [r0,#\b]            @ B0
    ldr r9, [r1,#84]            @ bias
    .p2align 3
2:  smlad r6, r10, lr, r9
    ldr r10, [r0,#32+\b]        @ B2
    smlad r7, r11, lr, r9
    ldr r11, [r0,#\c]           @ C0
    smlad r8, r4, lr, r9
    ldr r5, [r1,#16]            @ U0
    smlad r6, r4, r12, r6
    ldr r4, [r0,#32+\c]         @ C2
    smlad r9, r10, lr, r9
    ldr lr, [r1,#20]            @ V1
    smlad r7, r10, r12, r7
    ldr r10, [r0,#\d]           @ D0
    smlad r8, r11, r12, r8
    smlabt r6, r11, r5, r6
    ldr r11, [r0,#32+\d]        @ D2
    smlad r9, r4, r12, r9
    ldr r12, [r1,#28]           @ T1
    smlabt r7, r4, r5, r7
    ldr r4, [r0,#16+\a]         @ A1
    smlabt r8, r10, r5, r8
    ldr r10, [r0,#48+\a]        @ A3
    smlabt r9, r11, r5, r9
    ldr r11, [r0,#16+\b]        @ B1
    smlad r6, r4, lr, r6
    ldr r4, [r0,#48+\b]         @ B3
    smlad r7, r10, lr, r7
    ldr r10, [r0,#16+\c]        @ C1
    smlad r8, r11, lr, r8
    ldr r5, [r1,#32]            @ U1
    smlad r6, r11, r12, r6
    ldr r11, [r0,#48+\c]        @ C3
    smlad r9, r4, lr, r9
    ldr lr, [r1,#36]            @ V2
    smlad r7, r4, r12, r7
    ldr r4, [r0,#16+\d]         @ D1
    smlad r8, r10, r12, r8
    smlabt r6, r10, r5, r6
    ldr r10, [r0,#48+\d]        @ D3
    smlad r9, r11, r12, r9
    ldr r12, [r1,#44]           @ T2
    smlabt r7, r11, r5, r7
    ldr r11, [r0,#32+\a]        @ A2
    smlabt r8, r4, r5, r8
    ldr r4, [r0,#64+\a]         @ A4
    smlabt r9, r10, r5, r9
    ldr r10, [r0,#32+\b]        @ B2
    smlad r6, r11, lr, r6
    ldr r11, [r0,#64+\b]        @ B4
    smlad r7, r4, lr, r7
    ldr r4, [r0,#32+\c]         @ C2
    smlad r8, r10, lr, r8
    ldr r5, [r1,#48]            @ U2
    smlad r6, r10, r12, r6
    ldr r10, [r0,#64+\c]        @ C4
    smlad r9, r11, lr, r9
    ldr lr, [r1,#52]            @ V3
    smlad r7, r11, r12, r7
    ldr r11, [r0,#32+\d]        @ D2
    smlad r8, r4, r12, r8
    smlabt r6, r4, r5, r6
    ldr r4, [r0,#64+\d]         @ D4
    smlad r9, r10, r12, r9
    ldr r12, [r1,#60]           @ T3
    smlabt r7, r10, r5, r7
    ldr r10, [r0,#48+\a]        @ A3
    smlabt r8, r11, r5, r8
    ldr r11, [r0,#80+\a]        @ A5
    smlabt r9, r4, r5, r9
    ldr r4, [r0,#48+\b]         @ B3
    smlad r6, r10, lr, r6
    ldr r10, [r0,#80+\b]        @ B5
    smlad r7, r11, lr, r7
    ldr r11, [r0,#48+\c]        @ C3
    smlad r8, r4, lr, r8
    ldr r5, [r1,#64]            @ U3
    smlad r6, r4, r12, r6
    ldr r4, [r0,#80+\c]         @ C5
    smlad r9, r10, lr, r9
    ldr lr, [r1,#68]            @ V4
    smlad r7, r10, r12, r7
    ldr r10, [r0,#48+\d]        @ D3
    smlad r8, r11, r12, r8
    smlabt r6, r11, r5, r6
    ldr r11, [r0,#80+\d]        @ D5
    smlad r9, r4, r12, r9
    ldr r12, [r1,#76]           @ T4
    smlabt r7, r4, r5, r7
    ldr r4, [r0,#64+\a]         @ A4
    smlabt r8, r10, r5, r8
    ldr r10, [r0,#96+\a]        @ A6
    smlabt r9, r11, r5, r9
    ldr r11, [r0,#64+\b]        @ B4
    smlad r6, r4, lr, r6
    ldr r4, [r0,#96+\b]         @ B6
    smlad r7, r10, lr, r7
    ldr r10, [r0,#64+\c]        @ C4
    smlad r8, r11, lr, r8
    ldr r5, [r1,#80]            @ U4
    smlad r6, r11, r12, r6
    ldr r11, [r0,#96+\c]        @ C6
    smlad r9, r4, lr, r9
    smlad r7, r4, r12, r7
    ldr r4, [r0,#64+\d]         @ D4
    smlad r8, r10, r12, r8
    smlabt r6, r10, r5, r6
    ldr r10, [r0,#96+\d]        @ D6
    ldr lr, [sp,#R_PLANE]
    smlad r9, r11, r12, r9
    ldr r12, [sp,#R_END]
    smlabt r7, r11, r5, r7
    add r0, lr
    smlabt r8, r4, r5, r8
    ldr r11, [r1,#88]!          @ multiplier
    smlabt r9, r10, r5, r9
    ldr lr, [sp,#R_ZERO]
    ldr r5, [sp,#R_LOWER]
    smmlar r7, r7, r11, lr
    cmp r1, r12
    smmlar r9, r9, r11, lr
    ldr r12, [r1,#12]           @ T0
    smmlar r8, r8, r11, lr
    ssat r7, #8, r7
    smmlar r6, r6, r11, lr
    ssat r9, #8, r9
    ldr r10, [r0,#\a]           @ A0
    ssat r8, #8, r8
    strb r9, [r3,r5]
    ssat r6, #8, r6
    strb r7, [r3], #1
    ldr r9, [r1,#84]
    strb r8, [r2,r5]
    ldr lr, [r1,#4]             @ V0
    strb r6, [r2], #1
    ldr r11, [r0,#32+\a]        @ A2
    ldr r4, [r0,#\b]            @ B0
    bne 2b
    NEST_DW_LEAVE_5X5
    .size \name, . - \name
.endm

    NEST_DW_5X5_S2 nest_kernels_depthwise_5x5_s2_a, 0, 4, 8, 12
    NEST_DW_5X5_S2 nest_kernels_depthwise_5x5_s2_b, 8, 12, 0, 4
