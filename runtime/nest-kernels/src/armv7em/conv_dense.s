@ Dense convolution: pairs of rows over tiles of 4 pixels, activations packed as in conv_nested.s,
@ two words (pixels 0 and 1, pixels 2 and 3) a column.
@
@ `args` (conv_dense.rs, `DensePass`):
@    0 words      blocks of 4 columns: 4 bytes of the even row, 4 bytes of the odd row
@    4 blocks     of a row, > 0
@    8 rows       > 0, may be odd: the last row's partner is then not written
@   12 requant    8 bytes a row: bias, multiplier
@   16 tiles      pairs (activations, output), 8 bytes each
@   20 tiles_end  > tiles
@   24 step       bytes from one output pixel to the next
@   28 zero       output zero point
@
@ The last block of a row pair is peeled off the software pipeline, so that no load leaves the
@ weights or the tile.

    .syntax unified
    .thumb

    .set D_WORDS, 0
    .set D_BLOCKS, 4
    .set D_ROWS, 8
    .set D_REQUANT, 12
    .set D_TILES, 16
    .set D_TILES_END, 20
    .set D_STEP, 24
    .set D_ZERO, 28
    .set D_CURSOR, 32
    .set D_END, 36          @ the last block of the row pair
    .set D_ROW, 40
    .set D_SIZE, 44

@ One column: weights in r2 (even row) and r12 (odd row), activations in r3 and lr; loads the next
@ column's at the given offsets.
.macro NEST_DENSE_COLUMN w0, w1, x0, x1
    smlal r4, r5, r2, r3
    smlal r6, r7, r2, lr
    ldrsb r2, [r0,#\w0]
    smlal r8, r9, r12, r3
    ldr r3, [r1,#\x0]
    smlal r10, r11, r12, lr
    ldr lr, [r1,#\x1]
    ldrsb r12, [r0,#\w1]
.endm

@ s0 and s1 from a pair of accumulators: \lo = s0, \hi = s1.
.macro NEST_DENSE_SPLIT lo, hi
    lsl \hi, \hi, #9
    ubfx r12, \lo, #0, #23
    orr \hi, \hi, \lo, lsr #23
    sub \lo, r12, #0x400000
.endm

@ Requantises the packed sums of 4 pixels of one row: r0 bias, r1 multiplier, r2 zero point, r3
@ output, lr its step.
.macro NEST_DENSE_REQUANT a, b, c, d
    NEST_DENSE_SPLIT \a, \b
    NEST_DENSE_SPLIT \c, \d
    add \a, r0
    add \b, r0
    smmlar \a, \a, r1, r2
    add \c, r0
    smmlar \b, \b, r1, r2
    add \d, r0
    smmlar \c, \c, r1, r2
    ssat \a, #8, \a
    smmlar \d, \d, r1, r2
    ssat \b, #8, \b
    strb \a, [r3]
    ssat \c, #8, \c
    strb \b, [r3,lr]
    add r12, r3, lr, lsl #1
    ssat \d, #8, \d
    strb \c, [r12]
    strb \d, [r12,lr]
.endm

    .section .nest.itcm.nest_kernels_conv_dense, "ax", %progbits
    .global nest_kernels_conv_dense
    .type nest_kernels_conv_dense, %function
    .thumb_func
    .p2align 4
nest_kernels_conv_dense:
    push {r4-r11,lr}
    sub sp, #D_SIZE
    ldm r0, {r1-r8}
    stm sp, {r1-r8}
    movs r0, #0
    str r0, [sp,#D_ROW]
1:  @ next pair of rows
    ldrd r0, r3, [sp,#D_WORDS]
    ldr r2, [sp,#D_TILES]
    add r3, r0, r3, lsl #3
    subs r3, #8
    str r3, [sp,#D_END]
2:  @ tile: r0 words, r2 cursor
    ldr r1, [r2], #8
    mov r4, #0x400000
    str r2, [sp,#D_CURSOR]
    movs r5, #0
    ldr r12, [sp,#D_END]
    mov r6, r4
    ldrsb r2, [r0,#0]
    mov r7, r5
    ldr r3, [r1,#0]
    mov r8, r4
    ldr lr, [r1,#4]
    mov r9, r5
    cmp r0, r12
    mov r10, r4
    ldrsb r12, [r0,#4]
    mov r11, r5
    beq 4f
    .p2align 3
3:  NEST_DENSE_COLUMN 1, 5, 8, 12
    NEST_DENSE_COLUMN 2, 6, 16, 20
    NEST_DENSE_COLUMN 3, 7, 24, 28
    smlal r4, r5, r2, r3
    smlal r6, r7, r2, lr
    ldrsb r2, [r0,#8]!
    smlal r8, r9, r12, r3
    ldr r3, [sp,#D_END]
    smlal r10, r11, r12, lr
    ldrsb r12, [r0,#4]
    cmp r0, r3
    ldr r3, [r1,#32]!
    ldr lr, [r1,#4]
    bne 3b
4:  @ the last block
    NEST_DENSE_COLUMN 1, 5, 8, 12
    NEST_DENSE_COLUMN 2, 6, 16, 20
    NEST_DENSE_COLUMN 3, 7, 24, 28
    smlal r4, r5, r2, r3
    smlal r6, r7, r2, lr
    smlal r8, r9, r12, r3
    smlal r10, r11, r12, lr
    ldr r12, [sp,#D_CURSOR]
    ldr lr, [sp,#D_REQUANT]
    ldr r3, [r12,#-4]
    ldr r12, [sp,#D_ROW]
    ldrd r0, r1, [lr]
    ldr r2, [sp,#D_ZERO]
    add r3, r12
    ldr lr, [sp,#D_STEP]
    NEST_DENSE_REQUANT r4, r5, r6, r7
    ldr r4, [sp,#D_ROWS]
    ldr r12, [sp,#D_REQUANT]
    cmp r4, #1
    beq 5f                  @ no odd row
    ldrd r0, r1, [r12,#8]
    adds r3, #1
    NEST_DENSE_REQUANT r8, r9, r10, r11
5:  ldr r2, [sp,#D_CURSOR]
    ldr r1, [sp,#D_TILES_END]
    ldr r0, [sp,#D_WORDS]
    cmp r2, r1
    bne.w 2b
    ldr r0, [sp,#D_END]
    ldrd r4, r6, [sp,#D_ROWS]
    ldr r5, [sp,#D_ROW]
    adds r0, #8
    adds r6, #16
    adds r5, #2
    str r0, [sp,#D_WORDS]
    subs r4, #2
    str r5, [sp,#D_ROW]
    strd r4, r6, [sp,#D_ROWS]
    bgt.w 1b
    add sp, #D_SIZE
    pop {r4-r11,pc}
    .size nest_kernels_conv_dense, . - nest_kernels_conv_dense
