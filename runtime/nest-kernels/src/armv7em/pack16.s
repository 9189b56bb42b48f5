@ Packing for conv_dense.s: bytes to pairs of int16.
@
@ void nest_kernels_pack16(const i8 *from, size_t words, u32 *to, size_t rows,
@                          size_t from_step, size_t to_step)
@
@ expands `rows` rows of `words` words: bytes 0 and 2 of a word go to `to`, bytes 1 and 3 to 12 bytes
@ after it, the next word's to 24 bytes after it. The steps, in bytes, lead from the start of a row to
@ that of the next. words > 0, rows > 0; any alignment of `from`.

    .syntax unified
    .thumb

    .section .nest.itcm.nest_kernels_pack16, "ax", %progbits
    .global nest_kernels_pack16
    .type nest_kernels_pack16, %function
    .thumb_func
    .p2align 3
nest_kernels_pack16:
    push {r4-r9,r11,lr}
    ldrd r11, r12, [sp,#32]
    @ from the end of a row to the start of the next
    sub r11, r11, r1, lsl #2
    add r4, r1, r1, lsl #1
    sub r12, r12, r4, lsl #3
    mov lr, r1
1:  ands r1, lr, #3
    beq 3f
2:  ldr r4, [r0], #4        @ the odd ones first
    subs r1, #1
    sxtb16 r5, r4
    str r5, [r2], #24
    sxtb16 r4, r4, ror #8
    str r4, [r2,#-12]
    bne 2b
3:  lsrs r1, lr, #2         @ fours of words
    beq 5f
    .p2align 3
4:  ldr r4, [r0]
    ldr r5, [r0,#4]
    ldr r6, [r0,#8]
    ldr r7, [r0,#12]
    sxtb16 r8, r4
    adds r0, #16
    sxtb16 r4, r4, ror #8
    str r8, [r2]
    sxtb16 r9, r5
    str r4, [r2,#12]
    sxtb16 r5, r5, ror #8
    str r9, [r2,#24]
    sxtb16 r8, r6
    str r5, [r2,#36]
    sxtb16 r6, r6, ror #8
    str r8, [r2,#48]
    sxtb16 r9, r7
    str r6, [r2,#60]
    sxtb16 r7, r7, ror #8
    str r9, [r2,#72]
    subs r1, #1
    str r7, [r2,#84]
    add r2, r2, #96
    bne 4b
5:  subs r3, #1
    add r0, r11
    add r2, r12
    bne 1b
    pop {r4-r9,r11,pc}
    .size nest_kernels_pack16, . - nest_kernels_pack16

@ void nest_kernels_pack16_tiles(const Run *run)         (pack16.rs)
@
@ the same for tiles that follow one another in input and output: the three pixels of each,
@ `pixel_step` bytes apart in the input. Fields: from, words, to, rows, from_step, to_step, pixel_step,
@ tiles, and the bytes from a tile to the next in input and output; words, rows, tiles > 0.

@ Extends a word of each pixel, in the given registers, and writes them at r2 + \at.
.macro NEST_PACK16_WORD a, b, c, at
    sxtb16 r11, \a
    str r11, [r2,#\at]
    sxtb16 r11, \b
    str r11, [r2,#\at+4]
    sxtb16 r11, \c
    str r11, [r2,#\at+8]
    sxtb16 \a, \a, ror #8
    str \a, [r2,#\at+12]
    sxtb16 \b, \b, ror #8
    str \b, [r2,#\at+16]
    sxtb16 \c, \c, ror #8
    str \c, [r2,#\at+20]
.endm

    .section .nest.itcm.nest_kernels_pack16_tiles, "ax", %progbits
    .global nest_kernels_pack16_tiles
    .type nest_kernels_pack16_tiles, %function
    .thumb_func
    .p2align 3
nest_kernels_pack16_tiles:
    push {r4-r11,lr}
    sub sp, #28             @ tiles, rows, from the end of a tile to the next in input and output,
    ldm r0, {r0-r9}         @ rows to do, from the end of a row to the next in the output
    mov lr, r1
    strd r7, r3, [sp]
    mls r8, r3, r4, r8
    mls r9, r3, r5, r9
    strd r8, r9, [sp,#8]
    str r3, [sp,#16]
    sub r10, r4, r1, lsl #2 @ from the end of a row to the next in the input
    add r4, r1, r1, lsl #1
    sub r5, r5, r4, lsl #3
    str r5, [sp,#20]
    add r3, r0, r6          @ r0, r3, r12 the pixels
    add r12, r3, r6
1:  lsrs r1, lr, #1         @ pairs of words
    bcc 2f
    ldr r4, [r0], #4
    ldr r5, [r3], #4
    ldr r6, [r12], #4
    NEST_PACK16_WORD r4, r5, r6, 0
    adds r2, #24
    cmp r1, #0
2:  beq 4f
    .p2align 3
3:  ldr r7, [r0,#4]         @ neighbouring words lie in opposite banks
    ldr r4, [r0], #8
    ldr r8, [r3,#4]
    ldr r5, [r3], #8
    ldr r9, [r12,#4]
    ldr r6, [r12], #8
    NEST_PACK16_WORD r4, r5, r6, 0
    NEST_PACK16_WORD r7, r8, r9, 24
    subs r1, #1
    add r2, r2, #48
    bne 3b
4:  ldrd r4, r5, [sp,#16]
    add r0, r10
    add r3, r10
    add r12, r10
    subs r4, #1
    add r2, r5
    str r4, [sp,#16]
    bne 1b
    ldrd r4, r5, [sp]
    ldrd r6, r7, [sp,#8]
    str r5, [sp,#16]
    add r0, r6
    add r3, r6
    add r12, r6
    add r2, r7
    subs r4, #1
    str r4, [sp]
    bne 1b
    add sp, #28
    pop {r4-r11,pc}
    .size nest_kernels_pack16_tiles, . - nest_kernels_pack16_tiles

@ void nest_kernels_pack16_rgb(const i8 *from, size_t line_step, u32 *to, size_t pixels,
@                              size_t pixel_step, size_t lane, size_t tile_step)
@
@ packs windows of 3 x 3 pixels of 3 channels, 27 columns: 9 bytes of each of three lines, `line_step`
@ bytes apart. Windows are `pixel_step` bytes apart. The first goes to `to`, in lane `lane` (0 to 2) of
@ its tile, tiles being `tile_step` bytes apart. pixels > 0; any alignment of `from`.

    .section .nest.itcm.nest_kernels_pack16_rgb, "ax", %progbits
    .global nest_kernels_pack16_rgb
    .type nest_kernels_pack16_rgb, %function
    .thumb_func
    .p2align 3
nest_kernels_pack16_rgb:
    push {r1,r3-r11,lr}     @ the line's step at 0, pixels at 4; arguments from 44 on
    ldr r3, [sp,#48]
    .p2align 3
1:  ldr r1, [sp]
    ldr r4, [r0]
    ldr r5, [r0,#4]
    ldrb r6, [r0,#8]
    add lr, r0, r1
    ldr r7, [lr]
    ldr r8, [lr,#4]
    ldrb r9, [lr,#8]
    add lr, r1
    ldr r10, [lr]
    ldr r11, [lr,#4]
    ldrb lr, [lr,#8]
    @ the bytes one after the other: r4, r5, r6, r7, r8, r10, r11
    sxtb16 r12, r4
    orr r6, r6, r7, lsl #8
    str r12, [r2]
    sxtb16 r4, r4, ror #8
    lsrs r7, r7, #24
    str r4, [r2,#12]
    sxtb16 r12, r5
    orr r7, r7, r8, lsl #8
    str r12, [r2,#24]
    sxtb16 r5, r5, ror #8
    lsr r8, r8, #24
    str r5, [r2,#36]
    sxtb16 r12, r6
    orr r8, r8, r9, lsl #8
    str r12, [r2,#48]
    sxtb16 r6, r6, ror #8
    orr r8, r8, r10, lsl #16
    str r6, [r2,#60]
    sxtb16 r12, r7
    lsr r10, r10, #16
    str r12, [r2,#72]
    sxtb16 r7, r7, ror #8
    orr r10, r10, r11, lsl #16
    str r7, [r2,#84]
    sxtb16 r12, r8
    lsr r11, r11, #16
    str r12, [r2,#96]
    sxtb16 r8, r8, ror #8
    orr r11, r11, lr, lsl #16
    str r8, [r2,#108]
    sxtb16 r12, r10
    ldr r1, [sp,#44]
    str r12, [r2,#120]
    sxtb16 r10, r10, ror #8
    adds r3, #1
    str r10, [r2,#132]
    sxtb16 r12, r11
    cmp r3, #3
    str r12, [r2,#144]
    sxtb16 r11, r11, ror #8
    add r0, r1
    str r11, [r2,#156]
    ldr r1, [sp,#4]
    ittte eq
    moveq r3, #0
    ldreq r4, [sp,#52]
    subeq r4, #8
    movne r4, #4
    subs r1, #1
    add r2, r4
    str r1, [sp,#4]
    bne 1b
    pop {r1,r3-r11,pc}
    .size nest_kernels_pack16_rgb, . - nest_kernels_pack16_rgb

@ void nest_kernels_fill(u32 *to, size_t words, u32 value): any number of words.

    .section .nest.itcm.nest_kernels_fill, "ax", %progbits
    .global nest_kernels_fill
    .type nest_kernels_fill, %function
    .thumb_func
    .p2align 2
nest_kernels_fill:
    cbz r1, 2f
1:  str r2, [r0], #4
    subs r1, #1
    bne 1b
2:  bx lr
    .size nest_kernels_fill, . - nest_kernels_fill
