@ u64 nest_kernels_sum4(const i8 *from, size_t step, size_t n): the sums of 4 neighbouring channels
@ over n >= 1 pixels, `step` bytes apart, as 4 signed 16-bit halves: r0 = [c2 : c0], r1 = [c3 : c1].
@ n <= 255, so that no half overflows.

    .syntax unified
    .thumb

    .section .nest.itcm.nest_kernels_sum4, "ax", %progbits
    .global nest_kernels_sum4
    .type nest_kernels_sum4, %function
    .thumb_func
    .p2align 4
nest_kernels_sum4:
    push {r4,lr}
    movs r3, #0
    movs r12, #0
    .p2align 3
1:  ldr r4, [r0]
    add r0, r1
    subs r2, #1
    sxtab16 r3, r3, r4
    sxtab16 r12, r12, r4, ror #8
    bne 1b
    mov r0, r3
    mov r1, r12
    pop {r4,pc}
    .size nest_kernels_sum4, . - nest_kernels_sum4
