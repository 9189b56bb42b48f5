@ Nested sparse convolution: rows of weights over tiles of packed activations.
@
@ A packed word holds an element of two pixels, a0 + (a1 << 23). One SMLAL multiplies both by a
@ weight: the 64-bit sum is s0 + (s1 << 23), and s0 stays within 23 bits (signed) by the bound that
@ `NestedStream` proves, partial sums included in the wrap-around. The sum starts at
@ 2^22 + (bias << 23), so that s0 + 2^22 never borrows from s1 and s1 comes with its bias.
@
@ `args` (conv_nested.rs, `PassArgs`):
@    0 words      first word of the first row
@    4 active     words of each row at this level
@    8 stored     words of each row at the densest level
@   12 rows       > 0
@   16 requant    8 bytes a row: bias, multiplier
@   20 tiles      12 bytes each: first window, output of the first pair's two pixels; the last is
@                 there twice
@   24 tiles_end  > tiles
@   28 step       bytes from the output of a pair to that of the next
@   32 zero       output zero point
@   36 row        the first row: the channel within a pixel
@   40 count      bytes of a number of words: 1 or 2
@   44 distance   bytes from a window to the next; for 4 pixels only, the others know it
@
@ The windows of a tile's pairs lie at a fixed distance. No load leaves the row's words, the tile's
@ windows or the tables: the last word of a row is peeled off the software pipeline, which looks one
@ word ahead.

    .syntax unified
    .thumb

    @ Stack frame.
    .set F_WORDS, 0         @ first word of the next row
    .set F_ACTIVE, 4
    .set F_STORED, 8
    .set F_ROWS, 12         @ rows left
    .set F_REQUANT, 16
    .set F_TILES, 20
    .set F_TILES_END, 24
    .set F_STEP, 28
    .set F_ZERO, 32
    .set F_ROW, 36          @ row, the channel within a pixel
    .set F_COUNT, 40        @ where a count's second byte is, and what it weighs
    .set F_CURSOR, 48       @ next tile
    .set F_END, 52          @ end of the row's active words
    .set F_START, 56        @ the sum that a pair starts with, low and high
    .set F_BIAS, 64         @ bias - 2^22
    .set F_FACTOR, 68       @ multiplier
    .set F_FIRST, 72        @ the row's first word (for 8 pixels, the second)
    .set F_WORD, 76         @ what the first word holds
    .set F_ENTRY, 80        @ words before the last, rotated right by one
    .set F_NOTHING, 84      @ a word without effect, for 8 pixels
    .set F_DISTANCE, 88     @ of windows, for 4 pixels
    .set F_SIZE, 92

@ Copies the arguments.
.macro NEST_BEGIN name
    .section .nest.itcm.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
    .p2align 4
