/* The Keccak-f[1600] permutation: code for the Cortex-M4, by hand for the M7, and scheduled for it. */
#include "board.h"

void KeccakF1600_StatePermute_adomnicai_m4(void *state);
void KeccakF1600_StatePermute_adomnicai_m7(void *state);
void KeccakF1600_StatePermute_adomnicai_m7_opt_m7(void *state);

static uint64_t state[25];

void measure(void)
{
    MEASURE("m4", KeccakF1600_StatePermute_adomnicai_m4(state));
    MEASURE("m7", KeccakF1600_StatePermute_adomnicai_m7(state));
    MEASURE("m7_opt_m7", KeccakF1600_StatePermute_adomnicai_m7_opt_m7(state));
}
