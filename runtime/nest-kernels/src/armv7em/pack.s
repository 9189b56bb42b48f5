@ Packing of pixel pairs: a[i] + (b[i] << 23), see conv_nested.s.
@
@ u32 *nest_kernels_pack_plane(const i8 *a, const i8 *b, size_t n, u32 *to): words side by side;
@ nest_kernels_pack_pairs leaves a word's space between them. Both return where the next word goes.
@ Reads exactly n bytes of each; any n, any alignment of a and b.

    .syntax unified
    .thumb

.macro NEST_PACK name, step
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    push {r4-r7}
    lsrs r2, r2, #1
    bcc 1f
    ldrsb r4, [r0], #1      @ the odd one first
    ldrsb r5, [r1], #1
    add r12, r4, r5, lsl #23
    str r12, [r3], #\step
1:  cmp r2, #0
    beq 4f
    add r2, r0, r2, lsl #1  @ end of a
    ldrsb r4, [r0], #2
    ldrsb r5, [r1], #2
    ldrsb r6, [r0,#-1]
    ldrsb r7, [r1,#-1]
    cmp r0, r2
    beq 3f
    .p2align 3
2:  add r12, r4, r5, lsl #23
    ldrsb.w r4, [r0], #2
    str.w r12, [r3], #2*\step
    ldrsb.w r5, [r1], #2
    add r12, r6, r7, lsl #23
    ldrsb r6, [r0,#-1]
    str r12, [r3,#-\step]
    ldrsb r7, [r1,#-1]
    cmp r0, r2
    bne 2b
3:  add r12, r4, r5, lsl #23
    add r6, r6, r7, lsl #23
    str r12, [r3], #2*\step
    str r6, [r3,#-\step]
4:  mov r0, r3
    pop {r4-r7}
    bx lr
    .size \name, . - \name
.endm

    NEST_PACK nest_kernels_pack_plane, 4
    NEST_PACK nest_kernels_pack_pairs, 8