\name:
    push {r4-r11,lr}
    sub sp, #F_SIZE
    ldm r0, {r1-r12}
    stm sp, {r1-r12}
    str r12, [sp,#F_DISTANCE]
    sub r11, #1
    lsl r12, r11, #8
    strd r11, r12, [sp,#F_COUNT]
.endm

@ The next row: r0 words, r3 how many, r5 and r6 bias and multiplier, r7 and r8 the sum that a pair
@ starts with.
.macro NEST_ROW
    ldrd r9, r10, [sp,#F_COUNT]
    ldrd r0, r2, [sp,#F_WORDS]
    ldr r1, [sp,#F_STORED]
    ldr r4, [sp,#F_REQUANT]
    ldrb r3, [r2]
    ldrb r7, [r2,r9]
    ldrb r8, [r1]
    ldrb r11, [r1,r9]
    ldrd r5, r6, [r4], #8
    mla r3, r7, r10, r3
    add r2, r9
    add r1, r9
    mla r8, r11, r10, r8
    adds r2, #1
    adds r1, #1
    str r4, [sp,#F_REQUANT]
    lsl r7, r5, #23
    str r2, [sp,#F_ACTIVE]
    add r7, #0x400000
    str r1, [sp,#F_STORED]
    add r4, r0, r8, lsl #2
    asr r8, r5, #9
    str r4, [sp,#F_WORDS]
    sub r5, #0x400000
    strd r7, r8, [sp,#F_START]
    strd r5, r6, [sp,#F_BIAS]
.endm

@ After a row: the next one, or back.
.macro NEST_END name
    ldr r5, [sp,#F_ROW]
    ldr r4, [sp,#F_ROWS]
    adds r5, #1
    subs r4, #1
    str r5, [sp,#F_ROW]
    str r4, [sp,#F_ROWS]
    bne.w 1b
    add sp, #F_SIZE
    pop {r4-r11,pc}
    .size \name, . - \name
.endm

@ For tiles of 4 and of 2 pixels: copies the arguments and starts the first row.
.macro NEST_ENTER name
    NEST_BEGIN \name
1:  @ next row
    NEST_ROW
    ldr r2, [sp,#F_TILES]
    add r3, r0, r3, lsl #2
    str r0, [sp,#F_FIRST]
    str r3, [sp,#F_END]
.endm

@ After a tile: the next tile, the next row, or back.
.macro NEST_LEAVE name
    ldr r2, [sp,#F_CURSOR]
    ldr r1, [sp,#F_TILES_END]
    ldr r0, [sp,#F_FIRST]
    ldr r3, [sp,#F_END]
    cmp r2, r1
    bne.w 2b
    NEST_END \name
.endm

@ Requantises, in place, the pair of sums \lo, \hi: r0 bias, r1 multiplier, r12 output zero point.
.macro NEST_REQUANT lo, hi
    lsl \hi, \hi, #9
    orr \hi, \hi, \lo, lsr #23
    ubfx \lo, \lo, #0, #23
    smmlar \hi, \hi, r1, r12
    add \lo, r0
    smmlar \lo, \lo, r1, r12
    ssat \hi, #8, \hi
    ssat \lo, #8, \lo
.endm

@ What requantisation needs: r0 bias, r1 multiplier, r12 output zero point, r2 and r3 the outputs of
@ the first pair.
.macro NEST_REQUANT_ENTER
    ldr r12, [sp,#F_CURSOR]
    ldr lr, [sp,#F_ROW]
    ldrd r0, r1, [sp,#F_BIAS]
    ldr r2, [r12,#-8]
    ldr r3, [r12,#-4]
    ldr r12, [sp,#F_ZERO]
    add r2, lr
    add r3, lr
.endm

@ ---------------------------------------------------------------- 8 pixels
@ r0 stream, r1 column, r2 and r3 a word and its first weight by turns, r4-r11 sums, r12 the second
@ weight, lr the second window's activation.
@
@ The orders of instructions below were searched for, by a program that knows what may trade places
@ and how long the core takes, with and without loads beside SMLAL. A row's rhythm is: loop, then all
@ of this as one block: the last word, requantisation, the next tile's start.

@ The two entries of the word in \w, whose column r1 already is and whose second window is in lr;
@ looks ahead to the next word, loaded into \t. Columns and weights change registers.
.macro NEST_P8_WORD w, t, ps, end=0
    sxtb.w \t, \w, ror #8
    ldr.w r12, [r1,#0]
    smlal r6, r7, \t, lr
    ldr.w lr, [r1,#2*\ps]
    smlal r4, r5, \t, r12
    asr.w r12, \w, #24
    sxtab \w, r1, \w, ror #16
    ldr.w r1, [r1,#3*\ps]
    smlal r8, r9, \t, lr
    ldr.w lr, [\w,#\ps]
    smlal r10, r11, \t, r1
    ldr.w \t, [r0], #4
    ldr.w r1, [\w,#0]
    smlal r6, r7, r12, lr
    ldr.w lr, [\w,#3*\ps]
    smlal r4, r5, r12, r1
    sxtab r1, \w, \t
    ldr.w \w, [\w,#2*\ps]
    smlal r10, r11, r12, lr
    .if \end
    ldr.w lr, [sp,#F_END]
    cmp r0, lr
    .endif
    ldr.w lr, [r1,#\ps]
    smlal r8, r9, r12, \w
.endm

.macro NEST_CONV_P8 name, ps
    NEST_BEGIN \name
    movs r0, #0
    str r0, [sp,#F_NOTHING]
1:  @ next row
    NEST_ROW
    ldr r2, [sp,#F_TILES]
    cmp r3, #0
    itt eq                  @ a row without words runs one without effect
    addeq r0, sp, #F_NOTHING
    moveq r3, #1
    subs r3, #1
    str r2, [sp,#F_CURSOR]
    ldr r1, [r2]            @ window
    ldr r2, [r0], #4
    ror r12, r3, #1
    add r3, r0, r3, lsl #2
    str r0, [sp,#F_FIRST]
    str r3, [sp,#F_END]
    mov r4, r7
    str r12, [sp,#F_ENTRY]
    mov r5, r8
    str r2, [sp,#F_WORD]
    sxtab r1, r1, r2
    mov r6, r4
    mov r9, r5
    mov r7, r5
    mov r8, r4
    ldr lr, [r1,#\ps]
    mov r10, r4
    mov r11, r5
    mov r3, r2
    lsls r12, r12, #1       @ C: an odd number of words before the last, Z: none or one
    bcs.w 4f
    beq.w 5f
    .p2align 3
3:  NEST_P8_WORD r2, r3, \ps
4:  NEST_P8_WORD r3, r2, \ps, 1
    bne.w 3b
5:  @ the last word, requantisation and the next tile (after the last tile once more the last)
    sxtb r3, r2, ror #8
    ldr r12, [r1,#0]
    smlal r6, r7, r3, lr
    ldr lr, [r1,#2*\ps]
    smlal r4, r5, r3, r12
    asr r12, r2, #24
    sxtab r2, r1, r2, ror #16
    ldr r1, [r1,#3*\ps]
    smlal r8, r9, r3, lr
    ldr lr, [r2,#\ps]
    ldr r0, [sp,#F_CURSOR]
    smlal r10, r11, r3, r1
    ldr r1, [r2,#0]
    smlal r6, r7, r12, lr
    ldr lr, [r2,#3*\ps]
    ldr r2, [r2,#2*\ps]
    smlal r4, r5, r12, r1
    ldr r1, [sp,#F_ROW]
    ldr r3, [r0,#4]
    smlal r10, r11, r12, lr
    lsl r7, r7, #9
    lsl r5, r5, #9
    smlal r8, r9, r12, r2
    ldr r2, [r0,#8]
    ldr r12, [sp,#F_ZERO]
    orr r5, r5, r4, lsr #23
    add r2, r1
    ubfx r4, r4, #0, #23
    add r3, r1
    orr r7, r7, r6, lsr #23
    ldr r1, [sp,#F_FACTOR]
    ubfx r6, r6, #0, #23
    ldr r0, [sp,#F_BIAS]
    lsl r11, r11, #9
    add r6, r0
    smmlar r5, r5, r1, r12
    lsl r9, r9, #9
    smmlar r6, r6, r1, r12
    orr r11, r11, r10, lsr #23
    ubfx r10, r10, #0, #23
    smmlar r7, r7, r1, r12
    add r4, r0
    add r10, r0
    smmlar r4, r4, r1, r12
    orr r9, r9, r8, lsr #23
    ssat r5, #8, r5
    smmlar r9, r9, r1, r12
    ssat r6, #8, r6
    strb r5, [r2]
    ubfx r8, r8, #0, #23
    smmlar r11, r11, r1, r12
    add r8, r0
    ldr lr, [sp,#F_STEP]
    ssat r9, #8, r9
    smmlar r10, r10, r1, r12
    ssat r7, #8, r7
    smmlar r8, r8, r1, r12
    ssat r11, #8, r11
    strb r7, [r2,lr]
    ldr r0, [sp,#F_FIRST]
    add r2, r2, lr, lsl #1
    ssat r4, #8, r4
    strb r6, [r3,lr]
    ssat r8, #8, r8
    strb r9, [r2]
    strb r11, [r2,lr]
    ldr r2, [sp,#F_WORD]
    ldrd r6, r7, [sp,#F_START]
    strb r4, [r3]
    add r3, r3, lr, lsl #1
    ldr r12, [sp,#F_ENTRY]
    ldr r4, [sp,#F_CURSOR]
    ssat r10, #8, r10
    ldr r5, [sp,#F_TILES_END]
    mov r9, r7
    add r4, r4, #12
    strb r8, [r3]
    cmp r4, r5
    str r4, [sp,#F_CURSOR]
    ldr r5, [r4]
    sxtab r1, r5, r2
    mov r8, r6
    strb r10, [r3,lr]
    mov r10, r6
    mov r5, r7
    ldr r3, [sp,#F_WORD]
    mov r11, r7
    mov r4, r6
    ldr lr, [r1,#\ps]
    beq.n 6f
    lsls r12, r12, #1
    bcs.w 4b
    bne.w 3b
    b.w 5b
6:  NEST_END \name
.endm

@ ---------------------------------------------------------------- 4 and 2 pixels
@ r0 stream, r1 column, r2 and r3 words, r4-r7 sums, r8 window 0, r9 and r10 window 1 by turns,
@ r11 and r12 the weights of even and odd entries, lr distance of the windows.
@
@ Entry i runs: move the column and extract the weight (during entry i-1), load both windows, multiply
@ window 0, multiply window 1 (during entry i+1).

@ The two entries of the word in \w, whose column r1 already is and whose first weight is in r11;
@ looks ahead to the next word, loaded into \t. One line is one cycle.
.macro NEST_P4_WORD w, t, end=0
    ldr.w r8, [r1];                 ldr.w r9, [r1,lr]
    sxtab r1, r1, \w, ror #16;      smlal r6, r7, r12, r10
    asr.w r12, \w, #24;             ldr.w \t, [r0], #4
    .if \end
    smlal r4, r5, r11, r8;          ldr.w \w, [sp,#F_END]
    .else
    smlal r4, r5, r11, r8;          nop
    .endif
    ldr.w r8, [r1];                 ldr.w r10, [r1,lr]
    sxtab r1, r1, \t;               smlal r6, r7, r11, r9
    .if \end
    cmp r0, \w
    .endif
    sxtb.w r11, \t, ror #8;         smlal r4, r5, r12, r8
.endm

    NEST_ENTER nest_kernels_conv_nested_p4
2:  @ tile: r0 words, r2 cursor, r3 end of words
    ldr r1, [r2], #12
    ldrd r4, r5, [sp,#F_START]
    str r2, [sp,#F_CURSOR]
    cmp r0, r3
    mov r6, r4
    mov r7, r5
    ldr lr, [sp,#F_DISTANCE]
    beq 6f
    ldr r2, [r0], #4
    mov r12, #0             @ the weight of the entry before the first: nothing
    sxtab r1, r1, r2
    subs r3, r3, r0
    sxtb.w r11, r2, ror #8
    beq 5f
    lsls r3, r3, #30        @ C: an odd number of words before the last
    mov r3, r2
    bcs 4f
    .p2align 3
3:  @ the word in r2; the next one to r3
    NEST_P4_WORD r2, r3
4:  @ the word in r3; the next one to r2
    NEST_P4_WORD r3, r2, 1
    bne 3b
5:  @ the last word, in r2
    ldr.w r8, [r1]
    ldr.w r9, [r1,lr]
    sxtab r1, r1, r2, ror #16
    smlal r6, r7, r12, r10
    asr.w r12, r2, #24
    smlal r4, r5, r11, r8
    ldr.w r8, [r1]
    ldr.w r10, [r1,lr]
    smlal r6, r7, r11, r9
    smlal r4, r5, r12, r8
    smlal r6, r7, r12, r10
6:  @ requantise 4 pixels
    NEST_REQUANT_ENTER
    ldr lr, [sp,#F_STEP]
    NEST_REQUANT r4, r5
    strb r4, [r2]
    strb r5, [r3]
    NEST_REQUANT r6, r7
    strb r6, [r2,lr]
    strb r7, [r3,lr]
    NEST_LEAVE nest_kernels_conv_nested_p4

@ r0 stream, r1 column, r2 word, r3 and r12 weights, r4 and r5 sums, r6 and r7 activations, lr end of
@ words.
    NEST_ENTER nest_kernels_conv_nested_p2
2:  @ tile: r0 words, r2 cursor, r3 end of words
    ldr r1, [r2], #12
    ldrd r4, r5, [sp,#F_START]
    str r2, [sp,#F_CURSOR]
    cmp r0, r3
    mov lr, r3
    beq 6f
    ldr r2, [r0], #4
    movs r7, #0             @ the second activation of the word before the first: nothing
    cmp r0, lr
    beq 5f
    .p2align 3
3:  sxtab r1, r1, r2
    smlal r4, r5, r12, r7
    sxtb.w r3, r2, ror #8
    asr.w r12, r2, #24
    ldr r6, [r1,#0]
    sxtab r1, r1, r2, ror #16
    ldr r2, [r0], #4
    cmp r0, lr
    ldr r7, [r1,#0]
    smlal r4, r5, r3, r6
    bne 3b
5:  @ the last word
    sxtab r1, r1, r2
    smlal r4, r5, r12, r7
    sxtb.w r3, r2, ror #8
    asr.w r12, r2, #24
    ldr r6, [r1,#0]
    sxtab r1, r1, r2, ror #16
    ldr r7, [r1,#0]
    smlal r4, r5, r3, r6
    smlal r4, r5, r12, r7
6:  @ requantise 2 pixels
    NEST_REQUANT_ENTER
    NEST_REQUANT r4, r5
    strb r4, [r2]
    strb r5, [r3]
    NEST_LEAVE nest_kernels_conv_nested_p2

    @ The distances of windows: `P8_BLOCKS` in nested_layout.rs.
    NEST_CONV_P8 nest_kernels_conv_nested_p8_49, 4*49
    NEST_CONV_P8 nest_kernels_conv_nested_p8_97, 4*97
    NEST_CONV_P8 nest_kernels_conv_nested_p8_193, 4*193
    NEST_CONV_P8 nest_kernels_conv_nested_p8_341, 4*341
