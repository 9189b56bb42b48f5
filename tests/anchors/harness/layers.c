/* Layers of today's CMSIS-NN: activations in DTCM, weights behind the data cache. */
#include "arm_nnfunctions.h"
#include "board.h"

static int8_t input[32768], output[32768];
static int8_t IN_SRAM weights[65536];
static int32_t multipliers[256], shifts[256], biases[256];
static int8_t scratch[32768];

static cmsis_nn_per_channel_quant_params quantisation = {multipliers, shifts};

static void convolve(const char *name, int size, int channels, int filters, int kernel, int stride)
{
    int out = (size + stride - 1) / stride;
    int pad = (out - 1) * stride + kernel - size;
    cmsis_nn_conv_params parameters = {
        .input_offset = 128,
        .output_offset = -128,
        .stride = {stride, stride},
        .padding = {pad / 2, pad / 2},
        .dilation = {1, 1},
        .activation = {-128, 127},
    };
    cmsis_nn_dims from = {1, size, size, channels};
    cmsis_nn_dims filter = {filters, kernel, kernel, channels};
    cmsis_nn_dims bias = {1, 1, 1, filters};
    cmsis_nn_dims to = {1, out, out, filters};
    cmsis_nn_context context = {scratch, sizeof scratch};
    if (arm_convolve_wrapper_s8_get_buffer_size(&parameters, &from, &filter, &to) >
        (int32_t)sizeof scratch) {
        return;
    }
    MEASURE(name, arm_convolve_wrapper_s8(&context, &parameters, &quantisation, &from, input,
                                          &filter, weights, &bias, biases, &to, output));
}

static void depthwise(const char *name, int size, int channels, int stride)
{
    int out = (size + stride - 1) / stride;
    int pad = (out - 1) * stride + 3 - size;
    cmsis_nn_dw_conv_params parameters = {
        .input_offset = 128,
        .output_offset = -128,
        .ch_mult = 1,
        .stride = {stride, stride},
        .padding = {pad / 2, pad / 2},
        .dilation = {1, 1},
        .activation = {-128, 127},
    };
    cmsis_nn_dims from = {1, size, size, channels};
    cmsis_nn_dims filter = {1, 3, 3, channels};
    cmsis_nn_dims bias = {1, 1, 1, channels};
    cmsis_nn_dims to = {1, out, out, channels};
    cmsis_nn_context context = {scratch, sizeof scratch};
    if (arm_depthwise_conv_wrapper_s8_get_buffer_size(&parameters, &from, &filter, &to) >
        (int32_t)sizeof scratch) {
        return;
    }
    MEASURE(name, arm_depthwise_conv_wrapper_s8(&context, &parameters, &quantisation, &from, input,
                                                &filter, weights, &bias, biases, &to, output));
}

void measure(void)
{
    fill(input, sizeof input);
    fill(weights, sizeof weights);
    for (int i = 0; i < 256; ++i) {
        multipliers[i] = 1518500250;
        shifts[i] = -8;
    }
    convolve("conv3x3_32_64_16", 16, 32, 64, 3, 1);
    convolve("conv3x3_16_16_32", 32, 16, 16, 3, 1);
    convolve("conv3x3_3_16_32", 32, 3, 16, 3, 1);
    convolve("conv1x1_64_64_16", 16, 64, 64, 1, 1);
    depthwise("depthwise3x3_64_16", 16, 64, 1);
    depthwise("depthwise3x3_64_16_s2", 16, 64, 2);
    MEASURE("add_16384",
            arm_elementwise_add_s8(input, input + 16384, 128, 1073741824, 0, 128, 1073741824, 0, 20,
                                   output, -128, 1073741824, -19, -128, 127, 16384));
}
