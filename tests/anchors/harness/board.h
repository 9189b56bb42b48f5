/* What the anchors' programs share: see board.c. */
#pragma once
#include <stdint.h>

/* Data in AXI SRAM, behind the data cache. */
#define IN_SRAM __attribute__((section(".sram"), aligned(32)))

/* Cycles so far. */
uint32_t cycles(void);
/* Prints `name` and `value` on one line. */
void result(const char *name, uint32_t value);
/* Fills memory with small deterministic bytes. */
void fill(void *memory, uint32_t bytes);
/* The program: measures and calls `result`. */
void measure(void);

/* Prints the cycles that the second of two runs of CALL takes: code and predictor are warm. */
#define MEASURE(name, CALL)                                                                        \
    do {                                                                                           \
        CALL;                                                                                      \
        uint32_t before = cycles();                                                                \
        CALL;                                                                                      \
        result(name, cycles() - before);                                                           \
    } while (0)
