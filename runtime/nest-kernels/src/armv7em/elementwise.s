@ void nest_kernels_add(const i8 *a, const i8 *b, i8 *to, size_t n, const struct { u32 factors;
@ i32 bias; u32 shift; size_t eights } *): to[i] = ssat8((a[i] * fa + b[i] * fb + bias) >> shift), the
@ factors packed [fa, fb]. `to` may be `a`. Reads and writes n elements; any n, any alignment. The
@ first 8 * eights <= n elements go fast; `eights` must be 0 if any sum, shifted, could leave 16 bits.

    .syntax unified
    .thumb

@ Fours of elements run through two stages: the sums in \p, \r, \s, \q from the inputs in \p and
@ \q, and the outputs from the sums. One four's first stage goes beside the other's second.
@ r4 factors, lr bias, r3 shift.
.macro NEST_ADD_SUMS p, q, r, s
    pkhbt \r, \p, \q, lsl #16   @ b1 b0 a1 a0
    pkhtb \q, \q, \p, asr #16   @ b3 b2 a3 a2
    sxtb16 \p, \r
    sxtb16 \r, \r, ror #8
    smlad \p, \p, r4, lr
    sxtb16 \s, \q
    smlad \r, \r, r4, lr
    sxtb16 \q, \q, ror #8
    smlad \s, \s, r4, lr
    smlad \q, \q, r4, lr
.endm

.macro NEST_ADD_OUTPUTS p, q, r, s
    asr \p, \p, r3
    asr \s, \s, r3
    asr \r, \r, r3
    asr \q, \q, r3
    pkhbt \s, \p, \s, lsl #16   @ out2 out0, 16 bits each
    pkhbt \r, \r, \q, lsl #16   @ out3 out1
    ssat16 \s, #8, \s
    ssat16 \r, #8, \r
    lsl \r, \r, #8
    sel \s, \r, \s
    str \s, [r2], #4
.endm

@ First stage of p, q, r, s, second of \pp, \qq, \rr, \ss; then loads \pp and \qq anew.
.macro NEST_ADD_BOTH p, q, r, s, pp, qq, rr, ss
    pkhbt \r, \p, \q, lsl #16
    asr \pp, \pp, r3
    pkhtb \q, \q, \p, asr #16
    asr \ss, \ss, r3
    sxtb16 \p, \r
    asr \rr, \rr, r3
    sxtb16 \r, \r, ror #8
    smlad \p, \p, r4, lr
    pkhbt \ss, \pp, \ss, lsl #16
    smlad \r, \r, r4, lr
    sxtb16 \s, \q
    ldr \pp, [r0], #4
    sxtb16 \q, \q, ror #8
    asr \qq, \qq, r3
    ssat16 \ss, #8, \ss
    smlad \s, \s, r4, lr
    pkhbt \rr, \rr, \qq, lsl #16
    smlad \q, \q, r4, lr
    ssat16 \rr, #8, \rr
    ldr \qq, [r1], #4
    lsl \rr, \rr, #8
.endm

    .section .nest.itcm.nest_kernels_add, "ax", %progbits
    .global nest_kernels_add
    .type nest_kernels_add, %function
    .thumb_func
    .p2align 4
nest_kernels_add:
    push {r3-r11,lr}
    ldr r12, [sp,#40]
    ldm r12, {r4,r5,r6,r7}  @ factors, bias, shift, eights
    cmp r7, #0
    beq 5f
    add r8, r0, r7, lsl #3  @ end of the eights
    sub r3, r3, r7, lsl #3
    push {r3,r5,r6,r8}      @ elements that remain, bias, shift, end
    mov lr, r5
    mov r3, r6
    movs r5, #0
    mov r6, #0x00ff00ff
    usub8 r5, r5, r6        @ SEL takes bytes 1 and 3 of its first operand
    ldr r5, [r0], #4
    ldr r6, [r1], #4
    ldr r9, [r0], #4
    ldr r10, [r1], #4
    cmp r0, r8
    NEST_ADD_SUMS r5, r6, r7, r8
    beq 8f
    .p2align 3
7:  NEST_ADD_BOTH r9, r10, r11, r12, r5, r6, r7, r8
    sel r8, r7, r8
    str r8, [r2], #4
    NEST_ADD_BOTH r5, r6, r7, r8, r9, r10, r11, r12
    sel r12, r11, r12
    ldr r11, [sp,#12]
    str r12, [r2], #4
    cmp r0, r11
    bne 7b
8:  NEST_ADD_OUTPUTS r5, r6, r7, r8
    NEST_ADD_SUMS r9, r10, r11, r12
    NEST_ADD_OUTPUTS r9, r10, r11, r12
    pop {r3,r5,r6,r8}
    @ The rest: fours, then one by one. r4 factors, r5 bias, r6 shift.
5:  and lr, r3, #3          @ elements of the tail
    bics r3, r3, #3
    beq 2f
    add r3, r0, r3          @ end of the fours
    .p2align 3
1:  ldr r8, [r0], #4        @ a3 a2 a1 a0
    ldr r9, [r1], #4
    pkhbt r12, r8, r9, lsl #16
    pkhtb r10, r9, r8, asr #16
    sxtb16 r8, r12
    sxtb16 r9, r12, ror #8
    smlad r8, r8, r4, r5
    sxtb16 r11, r10
    smlad r9, r9, r4, r5
    sxtb16 r10, r10, ror #8
    smlad r11, r11, r4, r5
    asr r8, r8, r6
    smlad r10, r10, r4, r5
    asr r9, r9, r6
    ssat r8, #8, r8
    asr r11, r11, r6
    ssat r9, #8, r9
    asr r10, r10, r6
    ssat r11, #8, r11
    strb r8, [r2], #4
    ssat r10, #8, r10
    strb r9, [r2,#-3]
    strb r11, [r2,#-2]
    strb r10, [r2,#-1]
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
4:  pop {r3-r11,pc}
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
