/* Number-theoretic transforms of ML-KEM and ML-DSA: code for the Cortex-M4 and the same code
   scheduled for the Cortex-M7. Times do not depend on data. */
#include "board.h"

void ntt_fast(void *poly, const void *twiddles);
void ntt_fast_opt_m7(void *poly, const void *twiddles);

static uint32_t poly[1024];
static uint32_t twiddles[1024];

void measure(void)
{
    MEASURE("kyber_m4", ntt_fast(poly, twiddles));
    MEASURE("kyber_m7", ntt_fast_opt_m7(poly, twiddles));
}
