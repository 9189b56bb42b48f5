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
