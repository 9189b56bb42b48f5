@ All three take a pointer to struct { const i8 *from; i8 *to; size_t rows; size_t from_row;
@ size_t to_row; size_t count; size_t from_step; size_t to_step; const i8 *table; size_t blocks;
@ size_t from_block; size_t to_block } and copy `blocks` blocks of `rows` rows of `count` elements:
@ element i of row r of block b from `from[b * from_block + r * from_row + i * from_step]` to
@ `to[b * to_block + r * to_row + i * to_step]`. All three counts are 1 or more. Any alignment; nothing
@ else is read or written, and the maps do not overlap (or are one, with equal steps). Of the struct,
@ `from`, `to` and `blocks` are spoilt.

    .syntax unified
    .thumb

@ The next block, from \start on, or the end. r1 from, r2 to, r3 rows; the struct's address is on top
@ of the stack. Spoils r0, r9, r10 and r11.
.macro NEST_MOVE_NEXT start
    ldr r0, [sp]
    ldrd r9, r10, [r0,#36]      @ blocks, from_block
    subs r9, r9, #1
    beq 9f
    ldr r11, [r0,#44]           @ to_block
    str r9, [r0,#36]
    ldm r0, {r1-r3}
    add r1, r1, r10
    add r2, r2, r11
    stm r0, {r1,r2}
    b \start
9:  pop {r0,r4-r11,pc}
.endm

@ Steps of 1: whole words, where both sides may lie at any byte.
    .section .nest.itcm.nest_kernels_move_runs, "ax", %progbits
    .global nest_kernels_move_runs
    .type nest_kernels_move_runs, %function
    .thumb_func
    .p2align 3
nest_kernels_move_runs:
    push {r0,r4-r11,lr}
    ldm r0, {r1-r6}             @ from, to, rows, from_row, to_row, count
1:  mov r7, r1
    mov r8, r2
    subs r9, r6, #16
    blo 3f
2:  ldr r10, [r7], #4
    ldr r11, [r7], #4
    ldr r12, [r7], #4
    ldr lr, [r7], #4
    subs r9, r9, #16
    str r10, [r8], #4
    str r11, [r8], #4
    str r12, [r8], #4
    str lr, [r8], #4
    bhs 2b
3:  adds r9, r9, #12            @ elements left - 4
    bmi 5f
4:  ldr r10, [r7], #4
    subs r9, r9, #4
    str r10, [r8], #4
    bpl 4b
5:  adds r9, r9, #4
    beq 7f
6:  ldrb r10, [r7], #1
    subs r9, r9, #1
    strb r10, [r8], #1
    bne 6b
7:  add r1, r1, r4
    subs r3, r3, #1
    add r2, r2, r5
    bne 1b
    NEST_MOVE_NEXT 1b
    .size nest_kernels_move_runs, .-nest_kernels_move_runs

@ Any steps.
    .section .nest.itcm.nest_kernels_move_strided, "ax", %progbits
    .global nest_kernels_move_strided
    .type nest_kernels_move_strided, %function
    .thumb_func
    .p2align 3
nest_kernels_move_strided:
    push {r0,r4-r11,lr}
    ldm r0, {r1-r8}             @ from, to, rows, from_row, to_row, count, from_step, to_step
1:  mov r9, r1
    mov r10, r2
    subs r11, r6, #4
    blo 3f
2:  ldrb r0, [r9]
    add r9, r9, r7
    ldrb r12, [r9]
    add r9, r9, r7
    ldrb lr, [r9]
    strb r0, [r10]
    add r9, r9, r7
    add r10, r10, r8
    ldrb r0, [r9]
    strb r12, [r10]
    add r10, r10, r8
    add r9, r9, r7
    strb lr, [r10]
    add r10, r10, r8
    subs r11, r11, #4
    strb r0, [r10]
    add r10, r10, r8
    bhs 2b
3:  adds r11, r11, #4
    beq 5f
4:  ldrb r0, [r9]
    add r9, r9, r7
    subs r11, r11, #1
    strb r0, [r10]
    add r10, r10, r8
    bne 4b
5:  add r1, r1, r4
    subs r3, r3, #1
    add r2, r2, r5
    bne 1b
    NEST_MOVE_NEXT 1b
    .size nest_kernels_move_strided, .-nest_kernels_move_strided

@ Any steps, and every element's entry of the table, at the place of its bits read as an unsigned byte.
    .section .nest.itcm.nest_kernels_move_table, "ax", %progbits
    .global nest_kernels_move_table
    .type nest_kernels_move_table, %function
    .thumb_func
    .p2align 3
nest_kernels_move_table:
    push {r0,r4-r11,lr}
    ldm r0, {r1-r8,lr}          @ from, to, rows, from_row, to_row, count, from_step, to_step, table
1:  mov r9, r1
    mov r10, r2
    subs r11, r6, #2
    blo 3f
2:  ldrb r0, [r9]
    add r9, r9, r7
    ldrb r12, [r9]
    add r9, r9, r7
    ldrb r0, [lr, r0]
    subs r11, r11, #2
    ldrb r12, [lr, r12]
    strb r0, [r10]
    add r10, r10, r8
    strb r12, [r10]
    add r10, r10, r8
    bhs 2b
3:  adds r11, r11, #2
    beq 5f
    ldrb r0, [r9]
    ldrb r0, [lr, r0]
    strb r0, [r10]
5:  add r1, r1, r4
    subs r3, r3, #1
    add r2, r2, r5
    bne 1b
    NEST_MOVE_NEXT 1b
    .size nest_kernels_move_table, .-nest_kernels_move_table
