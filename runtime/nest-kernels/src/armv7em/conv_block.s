@ Convolution over blocks of 1x4 weights: rows of blocks over tiles of four pixels, SMLAD on pairs of
@ int16.
@
@ void nest_kernels_conv_block(const BlockPass *pass)     (conv_block.rs)
@    0 words      four weights each, see `BlockStream`
@    4 steps      bytes: blocks from one to the next
@    8 active     blocks of each row at this level, u16
@   12 stored     blocks of each row at the densest level, u16
@   16 rows       > 0
@   20 requant    8 bytes a row: bias, multiplier
@   24 tiles      8 bytes each: activations, channel 0 of the first pixel's output
@   28 tiles_end  > tiles
@   32 step       bytes from one output pixel to the next
@   36 zero       output zero point
@   40 row        0
@
@ Activations are 32 bytes for each block of 4 columns: for each pixel columns 0 and 2 as int16, then
@ columns 1 and 3. A block takes 2 SXTB16, 8 SMLAD, 8 loads of activations, one of weights, one of the
@ step and an addition. The last block of a row is peeled off: no load leaves the streams.

    .syntax unified
    .thumb

    .set B_WORDS, 0
    .set B_STEPS, 4
    .set B_ACTIVE, 8
    .set B_STORED, 12
    .set B_ROWS, 16         @ rows left
    .set B_REQUANT, 20
    .set B_TILES, 24
    .set B_TILES_END, 28
    .set B_STEP, 32
    .set B_ZERO, 36
    .set B_ROW, 40
    .set B_CURSOR, 44       @ next tile
    .set B_END, 48          @ end of the row's steps
    .set B_BIAS, 52
    .set B_FACTOR, 56
    .set B_SIZE, 60

