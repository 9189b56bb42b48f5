/* The convolutions of CMSIS-NN's CIFAR-10 example (arXiv:1801.06601, table 1): 5x5, padding 2,
   stride 1, weights behind the data cache. */
#include "arm_nnfunctions.h"
#include "board.h"

static int8_t input[16384], output[32768], bias[64];
static int16_t columns[4096];
static int8_t IN_SRAM weights[65536];

void measure(void)
{
    fill(input, sizeof input);
    fill(weights, sizeof weights);
    MEASURE("conv1", arm_convolve_HWC_q7_RGB(input, 32, 3, weights, 32, 5, 2, 1, bias, 0, 7, output,
                                             32, columns, 0));
    MEASURE("conv3", arm_convolve_HWC_q7_fast(input, 16, 32, weights, 32, 5, 2, 1, bias, 0, 7,
                                              output, 16, columns, 0));
    MEASURE("conv5", arm_convolve_HWC_q7_fast(input, 8, 32, weights, 64, 5, 2, 1, bias, 0, 7,
                                              output, 8, columns, 0));
}
