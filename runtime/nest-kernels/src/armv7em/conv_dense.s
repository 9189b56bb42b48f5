@ Dense convolution: pairs of rows over tiles of 3 pixels, SMLAD on pairs of int16.
@
@ void nest_kernels_conv_dense(const DensePass *pass)     (conv_dense.rs)
@    0 words      see `DenseWeights`: blocks of 4 columns, two words each. The first holds columns 0
@                 and 2 of both rows, [even 0, odd 0, even 2, odd 2], the second columns 1 and 3:
@                 SXTB16 makes the even row's factors of a word, SXTB16 with ROR #8 the odd row's
@    4 blocks     of a row, > 0
@    8 rows       > 1; the last pair of an odd number overlaps the one before it by a row
@   12 requant    8 bytes a row: bias, multiplier
@   16 tiles      of 24 blocks + 4 bytes (below), one after the other
@   20 tiles_end  > tiles
@   24 step       bytes from one output pixel to the next
@   28 zero       the output's zero point
@   32 entry      flags for where the loop over blocks is entered, see `Pass::entry`
@   36 to_end     blocks from there to the loop's end, modulo 8
@   40 first      pair of rows, 1 or -1 from a pair to the next, and the pair after the last: passes go
@                 through the weights to and fro, so that each begins with what is in the cache
@
@ A tile holds six words for each block: columns 0 and 2 as int16 of pixel 0, of pixel 1, of pixel 2,
@ then columns 1 and 3 likewise; after the last block, the address of channel 0 of its first output
@ pixel.
@
@ Two columns of two rows and three pixels take 6 SMLAD, 3 loads of activations, a load of weights
@ and two SXTB16: 12 instructions, which pair to 6 cycles. Three pixels rather than four, since six
@ sums leave six registers for factors: as many as it takes to load activations three cycles before
@ their use, and weights two before they are extended. A block is two such steps, after which
@ registers have their places again. SXTB16 stands first in its pair, where alone it can issue; loads
@ stand second. The last block of a row is peeled off, so that no load leaves weights or tile.

    .syntax unified
    .thumb

    .set D_WORDS, 0
    .set D_END, 4           @ the last block but one
    .set D_ROW, 8           @ of the pair
    .set D_ENTRY, 12
    .set D_BIAS_EVEN, 16
    .set D_BIAS_ODD, 20
    .set D_MULTIPLIER_EVEN, 24
    .set D_MULTIPLIER_ODD, 28
    .set D_STEP, 32
    .set D_ZERO, 36
    .set D_TILES, 40        @ less 4, as the next
    .set D_TILES_END, 44
    .set D_BASE, 48         @ all weights
    .set D_PAIR, 52         @ bytes of a pair's
    .set D_LAST_ROW, 56     @ of the last pair
    .set D_REQUANT, 60
    .set D_AT, 64           @ pair of rows
    .set D_AT_STEP, 68
    .set D_AT_END, 72
    .set D_TO_END, 76       @ blocks from the loop's entry to its end, modulo 8
    .set D_SIZE, 84         @ a multiple of 8 with what is pushed

