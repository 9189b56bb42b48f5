"""Writes one small ONNX model for each form of each operator nestc imports, with an input and
onnxruntime's outputs: FOLDER/NAME/{model.onnx,input.bin,output_0.bin...} (little-endian float32).

Usage: python op_models.py FOLDER
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(3)
MODELS = []


class Net:
    """A model in the making: nodes are appended, constants become initializers."""

    def __init__(self, name, shape=("N", 3, 8, 8), opset=17, dtype=TensorProto.FLOAT):
        self.name, self.opset, self.dtype = name, opset, dtype
        self.rng = np.random.default_rng(sum(name.encode()))
        self.shape, self.nodes, self.inits, self.count = shape, [], [], 0
        self.last = "x"
        self.outputs = []
        MODELS.append(self)

    def const(self, array, name=None):
        self.count += 1
        name = name or f"c{self.count}"
        self.inits.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape):
        return self.const((self.rng.normal(size=shape) / 2).astype(np.float32))

    def add(self, op, *inputs, **attributes):
        """Appends a node; its first input is the last output unless given."""
        self.count += 1
        output = f"t{self.count}"
        inputs = [self.last if i is None else i for i in inputs]
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{self.count}", **attributes))
        self.last = output
        return self

    def conv(self, channels, group_channels, kernel, bias=True, **attributes):
        inputs = [None, self.weight(channels, group_channels, *kernel)]
        if bias:
            inputs.append(self.weight(channels))
        return self.add("Conv", *inputs, **attributes)

    def write(self, folder):
        outputs = self.outputs or [self.last]
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("x", self.dtype, list(self.shape))],
            [helper.make_tensor_value_info(o, self.dtype, None) for o in outputs],
            self.inits,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = 8
        path = os.path.join(folder, self.name)
        os.makedirs(path)
        self.save(model, path)
        shape = [d if isinstance(d, int) else 1 for d in self.shape]
        x = self.rng.normal(size=shape).astype(np.float32)
        session = onnxruntime.InferenceSession(os.path.join(path, "model.onnx"), providers=["CPUExecutionProvider"])
        feed = x.astype(np.float16) if self.dtype == TensorProto.FLOAT16 else x
        x.tofile(os.path.join(path, "input.bin"))
        for i, y in enumerate(session.run(None, {"x": feed})):
            y.astype(np.float32).tofile(os.path.join(path, f"output_{i}.bin"))

    def save(self, model, path):
        onnx.save(model, os.path.join(path, "model.onnx"))


def convolutions():
    Net("conv_plain").conv(5, 3, (3, 3))
    Net("conv_1x1_no_bias").conv(4, 3, (1, 1), bias=False)
    Net("conv_5x3_strided").conv(4, 3, (5, 3), strides=[2, 3], pads=[2, 1, 1, 0])
    Net("conv_dilated").conv(4, 3, (3, 2), dilations=[2, 3], pads=[2, 2, 2, 2])
    Net("conv_grouped", ("N", 6, 7, 5)).conv(4, 3, (3, 3), group=2, pads=[1, 1, 1, 1])
    Net("conv_depthwise").conv(3, 1, (3, 3), group=3, pads=[1, 1, 1, 1])
    Net("conv_depthwise_multiplier").conv(6, 1, (3, 3), group=3, strides=[2, 2])
    Net("conv_same_upper", ("N", 3, 7, 8)).conv(4, 3, (3, 4), strides=[2, 2], auto_pad="SAME_UPPER")
    Net("conv_same_lower", ("N", 3, 8, 8)).conv(4, 3, (2, 3), strides=[2, 2], auto_pad="SAME_LOWER")
    Net("conv_valid").conv(4, 3, (3, 3), auto_pad="VALID", kernel_shape=[3, 3])
    Net("conv_even_pad_larger_than_input", ("N", 2, 2, 2)).conv(3, 2, (4, 4), pads=[3, 2, 3, 4])
    net = Net("conv_then_bias_add").conv(4, 3, (3, 3), bias=False)
    net.add("Add", None, net.weight(1, 4, 1, 1))
    net = Net("conv_bias_then_sub").conv(4, 3, (3, 3))
    net.add("Sub", None, net.weight(4, 1, 1))
    net = Net("conv_read_twice_then_add").conv(3, 3, (3, 3), pads=[1] * 4)
    conv = net.last
    net.add("Relu", None)
    relu = net.last
    net.add("Add", conv, net.weight(3, 1, 1)).add("Add", None, relu)
    net = Net("conv_fixed_batch", (1, 3, 8, 8))
    net.conv(4, 3, (3, 3))


def pools():
    Net("max_pool").add("MaxPool", None, kernel_shape=[2, 2], strides=[2, 2])
    Net("max_pool_padded").add("MaxPool", None, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    Net("max_pool_asymmetric").add("MaxPool", None, kernel_shape=[3, 2], strides=[1, 2], pads=[0, 1, 2, 0])
    Net("max_pool_dilated").add("MaxPool", None, kernel_shape=[2, 3], dilations=[3, 2])
    Net("max_pool_same").add("MaxPool", None, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    for size in (6, 7, 8, 9):
        Net(f"max_pool_ceil_{size}", ("N", 2, size, size)).add(
            "MaxPool", None, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1
        )
        Net(f"max_pool_ceil_wide_{size}", ("N", 2, size, size)).add(
            "MaxPool", None, kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1
        )
    for include in (0, 1):
        Net(f"average_pool_{include}").add(
            "AveragePool", None, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2], count_include_pad=include
        )
    Net("average_pool_ceil", ("N", 2, 7, 7)).add("AveragePool", None, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    Net("average_pool_same").add("AveragePool", None, kernel_shape=[3, 2], strides=[3, 3], auto_pad="SAME_LOWER")
    Net("average_pool_whole").add("AveragePool", None, kernel_shape=[8, 8])
    Net("average_pool_dilated", opset=19).add("AveragePool", None, kernel_shape=[2, 2], dilations=[2, 3])
    Net("global_average_pool").add("GlobalAveragePool", None)
    for keep in (0, 1):
        Net(f"reduce_mean_{keep}").add("ReduceMean", None, axes=[2, 3], keepdims=keep)
    Net("reduce_mean_negative").add("ReduceMean", None, axes=[-1, -2], keepdims=0)
    net = Net("reduce_mean_input", opset=18)
    net.add("ReduceMean", None, net.const(np.array([2, 3], np.int64)), keepdims=0)
    Net("reduce_mean_twice").add("GlobalAveragePool", None).add("ReduceMean", None, axes=[2, 3], keepdims=0)
    Net("pool_then_conv").add("GlobalAveragePool", None).conv(4, 3, (1, 1)).add("Flatten", None)


def elementwise():
    Net("relu").add("Relu", None)
    net = Net("clip_inputs")
    net.add("Clip", None, net.const(np.float32(0)), net.const(np.float32(6)))
    net = Net("clip_only_min")
    net.add("Clip", None, net.const(np.float32(0)))
    Net("relu_mul_large").add("Mul", None, MODELS[-1].const(np.float32(9))).add(
        "Clip", None, MODELS[-1].const(np.float32(0)), MODELS[-1].const(np.float32(6))
    )
    net = Net("batch_norm")
    bn(net, 3)
    net = Net("batch_norm_on_vector", ("N", 5))
    bn(net, 5)
    net = Net("conv_batch_norm_relu").conv(4, 3, (3, 3), bias=False)
    bn(net, 4, epsilon=1e-3)
    net.add("Relu", None)
    net = Net("add_values").conv(3, 3, (3, 3), pads=[1] * 4)
    net.add("Add", None, "x")
    Net("add_itself").add("Add", "x", "x")
    for op in ("Add", "Sub", "Mul", "Div"):
        for name, shape in (("scalar", ()), ("one", (1,)), ("channels", (3, 1, 1)), ("batch", (1, 3, 1, 1))):
            net = Net(f"{op.lower()}_{name}")
            net.add(op, None, net.const(np.float32(1.5) + net.rng.random(shape).astype(np.float32)))
    net = Net("sub_from_constant")
    net.add("Sub", net.weight(3, 1, 1), None)
    net = Net("mul_constant_first")
    net.add("Mul", net.weight(3, 1, 1), None)
    net = Net("normalise_input")
    net.add("Sub", None, net.weight(3, 1, 1)).add("Div", None, net.const(np.full((3, 1, 1), 0.25, np.float32))).conv(2, 3, (3, 3))
    net = Net("add_on_flattened", ("N", 2, 3, 4))
    net.add("Flatten", None).add("Add", None, net.weight(24)).add("Mul", None, net.weight(1, 24))
    net = Net("add_flattened_and_dense", ("N", 2, 3, 4)).add("Flatten", None)
    flat = net.last
    net.add("Gemm", None, net.weight(24, 24)).add("Add", None, flat)
    Net("softmax", ("N", 7)).add("Softmax", None)
    Net("softmax_11", ("N", 7), opset=11).add("Softmax", None)
    Net("softmax_11_map", ("N", 6, 1, 1), opset=11).add("Softmax", None, axis=1)
    Net("softmax_large", ("N", 4)).add("Mul", None, MODELS[-1].const(np.float32(200))).add("Softmax", None, axis=1)
    net = Net("dropout_12", opset=13)
    net.add("Dropout", None, net.const(np.float32(0.5))).add("Relu", None)
    Net("identity").add("Identity", None).add("Relu", None).add("Identity", None)


def bn(net, channels, **attributes):
    scale, bias, mean = (net.weight(channels) for _ in range(3))
    var = net.const(0.1 + net.rng.random(channels).astype(np.float32))
    net.add("BatchNormalization", None, scale, bias, mean, var, **attributes)


def linear():
    Net("gemm", ("N", 6)).add("Gemm", None, MODELS[-1].weight(6, 4), MODELS[-1].weight(4))
    Net("gemm_trans_b", ("N", 6)).add("Gemm", None, MODELS[-1].weight(4, 6), MODELS[-1].weight(1, 4), transB=1)
    Net("gemm_alpha_beta", ("N", 6)).add(
        "Gemm", None, MODELS[-1].weight(6, 4), MODELS[-1].weight(1), alpha=0.5, beta=-2.0
    )
    Net("gemm_no_bias", ("N", 6)).add("Gemm", None, MODELS[-1].weight(6, 4))
    Net("matmul", ("N", 6)).add("MatMul", None, MODELS[-1].weight(6, 4))
    net = Net("matmul_bias", ("N", 6))
    net.add("MatMul", None, net.weight(6, 4)).add("Add", net.weight(4), None).add("Relu", None).add("MatMul", None, net.weight(4, 2))
    net = Net("flatten_dense", ("N", 2, 3, 4))
    net.add("Flatten", None).add("Gemm", None, net.weight(24, 5), net.weight(5))


def layout():
    net = Net("reshape_flatten", ("N", 2, 3, 4))
    net.add("Reshape", None, net.const(np.array([-1, 24], np.int64))).add("Gemm", None, net.weight(24, 5))
    net = Net("reshape_zero", ("N", 2, 3, 4))
    net.add("Reshape", None, net.const(np.array([0, -1], np.int64))).add("Relu", None)
    Net("flatten_axis_0", (1, 2, 3, 4)).add("Flatten", None, axis=0).add("Relu", None)
    net = Net("squeeze_unsqueeze", ("N", 5, 1, 1))
    axes = net.const(np.array([2, 3], np.int64))
    net.add("Squeeze", None, axes).add("Relu", None).add("Unsqueeze", None, axes).conv(3, 5, (1, 1))
    Net("squeeze_attributes", (1, 5, 1, 1), opset=11).add("Squeeze", None).add("Unsqueeze", None, axes=[0]).add("Relu", None)
    net = Net("pad_spatial")
    pads = np.array([0, 0, 1, 2, 0, 0, 3, 0], np.int64)
    net.add("Pad", None, net.const(pads), net.const(np.float32(0.75)))
    net = Net("pad_channels")
    net.add("Pad", None, net.const(np.array([0, 2, 0, 0, 0, 1, 0, 0], np.int64)), mode="constant")
    net = Net("pad_axes", opset=18)
    net.add("Pad", None, net.const(np.array([1, 2, 0, 1], np.int64)), "", net.const(np.array([-1, 1], np.int64)))
    net = Net("pad_vector", ("N", 4))
    net.add("Pad", None, net.const(np.array([0, 1, 0, 2], np.int64)))
    for name, starts, ends, axes, steps in (
        ("stride", [0, 0], [8, 8], [2, 3], [2, 3]),
        ("negative", [-5], [-1], [-1], [1]),
        ("open", [1], [np.iinfo(np.int64).max], [1], [1]),
        ("odd", [1, 2], [100, 7], [3, 2], [4, 2]),
        ("nothing", [0], [8], [2], [1]),
    ):
        net = Net(f"slice_{name}")
        net.add("Slice", None, *(net.const(np.array(v, np.int64)) for v in (starts, ends, axes, steps)))
        net.add("Relu", None)
    net = Net("slice_defaults", (1, 5, 4, 4))
    net.add("Slice", None, net.const(np.array([0, 1], np.int64)), net.const(np.array([1, 4], np.int64)))
    net = Net("slice_twice")
    one = lambda v: net.const(np.array([v], np.int64))
    net.add("Slice", None, one(1), one(8), one(2), one(2)).add("Slice", None, one(0), one(7), one(3), one(3))
    net.add("Slice", None, one(1), one(4), one(2), one(2))
    Net("nhwc_input", ("N", 6, 5, 3)).add("Transpose", None, perm=[0, 3, 1, 2]).conv(4, 3, (3, 3))
    net = Net("nhwc_normalised_input", ("N", 6, 5, 3))
    net.add("Mul", None, net.const(np.float32(1 / 127))).add("Sub", None, net.weight(3)).add("Transpose", None, perm=[0, 3, 1, 2])
    net.conv(4, 3, (3, 3))
    net = Net("nhwc_flatten_dense", ("N", 6, 5, 3))
    net.add("Transpose", None, perm=[0, 3, 1, 2]).conv(4, 3, (3, 3)).add("Relu", None).add("Transpose", None, perm=[0, 2, 3, 1])
    net.add("Reshape", None, net.const(np.array([-1, 48], np.int64))).add("MatMul", None, net.weight(48, 5))
    Net("nhwc_output").conv(4, 3, (3, 3)).add("Transpose", None, perm=[0, 2, 3, 1])
    net = Net("nhwc_relu_between").conv(4, 3, (3, 3)).add("Transpose", None, perm=[0, 2, 3, 1]).add("Relu", None)
    net.add("Add", None, net.weight(4)).add("Transpose", None, perm=[0, 3, 1, 2]).conv(2, 4, (3, 3))
    net = Net("two_outputs").conv(4, 3, (3, 3))
    first = net.last
    net.add("Relu", None).add("GlobalAveragePool", None).add("Flatten", None)
    net.outputs = [first, net.last]


def exporters():
    net = Net("torch_raw_flatten", ("N", 2, 3, 4))
    net.add("Shape", "x").add("Gather", None, net.const(np.int64(0)), axis=0)
    net.add("Unsqueeze", None, net.const(np.array([0], np.int64)))
    net.add("Concat", None, net.const(np.array([-1], np.int64)), axis=0).add("Reshape", "x", None)
    net.add("Gemm", None, net.weight(24, 5))
    net = Net("torch_raw_pad", (1, 3, 8, 8), opset=13)
    net.nodes.append(helper.make_node("Constant", [], ["tail"], value=numpy_helper.from_array(np.array([0, 0, 1, 1, 2, 0], np.int64))))
    net.nodes.append(helper.make_node("Constant", [], ["lack"], value_ints=[2]))
    net.add("ConstantOfShape", "lack", value=helper.make_tensor("v", TensorProto.INT64, [1], [0]))
    net.add("Concat", "tail", None, axis=0).add("Reshape", None, net.const(np.array([-1, 2], np.int64)))
    net.add("Slice", None, net.const(np.array([-1], np.int64)), net.const(np.array([np.iinfo(np.int64).min + 1], np.int64)), net.const(np.array([0], np.int64)), net.const(np.array([-1], np.int64)))
    net.add("Transpose", None, perm=[1, 0]).add("Reshape", None, net.const(np.array([-1], np.int64))).add("Cast", None, to=7)
    net.add("Pad", "x", None, net.const(np.float32(0)))
    net = Net("constant_weights_in_nodes")
    raw = (net.rng.normal(size=(3, 3, 3, 4)) / 2).astype(np.float32)
    net.nodes.append(helper.make_node("Constant", [], ["hwio"], value=numpy_helper.from_array(raw)))
    net.add("Transpose", "hwio", perm=[3, 2, 0, 1]).add("Mul", None, net.const(np.float32(0.5))).add("Conv", "x", None)
    net = Net("shared_bias_identity").add("Identity", MODELS[-1].weight(3))
    bias = net.last
    net.add("Conv", "x", net.weight(3, 3, 3, 3), bias).add("Conv", None, net.weight(3, 3, 3, 3), bias)
    net = Net("half_precision", ("N", 3, 8, 8), dtype=TensorProto.FLOAT16)
    net.add("Conv", None, net.const((net.rng.normal(size=(4, 3, 3, 3)) / 2).astype(np.float16))).add("Relu", None)
    for opset in range(11, 22):
        net = Net(f"opset_{opset}", opset=opset).conv(4, 3, (3, 3), pads=[1] * 4)
        bn(net, 4)
        net.add("Relu", None).add("MaxPool", None, kernel_shape=[2, 2], strides=[2, 2]).add("GlobalAveragePool", None)
        net.add("Flatten", None).add("Gemm", None, net.weight(4, 3)).add("Softmax", None)


class External(Net):
    """Weights in a file beside the model."""

    def save(self, model, path):
        onnx.save(
            model, os.path.join(path, "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0
        )


class Typed(Net):
    """Weights in typed fields, initializers listed as inputs, as before IR version 4."""

    def save(self, model, path):
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            typed = helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.flatten().tolist())
            tensor.CopyFrom(typed)
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, array.shape))
        model.ir_version = 3
        onnx.save(model, os.path.join(path, "model.onnx"))


def main(folder):
    convolutions()
    pools()
    elementwise()
    linear()
    layout()
    exporters()
    External("external_data").conv(4, 3, (3, 3)).add("Relu", None)
    Typed("typed_initializers", opset=11).conv(4, 3, (3, 3)).add("Relu", None)
    for net in MODELS:
        net.write(folder)
    print(len(MODELS))


if __name__ == "__main__":
    main(sys.argv[1])
