@ Dot products of int8 vectors.
@
@ i32 nest_kernels_dot(const i8 *a, const i8 *b, size_t n): any n, any alignment; reads n bytes of
@ each.

    .syntax unified
    .thumb

    .section .nest.itcm.nest_kernels_dot, "ax", %progbits
    .global nest_kernels_dot
    .type nest_kernels_dot, %function
    .thumb_func
    .p2align 4
nest_kernels_dot:
    push {r4-r9,lr}
    movs r3, #0
    movs r12, #0
    bic lr, r2, #3
    and r2, r2, #3          @ elements of the tail
    adds lr, r0, lr         @ end of the fours
    cmp r0, lr
    beq 2f
    .p2align 3
1:  ldr r4, [r0], #4
    ldr r5, [r1], #4
    sxtb16 r6, r4
    cmp r0, lr
    sxtb16 r7, r5
    sxtb16 r8, r4, ror #8
    smlad r3, r6, r7, r3
    sxtb16 r9, r5, ror #8
    smlad r12, r8, r9, r12
    bne 1b
2:  cbz r2, 4f
3:  ldrsb r4, [r0], #1
    ldrsb r5, [r1], #1
    subs r2, #1
    mla r3, r4, r5, r3
    bne 3b
4:  add r0, r3, r12
    pop {r4-r9,pc}
    .size nest_kernels_dot, . - nest_kernels_dot

@ i32 nest_kernels_dot_nested(const u32 *words, const u32 *end, const i8 *vector): the words of a
@ nested stream's row (see `NestedStream`) over a vector.

    .section .nest.itcm.nest_kernels_dot_nested, "ax", %progbits
    .global nest_kernels_dot_nested
    .type nest_kernels_dot_nested, %function
    .thumb_func
    .p2align 4
nest_kernels_dot_nested:
    push {r4-r8,lr}
    movs r3, #0
    movs r12, #0
    cmp r0, r1
    beq 2f
    .p2align 3
1:  ldr r4, [r0], #4
    sbfx r5, r4, #2, #6     @ the first entry's delta, in columns
    sbfx r6, r4, #18, #6
    add r2, r5
    ldrsb r5, [r2]
    add r2, r6
    sxtb r7, r4, ror #8
    ldrsb r6, [r2]
    asr r8, r4, #24
    mla r3, r5, r7, r3
    cmp r0, r1
    mla r12, r6, r8, r12
    bne 1b
2:  add r0, r3, r12
    pop {r4-r8,pc}
    .size nest_kernels_dot_nested, . - nest_kernels_dot_nested
