@ Packing of pixel pairs: words a[i] + (b[i] << 23), see conv_nested.s.
@
@ void nest_kernels_pack_plane(const i8 *a, const i8 *b, size_t n, u32 *to, size_t rows,
@                              size_t a_step, size_t b_step, size_t to_step)
@
@ packs `rows` rows of n words each; the steps, in bytes, lead from the start of a row to that of the
@ next. Reads exactly n bytes of each row; n > 0, rows > 0, any alignment of a and b.

    .syntax unified
    .thumb

    .section .nest.itcm.nest_kernels_pack_plane, "ax", %progbits
    .global nest_kernels_pack_plane
    .type nest_kernels_pack_plane, %function
    .thumb_func
    .p2align 4
nest_kernels_pack_plane:
    push {r4-r11,lr}
    ldrd r8, r9, [sp,#36]
    ldrd r10, r11, [sp,#44]
    @ From the end of a row to the start of the next.
    sub r9, r9, r2
    sub r10, r10, r2
    sub r11, r11, r2, lsl #2
    ands r4, r2, #15
    beq 8f
    mov lr, r2
1:  ands r4, lr, #3
    bic r2, lr, #3
    beq 3f
2:  ldrsb r5, [r0], #1      @ the odd ones first
    ldrsb r6, [r1], #1
    subs r4, #1
    add r12, r5, r6, lsl #23
    str r12, [r3], #4
    bne 2b
    cmp r2, #0
    beq 6f
3:  add r2, r0              @ end of a
    ldrsb r4, [r0], #4
    ldrsb r5, [r1], #4
    ldrsb r6, [r0,#-3]
    ldrsb r7, [r1,#-3]
    add r12, r4, r5, lsl #23
    ldrsb r4, [r0,#-2]
    str r12, [r3], #16
    ldrsb r5, [r1,#-2]
    cmp r0, r2
    beq 5f
    .p2align 3
4:  add r12, r6, r7, lsl #23
    ldrsb r6, [r0,#-1]
    str r12, [r3,#-12]
    ldrsb r7, [r1,#-1]
    add r12, r4, r5, lsl #23
    ldrsb.w r4, [r0], #4
    str r12, [r3,#-8]
    ldrsb.w r5, [r1], #4
    add r12, r6, r7, lsl #23
    ldrsb r6, [r0,#-3]
    str r12, [r3,#-4]
    ldrsb r7, [r1,#-3]
    add r12, r4, r5, lsl #23
    ldrsb r4, [r0,#-2]
    str r12, [r3], #16
    ldrsb r5, [r1,#-2]
    cmp r0, r2
    bne 4b
5:  add r12, r6, r7, lsl #23
    ldrsb r6, [r0,#-1]
    str r12, [r3,#-12]
    ldrsb r7, [r1,#-1]
    add r12, r4, r5, lsl #23
    str r12, [r3,#-8]
    add r12, r6, r7, lsl #23
    str r12, [r3,#-4]
6:  subs r8, #1
    add r0, r9
    add r1, r10
    add r3, r11
    bne 1b
    pop {r4-r11,pc}
8:  @ rows of whole sixteens, all in one loop
    push {r2}
    lsr r4, r2, #4
    mul r8, r8, r4
    .p2align 3
9:
    ldrsb r5, [r1], #16
    ldrsb r4, [r0], #16
    ldrsb r7, [r1,#-15]
    ldrsb r6, [r0,#-15]
    ldrsb lr, [r1,#-14]
    add r4, r4, r5, lsl #23
    str r4, [r3], #64
    ldrsb r12, [r0,#-14]
    add r6, r6, r7, lsl #23
    ldrsb r7, [r1,#-12]
    ldrsb r5, [r1,#-13]
    str r6, [r3,#-60]
    ldrsb r4, [r0,#-13]
    ldrsb r6, [r0,#-12]
    add r12, r12, lr, lsl #23
    str r12, [r3,#-56]
    add r4, r4, r5, lsl #23
    ldrsb lr, [r1,#-11]
    ldrsb r12, [r0,#-11]
    ldrsb r5, [r1,#-10]
    add r6, r6, r7, lsl #23
    str r4, [r3,#-52]
    ldrsb r4, [r0,#-10]
    add r12, r12, lr, lsl #23
    ldrsb r7, [r1,#-9]
    add r4, r4, r5, lsl #23
    str r12, [r3,#-44]
    ldrsb lr, [r1,#-8]
    str r6, [r3,#-48]
    ldrsb r5, [r1,#-7]
    ldrsb r12, [r0,#-8]
    ldrsb r6, [r0,#-9]
    str r4, [r3,#-40]
    add r12, r12, lr, lsl #23
    str r12, [r3,#-32]
    add r6, r6, r7, lsl #23
    ldrsb r7, [r1,#-6]
    ldrsb lr, [r1,#-5]
    ldrsb r4, [r0,#-7]
    str r6, [r3,#-36]
    ldrsb r12, [r0,#-5]
    ldrsb r6, [r0,#-6]
    add r4, r4, r5, lsl #23
    ldrsb r5, [r1,#-4]
    str r4, [r3,#-28]
    add r12, r12, lr, lsl #23
    ldrsb r4, [r0,#-4]
    str r12, [r3,#-20]
    ldrsb r12, [r0,#-2]
    ldrsb lr, [r1,#-2]
    add r4, r4, r5, lsl #23
    add r6, r6, r7, lsl #23
    ldrsb r5, [r1,#-1]
    subs r2, r2, #16
    ldrsb r7, [r1,#-3]
    str r4, [r3,#-16]
    add r12, r12, lr, lsl #23
    str r6, [r3,#-24]
    ldrsb r6, [r0,#-3]
    str r12, [r3,#-8]
    ldrsb r4, [r0,#-1]
    add r6, r6, r7, lsl #23
    str r6, [r3,#-12]
    add r4, r4, r5, lsl #23
    str r4, [r3,#-4]
    itttt eq                @ the row's end
    addeq r0, r9
    addeq r1, r10
    ldreq r2, [sp]
    addeq r3, r11
    subs r8, #1
    bne 9b
    add sp, #4
    pop {r4-r11,pc}
    .size nest_kernels_pack_plane, . - nest_kernels_pack_plane