@ A block: r8 its weights, r3 its activations, of which the first two words are in r12 and lr; r4-r7
@ sums. Unless it is the last, looks ahead: r0 weights, r1 steps.
.macro NEST_BLOCK last=0
    sxtb16 r9, r8
    ldr r11, [r3,#8]
    sxtb16 r10, r8, ror #8
    .if \last
    smlad r4, r9, r12, r4
    ldr r12, [r3,#12]
    smlad r4, r10, lr, r4
    ldr lr, [r3,#16]
    smlad r5, r9, r11, r5
    ldr r11, [r3,#20]
    smlad r5, r10, r12, r5
    ldr r12, [r3,#24]
    smlad r6, r9, lr, r6
    ldr lr, [r3,#28]
    smlad r6, r10, r11, r6
    smlad r7, r9, r12, r7
    smlad r7, r10, lr, r7
    .else
    ldr r8, [r3,#12]
    smlad r4, r9, r12, r4
    ldr r12, [r3,#16]
    smlad r4, r10, lr, r4
    ldr lr, [r3,#20]
    smlad r5, r9, r11, r5
    ldrsb r11, [r1], #1
    smlad r5, r10, r8, r5
    ldr r8, [r3,#24]
    smlad r6, r9, r12, r6
    ldr r12, [r3,#28]
    smlad r6, r10, lr, r6
    add r3, r3, r11, lsl #5
    smlad r7, r9, r8, r7
    ldr r8, [r0], #4
    smlad r7, r10, r12, r7
    ldr r12, [r3]
    cmp r1, r2
    ldr lr, [r3,#4]
    .endif
.endm

    .section .nest.itcm.nest_kernels_conv_block, "ax", %progbits
    .global nest_kernels_conv_block
    .type nest_kernels_conv_block, %function
    .thumb_func
    .p2align 4
nest_kernels_conv_block:
    push {r4-r11,lr}
    sub sp, #B_SIZE
    ldm r0, {r1-r11}
    stm sp, {r1-r11}
1:  @ next row
    ldr r4, [sp,#B_REQUANT]
    ldrd r0, r1, [sp,#B_WORDS]
    ldr r2, [sp,#B_ACTIVE]
    ldrd r5, r6, [r4], #8
    ldrh r3, [r2], #2
    str r4, [sp,#B_REQUANT]
    str r2, [sp,#B_ACTIVE]
    add r3, r1, r3
    str r5, [sp,#B_BIAS]
    ldr r2, [sp,#B_TILES]
    str r6, [sp,#B_FACTOR]
    str r3, [sp,#B_END]
2:  @ next tile: r0 words, r1 steps, r2 cursor, r3 end of steps
    ldr r12, [r2], #8
    ldr r4, [sp,#B_BIAS]
    cmp r1, r3
    str r2, [sp,#B_CURSOR]
    mov r2, r3
    mov r5, r4
    mov r6, r4
    mov r7, r4
    beq 5f
    ldrsb r11, [r1], #1
    ldr r8, [r0], #4
    add r3, r12, r11, lsl #5
    cmp r1, r2
    ldr r12, [r3]
    ldr lr, [r3,#4]
    beq 4f
    .p2align 3
3:  NEST_BLOCK
    bne 3b
4:  NEST_BLOCK 1
5:  @ requantise 4 pixels
    ldr r12, [sp,#B_CURSOR]
    ldrd r8, r9, [sp,#B_STEP]
    ldr r10, [sp,#B_FACTOR]
    ldr r3, [r12,#-4]
    ldr r11, [sp,#B_ROW]
    smmlar r4, r4, r10, r9
    add r3, r11
    smmlar r5, r5, r10, r9
    ldrd r0, r1, [sp,#B_WORDS]
    smmlar r6, r6, r10, r9
    ssat r4, #8, r4
    smmlar r7, r7, r10, r9
    ssat r5, #8, r5
    strb r4, [r3]
    ldr r2, [sp,#B_TILES_END]
    strb r5, [r3,r8]
    ssat r6, #8, r6
    add r3, r3, r8, lsl #1
    ssat r7, #8, r7
    cmp r12, r2
    strb r6, [r3]
    strb r7, [r3,r8]
    mov r2, r12
    ldr r3, [sp,#B_END]
    bne 2b
    ldrd r4, r5, [sp,#B_STORED]
    adds r11, #1
    ldrh r3, [r4], #2
    str r11, [sp,#B_ROW]
    add r0, r0, r3, lsl #2
    add r1, r3
    subs r5, #1
    strd r0, r1, [sp,#B_WORDS]
    strd r4, r5, [sp,#B_STORED]
    bne 1b
    add sp, #B_SIZE
    pop {r4-r11,pc}
    .size nest_kernels_conv_block, . - nest_kernels_conv_block

@ void nest_kernels_pack_blocks(const i8 *from, size_t words, u32 *to)
@
@ expands words > 0 words of int8 to two words each, 32 bytes apart; any alignment of from.

    .section .nest.itcm.nest_kernels_pack_blocks, "ax", %progbits
    .global nest_kernels_pack_blocks
    .type nest_kernels_pack_blocks, %function
    .thumb_func
    .p2align 4
nest_kernels_pack_blocks:
    push {r4-r7}
    lsrs r1, #1
    bcc 1f
    ldr r3, [r0], #4        @ an odd one first
    sxtb16 r4, r3
    sxtb16 r5, r3, ror #8
    strd r4, r5, [r2], #32
    beq 2f
    .p2align 3
1:  ldr r3, [r0]
    ldr r12, [r0,#4]
    sxtb16 r4, r3
    subs r1, #1
    sxtb16 r5, r3, ror #8
    add r0, #8
    sxtb16 r6, r12
    strd r4, r5, [r2]
    sxtb16 r7, r12, ror #8
    strd r6, r7, [r2,#32]
    add r2, #64
    bne 1b
2:  pop {r4-r7}
    bx lr
    .size nest_kernels_pack_blocks, . - nest_kernels_pack_blocks
