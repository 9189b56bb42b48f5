@ void nest_kernels_add(const i8 *a, const i8 *b, i8 *to, size_t n, const struct { u32 factors;
@ i32 bias; u32 shift } *): to[i] = ssat8((a[i] * fa + b[i] * fb + bias) >> shift), the factors
@ packed [fa, fb]. `to` may be `a`. Reads and writes n elements; any n, any alignment.

    .syntax unified
    .thumb

    .section .nest.itcm.nest_kernels_add, "ax", %progbits
    .global nest_kernels_add
    .type nest_kernels_add, %function
    .thumb_func
    .p2align 4
nest_kernels_add:
    push {r4-r11,lr}
    ldr r12, [sp,#36]
    ldm r12, {r4,r5,r6}     @ factors, bias, shift
    and lr, r3, #3          @ elements of the tail
    bics r3, r3, #3
    beq 2f
    add r3, r0, r3          @ end of the fours
    .p2align 3
1:  ldr r8, [r0], #4        @ a3 a2 a1 a0
    ldr r9, [r1], #4
    sxtb16 r10, r8          @ a2 a0
    sxtb16 r8, r8, ror #8   @ a3 a1
    sxtb16 r11, r9
    sxtb16 r9, r9, ror #8
    pkhbt r12, r10, r11, lsl #16    @ b0 a0
    pkhtb r10, r11, r10, asr #16    @ b2 a2
    smlad r12, r12, r4, r5
    pkhbt r11, r8, r9, lsl #16      @ b1 a1
    smlad r10, r10, r4, r5
    pkhtb r8, r9, r8, asr #16       @ b3 a3
    smlad r11, r11, r4, r5
    asr r12, r12, r6
    smlad r8, r8, r4, r5
    asr r10, r10, r6
    ssat r12, #8, r12
    asr r11, r11, r6
    ssat r10, #8, r10
    asr r8, r8, r6
    ssat r11, #8, r11
    strb r12, [r2], #4
    ssat r8, #8, r8
    strb r11, [r2,#-3]
    strb r10, [r2,#-2]
    strb r8, [r2,#-1]
    cmp r0, r3
    bne 1b
2:  cmp lr, #0
    beq 4f
3:  ldrsb r8, [r0], #1
    ldrsb r9, [r1], #1
    pkhbt r12, r8, r9, lsl #16
    smlad r12, r12, r4, r5
    subs lr, #1
    asr r12, r12, r6
    ssat r12, #8, r12
    strb r12, [r2], #1
    bne 3b
4:  pop {r4-r11,pc}
    .size nest_kernels_add, . - nest_kernels_add

@ void nest_kernels_clamp(const i8 *from, i8 *to, size_t n, u32 low, u32 high): to[i] = max(low,
@ min(high, from[i])), the bounds repeated in all 4 bytes. `to` may be `from`.

    .section .nest.itcm.nest_kernels_clamp, "ax", %progbits
    .global nest_kernels_clamp
    .type nest_kernels_clamp, %function
    .thumb_func
    .p2align 4
nest_kernels_clamp:
    push {r4-r6,lr}
    ldr r12, [sp,#16]
    and lr, r2, #3          @ elements of the tail
    bics r2, r2, #3
    beq 2f
    add r2, r0, r2          @ end of the fours
    .p2align 3
1:  ldr r4, [r0], #4
    ssub8 r5, r12, r4
    sel r4, r4, r12         @ x where high >= x
    ssub8 r5, r4, r3
    sel r4, r4, r3          @ x where x >= low
    str r4, [r1], #4
    cmp r0, r2
    bne 1b
2:  cmp lr, #0
    beq 4f
3:  ldrb r4, [r0], #1
    subs lr, #1
    ssub8 r5, r12, r4
    sel r4, r4, r12
    ssub8 r5, r4, r3
    sel r4, r4, r3
    strb r4, [r1], #1
    bne 3b
4:  pop {r4-r6,pc}
    .size nest_kernels_clamp, . - nest_kernels_clamp

@ void nest_kernels_max(i8 *to, const i8 *from, size_t n): to[i] = max(to[i], from[i]).

    .section .nest.itcm.nest_kernels_max, "ax", %progbits
    .global nest_kernels_max
    .type nest_kernels_max, %function
    .thumb_func
    .p2align 4
nest_kernels_max:
    push {r4,lr}
    and lr, r2, #3          @ elements of the tail
    bics r2, r2, #3
    beq 2f
    add r2, r0, r2          @ end of the fours
    .p2align 3
1:  ldr r3, [r0]
    ldr r4, [r1], #4
    ssub8 r12, r3, r4
    sel r3, r3, r4
    str r3, [r0], #4
    cmp r0, r2
    bne 1b
2:  cmp lr, #0
    beq 4f
3:  ldrb r3, [r0]
    ldrb r4, [r1], #1
    subs lr, #1
    ssub8 r12, r3, r4
    sel r3, r3, r4
    strb r3, [r0], #1
    bne 3b
4:  pop {r4,pc}
    .size nest_kernels_max, . - nest_kernels_max