@ A block and the first loads of the next. r0 weights, r1 activations; r8-r10 sums of the even row,
@ r11, r12, lr of the odd one. On entry r2 holds the block's first word of weights, r4 the odd row's
@ factors of it, r6 and r5 activations of pixels 0 and 1.
.macro NEST_DENSE_BLOCK last
    sxtb16 r2, r2
    smlad r11, r4, r6, r11
    smlad r8, r2, r6, r8
    ldr r6, [r1,#8]
    smlad r9, r2, r5, r9
    ldr r3, [r0,#4]
    smlad r12, r4, r5, r12
    ldr r7, [r1,#12]
    sxtb16 r5, r3, ror #8
    smlad r10, r2, r6, r10
    .if \last
    smlad lr, r4, r6, lr
    ldr r2, [sp,#D_END]
    sxtb16 r3, r3
    ldr r4, [r1,#16]
    smlad r11, r5, r7, r11
    cmp r0, r2
    .else
    smlad lr, r4, r6, lr
    ldr r4, [r1,#16]
    sxtb16 r3, r3
    smlad r11, r5, r7, r11
    .endif
    smlad r8, r3, r7, r8
    ldr r7, [r1,#20]
    smlad r9, r3, r4, r9
    ldr r2, [r0,#8]!
    smlad r12, r5, r4, r12
    ldr r6, [r1,#24]!
    sxtb16 r4, r2, ror #8
    smlad r10, r3, r7, r10
    smlad lr, r5, r7, lr
    ldr r5, [r1,#4]
.endm

    .section .nest.itcm.nest_kernels_conv_dense, "ax", %progbits
    .global nest_kernels_conv_dense
    .type nest_kernels_conv_dense, %function
    .thumb_func
    .p2align 3
nest_kernels_conv_dense:
    push {r4-r11,lr}
    sub sp, #D_SIZE
    ldm r0!, {r1-r10}
    str r10, [sp,#D_TO_END]
    lsls r2, r2, #3
    strd r1, r2, [sp,#D_BASE]
    subs r3, #2
    strd r3, r4, [sp,#D_LAST_ROW]
    subs r5, #4
    subs r6, #4
    strd r5, r6, [sp,#D_TILES]
    strd r7, r8, [sp,#D_STEP]
    str r9, [sp,#D_ENTRY]
    ldm r0, {r4-r6}
    strd r5, r6, [sp,#D_AT_STEP]
1:  @ next pair of rows: r4
    ldrd r2, r3, [sp,#D_BASE]
    ldrd r6, r7, [sp,#D_LAST_ROW]
    str r4, [sp,#D_AT]
    mla r0, r4, r3, r2
    lsls r4, r4, #1
    add r2, r0, r3
    cmp r4, r6
    it gt                   @ a row reaches back into the pair before
    movgt r4, r6
    subs r2, #16
    add r7, r7, r4, lsl #3
    strd r0, r2, [sp,#D_WORDS]
    ldm r7, {r8-r11}
    str r4, [sp,#D_ROW]
    str r8, [sp,#D_BIAS_EVEN]
    str r9, [sp,#D_MULTIPLIER_EVEN]
    str r10, [sp,#D_BIAS_ODD]
    str r11, [sp,#D_MULTIPLIER_ODD]
    ldr r1, [sp,#D_TILES]
    .p2align 3
2:  @ next tile: r0 weights, r1 activations less 4
    ldr r5, [r1,#8]         @ loads in pairs from opposite banks
    ldr r6, [r1,#4]!
    ldr r2, [r0]
    ldr r3, [sp,#D_ENTRY]
    ldr r8, [sp,#D_BIAS_EVEN]
    ldr r11, [sp,#D_BIAS_ODD]
    sxtb16 r4, r2, ror #8
    adds r3, r3
    mov r9, r8
    mov r12, r11
    mov r10, r8
    mov lr, r11
    @ one cycle for each of these: the usual numbers of blocks to the loop's end first
    bhi.w 31f               @ 7
    bcs.w 35f               @ 3
    beq.w 37f               @ 1
    bpl.w 7f                @ none at all
    ldr r3, [sp,#D_TO_END]
    lsls r3, r3, #30
    bcs 4f
    bmi.w 36f               @ 2
    b 3f                    @ 8
4:  bmi.w 32f               @ 6
    beq.w 34f               @ 4
    b.w 33f                 @ 5
    .p2align 3
3:  NEST_DENSE_BLOCK 0
31: NEST_DENSE_BLOCK 0
32: NEST_DENSE_BLOCK 0
33: NEST_DENSE_BLOCK 0
34: NEST_DENSE_BLOCK 0
35: NEST_DENSE_BLOCK 0
36: NEST_DENSE_BLOCK 0
37: NEST_DENSE_BLOCK 1
    bne.w 3b
7:  @ the last block, and the sums of the one before it
    sxtb16 r2, r2
    smlad r11, r4, r6, r11
    smlad r8, r2, r6, r8
    ldr r6, [r1,#8]
    smlad r9, r2, r5, r9
    ldr r3, [r0,#4]
    smlad r12, r4, r5, r12
    ldr r7, [r1,#12]
    sxtb16 r5, r3, ror #8
    smlad r10, r2, r6, r10
    smlad lr, r4, r6, lr
    ldr r4, [r1,#16]
    sxtb16 r3, r3
    smlad r11, r5, r7, r11
    smlad r8, r3, r7, r8
    ldr r7, [r1,#20]
    smlad r9, r3, r4, r9
    ldr r2, [sp,#D_MULTIPLIER_EVEN]
    smlad r12, r5, r4, r12
    ldr r6, [sp,#D_ZERO]
    smlad r10, r3, r7, r10
    ldr r4, [r1,#24]!
    smlad lr, r5, r7, lr
    ldr r5, [sp,#D_MULTIPLIER_ODD]
    @ sums to outputs: r2 and r5 multipliers, r6 zero point, r4 output of row 0
    smmlar r8, r8, r2, r6
    ldr r0, [sp,#D_TILES_END]
    smmlar r9, r9, r2, r6
    ldr r7, [sp,#D_STEP]
    smmlar r11, r11, r5, r6
    cmp r1, r0
    ssat r8, #8, r8
    smmlar r12, r12, r5, r6
    ssat r9, #8, r9
    smmlar r10, r10, r2, r6
    ssat r11, #8, r11
    smmlar lr, lr, r5, r6
    ssat r12, #8, r12
    ldr r3, [sp,#D_ROW]
    ssat r10, #8, r10
    ldr r0, [sp,#D_WORDS]
    ssat lr, #8, lr
    add r4, r3
    bfi r8, r11, #8, #8
    strh r8, [r4]
    bfi r9, r12, #8, #8
    strh r9, [r4,r7]
    bfi r10, lr, #8, #8
    strh r10, [r4,r7,lsl #1]
    bne.w 2b
    ldrd r4, r5, [sp,#D_AT]
    ldr r6, [sp,#D_AT_END]
    add r4, r5
    cmp r4, r6
    bne.w 1b
    add sp, #D_SIZE
    pop {r4-r11,pc}
    .size nest_kernels_conv_dense, . - nest_kernels_conv_dense
