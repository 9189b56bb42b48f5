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

    def quantise(self, scale, zero, dtype=np.int8, **attributes):
        """Rounds the last output to integers; the steps are kept for what reads them."""
        self.steps = [self.const(np.float32(scale)), self.const(dtype(zero))]
        return self.add("QuantizeLinear", None, *self.steps, **attributes)

    def dequantise(self):
        return self.add("DequantizeLinear", None, *self.steps)

    def integers(self, *shape, axis=None, dtype=np.int8):
        """Integer weights, and their scale and zero point, one a slice of an axis if one is given."""
        low, high = (-127, 128) if dtype == np.int8 else (0, 256)
        weights = self.const(self.rng.integers(low, high, size=shape).astype(dtype))
        count = () if axis is None else (shape[axis],)
        scale = (self.rng.uniform(0.002, 0.01, size=count)).astype(np.float32)
        zero = np.zeros(count, dtype) if dtype == np.int8 else np.full(count, 120, dtype)
        return [weights, self.const(scale), self.const(zero)]

    def stored(self, *shape, axis=None, dtype=np.int8):
        """Integer weights behind a DequantizeLinear."""
        last = self.last
        inputs = self.integers(*shape, axis=axis, dtype=dtype)
        self.add("DequantizeLinear", *inputs, **({} if axis is None else {"axis": axis}))
        made, self.last = self.last, last
        return made

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
        domains = {node.domain for node in self.nodes} | {""}
        opsets = [helper.make_opsetid(d, self.opset if d == "" else 1) for d in sorted(domains)]
        model = helper.make_model(graph, opset_imports=opsets)
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
    net = Net("gemm_trans_a", (1, 6))
    net.add("Reshape", None, net.const(np.int64([3, 2]))).add("Gemm", None, net.weight(3, 4), net.weight(2, 4), transA=1)
    net.add("Reshape", None, net.const(np.int64([1, 8])))
    net = Net("matmul_vector", ("N", 6))
    net.add("MatMul", None, net.weight(6)).add("Unsqueeze", None, net.const(np.int64([1]))).add("MatMul", None, net.weight(1, 5))
    net = Net("matmul_each", (1, 2, 3, 4))
    net.add("MatMul", None, net.weight(1, 2, 4, 5))
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


def functions():
    """Elementwise functions."""
    for op, attributes in (
        ("LeakyRelu", {}),
        ("LeakyRelu", {"alpha": 0.2}),
        ("Elu", {}),
        ("Elu", {"alpha": 0.7}),
        ("Sigmoid", {}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.4}),
        ("HardSwish", {}),
        ("Tanh", {}),
        ("Exp", {}),
        ("Neg", {}),
    ):
        net = Net(f"{op.lower()}_{len(attributes)}").add("Mul", None, MODELS[-1].const(np.float32(3)))
        net.add(op, None, **attributes)
        net.add("Relu", None) if op == "Neg" else None
    net = Net("silu").conv(4, 3, (3, 3))
    conv = net.last
    net.add("Sigmoid", None).add("Mul", conv, None)
    net = Net("silu_gate_first").conv(4, 3, (3, 3))
    conv = net.last
    net.add("Sigmoid", None).add("Mul", None, conv).add("GlobalMaxPool", None)
    net = Net("sigmoid_read_twice").conv(4, 3, (3, 3))
    conv = net.last
    net.add("Sigmoid", None)
    gate = net.last
    net.add("Mul", conv, None).add("Add", None, gate)
    net = Net("hard_swish_in_parts")
    net.add("Add", None, net.const(np.float32(3))).add("Clip", None, net.const(np.float32(0)), net.const(np.float32(6)))
    net.add("Mul", "x", None).add("Div", None, net.const(np.float32(6)))
    for name, slope in (("one", ()), ("channels", (3, 1, 1)), ("batch", (1, 3, 1, 1))):
        net = Net(f"prelu_{name}")
        net.add("PRelu", None, net.weight(*slope) if slope else net.const(np.float32([0.3])))
    net = Net("prelu_on_vector", ("N", 5))
    net.add("PRelu", None, net.weight(5))
    for name, low, high in (("both", -0.5, 0.75), ("above", None, 0.5), ("below", -0.25, None), ("six", 0.0, 4.0)):
        net = Net(f"clip_{name}")
        bounds = ["" if b is None else net.const(np.float32(b)) for b in (low, high)]
        net.add("Clip", None, *bounds)


def pairs():
    """Functions of two values, or of a value and a constant, that broadcast."""
    for op in ("Add", "Sub", "Mul", "Div", "Min", "Max"):
        away = lambda net: net.add("Clip", None, net.const(np.float32(0.5)), net.const(np.float32(4)))
        for name, shape in (("map", None), ("vector", (4, 1, 1)), ("row", (6,)), ("pixels", (6, 6)), ("all", (4, 6, 6)), ("number", ())):
            net = Net(f"pair_{op.lower()}_{name}").conv(4, 3, (3, 3))
            if shape is None:
                conv = net.last
                net.add("Conv", "x", net.weight(4, 3, 3, 3))
                away(net).add(op, conv, None)
            else:
                net.add(op, None, net.const(np.float32(1.5) + net.rng.random(shape).astype(np.float32)))
        for constant_first in (("Div", (4, 1, 1)), ("Sub", (6, 1)), ("Max", (4, 1, 6))):
            if constant_first[0] == op:
                net = Net(f"pair_{op.lower()}_constant_first").conv(4, 3, (3, 3))
                away(net).add(op, net.weight(*constant_first[1]), None)
        net = Net(f"pair_{op.lower()}_gate").conv(4, 3, (3, 3))
        conv = net.last
        away(net.add("GlobalAveragePool", None)).add(op, conv, None)
        net = Net(f"pair_{op.lower()}_gate_first").conv(4, 3, (3, 3))
        away(net)
        conv = net.last
        net.add("ReduceMean", None, axes=[1], keepdims=1).add(op, None, conv)
    net = Net("squeeze_and_excitation").conv(8, 3, (3, 3))
    conv = net.last
    net.add("ReduceMean", None, axes=[2, 3], keepdims=1).conv(2, 8, (1, 1)).add("Relu", None).conv(8, 2, (1, 1))
    net.add("HardSigmoid", None).add("Mul", None, conv)
    net = Net("squeeze_and_excitation_dense").conv(8, 3, (3, 3))
    conv = net.last
    net.add("GlobalAveragePool", None).add("Flatten", None).add("Gemm", None, net.weight(8, 8)).add("Sigmoid", None)
    net.add("Reshape", None, net.const(np.array([-1, 8, 1, 1], np.int64))).add("Mul", conv, None)
    net = Net("square").conv(4, 3, (3, 3))
    net.add("Mul", net.last, net.last)
    net = Net("nhwc_constant_per_pixel", ("N", 6, 5, 3))
    net.add("Mul", None, net.weight(1, 6, 5, 1)).add("Transpose", None, perm=[0, 3, 1, 2]).conv(4, 3, (3, 3))
    net = Net("nhwc_gate").conv(4, 3, (3, 3)).add("Transpose", None, perm=[0, 2, 3, 1])
    turned = net.last
    net.add("ReduceMean", None, axes=[1, 2], keepdims=1).add("Mul", turned, None)
    net = Net("grid_on_split_axis", (1, 12, 2, 3))
    net.add("Reshape", None, net.const(np.array([1, 3, 4, 2, 3], np.int64))).add("Transpose", None, perm=[0, 1, 3, 4, 2])
    net.add("Sigmoid", None).add("Add", None, net.weight(1, 1, 2, 3, 4)).add("Mul", None, net.weight(1, 3, 1, 1, 4))


def moving():
    """What joins, cuts, turns and resamples."""
    for axis in (1, 2, 3, -1):
        net = Net(f"concat_{axis % 4}_{axis < 0}").conv(3, 3, (3, 3), pads=[1] * 4)
        net.add("Concat", None, "x", None, axis=axis)
    net = Net("concat_vectors", ("N", 5)).add("Gemm", None, MODELS[-1].weight(5, 3))
    net.add("Concat", "x", None, axis=1).add("Relu", None)
    net = Net("concat_channels_last").conv(4, 3, (3, 3)).add("Transpose", None, perm=[0, 2, 3, 1])
    turned = net.last
    net.add("Relu", None).add("Concat", None, turned, axis=3).add("Transpose", None, perm=[0, 3, 1, 2]).conv(2, 8, (1, 1))
    net = Net("concat_flattened", (1, 3, 4, 4)).conv(2, 3, (3, 3), pads=[1] * 4).add("Flatten", None)
    flat = net.last
    net.add("Flatten", "x").add("Concat", None, flat, axis=1).add("Gemm", None, net.weight(80, 3))
    for opset, attributes in ((11, {"split": [1, 2, 3]}), (13, {}), (18, {"num_outputs": 3})):
        net = Net(f"split_{opset}", ("N", 6, 4, 4), opset=opset)
        parts = ["a", "b", "c"]
        inputs = ["x"] + ([net.const(np.array([3, 1, 2], np.int64))] if opset == 13 else [])
        net.nodes.append(helper.make_node("Split", inputs, parts, name="split", axis=1, **attributes))
        net.add("Concat", "c", "a", "b", axis=1).add("Relu", None)
    net = Net("split_of_rows", ("N", 2, 6, 4))
    net.nodes.append(helper.make_node("Split", ["x"], ["a", "b"], name="split", axis=-2))
    net.add("Mul", "a", "b").add("Sub", None, "b")
    for name, axis, indices in (("one", 1, 2), ("list", 1, [3, 0, 0, 1]), ("last", -1, -1), ("rows", 2, [0, 2, 1]), ("step", 3, [0, 2])):
        net = Net(f"gather_{name}", ("N", 4, 3, 5))
        net.add("Gather", None, net.const(np.array(indices, np.int64)), axis=axis).add("Relu", None)
    net = Net("slice_backwards", ("N", 4, 3, 5))
    backwards = ([-1, 2], [-9, 0], [3, 1], [-2, -1])
    net.add("Slice", None, *(net.const(np.array(v, np.int64)) for v in backwards)).add("Relu", None)
    for name, split in (("two", [1, 2, 3, 4, 4]), ("three", [1, 3, 2, 4, 4]), ("flat", [1, 2, 3, 16])):
        net = Net(f"shuffle_{name}", (1, 6, 4, 4)).conv(6, 6, (1, 1))
        perm = [0, 2, 1] + list(range(3, len(split)))
        net.add("Reshape", None, net.const(np.array(split, np.int64))).add("Transpose", None, perm=perm)
        net.add("Reshape", None, net.const(np.array([1, 6, 4, 4], np.int64))).conv(4, 6, (3, 3))
    net = Net("shuffle_and_take", (1, 6, 4, 4)).conv(6, 6, (1, 1))
    net.add("Reshape", None, net.const(np.array([3, 2, 16], np.int64))).add("Transpose", None, perm=[1, 0, 2])
    net.add("Reshape", None, net.const(np.array([2, -1, 3, 4, 4], np.int64)))
    shuffled = net.last
    net.add("Gather", shuffled, net.const(np.int64(0)), axis=0).conv(3, 3, (1, 1))
    first = net.last
    net.add("Gather", shuffled, net.const(np.int64(1)), axis=0).add("Concat", first, None, axis=1)
    for mode in ("DCR", "CRD"):
        net = Net(f"depth_to_space_{mode.lower()}", ("N", 8, 3, 2)).conv(8, 8, (1, 1))
        net.add("DepthToSpace", None, blocksize=2, mode=mode).conv(3, 2, (3, 3))
    Net("depth_to_space_output", ("N", 12, 3, 2)).add("Relu", None).add("DepthToSpace", None, blocksize=2)
    net = Net("space_to_depth", ("N", 2, 6, 4)).add("SpaceToDepth", None, blocksize=2).conv(3, 8, (1, 1))
    net = Net("focus", ("N", 3, 8, 8))
    parts = []
    for row in (0, 1):
        for column in (0, 1):
            bounds = ([row, column], [9, 9], [2, 3], [2, 2])
            net.add("Slice", "x", *(net.const(np.array(v, np.int64)) for v in bounds))
            parts.append(net.last)
    net.add("Concat", *parts, axis=1).conv(4, 12, (3, 3))
    net = Net("rows_and_columns_turned", ("N", 3, 4, 6)).conv(2, 3, (1, 1)).add("Transpose", None, perm=[0, 1, 3, 2])
    net.conv(3, 2, (3, 1)).add("Transpose", None, perm=[0, 1, 3, 2])
    net = Net("reshape_across_axes", (1, 6, 4, 4)).add("Relu", None)
    net.add("Reshape", None, net.const(np.array([1, 3, 8, 4], np.int64))).conv(2, 3, (3, 3))
    net = Net("reshape_turned_across_axes", (1, 1, 4, 6)).add("Transpose", None, perm=[0, 1, 3, 2]).add("Relu", None)
    net.add("Reshape", None, net.const(np.array([1, 1, 8, 3], np.int64))).conv(2, 1, (2, 2))
    for mode in ("reflect", "edge"):
        net = Net(f"pad_{mode}")
        net.add("Pad", None, net.const(np.array([0, 0, 2, 1, 0, 0, 0, 3], np.int64)), mode=mode).conv(2, 3, (3, 3))
    net = Net("pad_and_crop")
    net.add("Pad", None, net.const(np.array([0, 1, -2, 1, 0, 0, 3, -4], np.int64)), net.const(np.float32(0.5)))
    net = Net("expand_gate", (1, 4, 5, 3)).add("GlobalAveragePool", None)
    net.add("Expand", None, net.const(np.array([1, 4, 5, 3], np.int64))).add("Concat", None, "x", axis=1)
    net = Net("softmax_channels").conv(5, 3, (3, 3)).add("Softmax", None, axis=1)
    net = Net("softmax_columns").conv(5, 3, (3, 3)).add("Softmax", None)
    net = Net("softmax_rows").conv(5, 3, (3, 3)).add("Softmax", None, axis=2)
    net = Net("softmax_11_picture", (1, 3, 4, 4), opset=11).add("Relu", None).add("Softmax", None, axis=2)
    net = Net("mean_of_rows", ("N", 3, 4, 5)).add("ReduceMean", None, axes=[2], keepdims=0).add("Relu", None)
    net = Net("largest_of_channels", ("N", 3, 4, 5)).add("ReduceMax", None, axes=[1], keepdims=1).add("Add", None, "x")
    Net("global_max_pool", ("N", 3, 4, 5)).add("GlobalMaxPool", None).add("Flatten", None)
    Net("largest_of_picture", ("N", 3, 4, 5)).add("ReduceMax", None, axes=[2, 3], keepdims=0)
    net = Net("matmul_of_pixels", (1, 4, 3, 5)).add("Transpose", None, perm=[0, 2, 3, 1])
    net.add("MatMul", None, net.weight(4, 6)).add("Add", None, net.weight(6)).add("Relu", None)
    for size in (6, 7, 8, 9):
        for pads in ([0] * 4, [1] * 4):
            net = Net(f"average_pool_ceil_counted_{size}_{pads[0]}", ("N", 2, size, size))
            net.add("AveragePool", None, kernel_shape=[3, 3], strides=[2, 2], pads=pads, ceil_mode=1, count_include_pad=1)
    for kernel in (5, 9):
        net = Net(f"spatial_pyramid_{kernel}", ("N", 3, 7, 7))
        net.add("MaxPool", None, kernel_shape=[kernel] * 2, strides=[1, 1], pads=[kernel // 2] * 4)


def transposed_convolutions():
    for name, kernel, attributes in (
        ("plain", (3, 3), {}),
        ("two", (2, 2), {"strides": [2, 2]}),
        ("four", (4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("three", (3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        ("wide", (2, 5), {"strides": [3, 2], "pads": [0, 3, 1, 0], "output_padding": [2, 0]}),
        ("cropped", (5, 3), {"strides": [2, 1], "pads": [4, 2, 3, 1]}),
        ("far", (3, 3), {"strides": [4, 4], "output_padding": [3, 2]}),
    ):
        net = Net(f"conv_transpose_{name}", ("N", 3, 5, 4))
        net.add("ConvTranspose", None, net.weight(3, 2, *kernel), net.weight(2), **attributes).add("Relu", None).conv(2, 2, (2, 2))
    for name, attributes in (
        ("dilated", {"dilations": [2, 3], "strides": [2, 1], "pads": [1, 0, 2, 1]}),
        ("same_upper", {"auto_pad": "SAME_UPPER", "strides": [3, 2]}),
        ("same_lower", {"auto_pad": "SAME_LOWER", "strides": [3, 2]}),
        ("stated", {"output_shape": [11, 9], "strides": [2, 2]}),
    ):
        net = Net(f"conv_transpose_{name}", ("N", 3, 5, 4))
        net.add("ConvTranspose", None, net.weight(3, 2, 3, 3), net.weight(2), **attributes)
    net = Net("conv_transpose_grouped", ("N", 4, 5, 4))
    net.add("ConvTranspose", None, net.weight(4, 3, 3, 2), strides=[2, 2], group=2)


def resizing():
    coordinates = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    for number, scales in enumerate(([1, 1, 2, 2], [1, 1, 1.7, 0.6], [1, 1, 0.5, 3])):
        scales = np.array(scales, np.float32)
        for mode in coordinates:
            for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
                net = Net(f"resize_{number}_{mode}_{rounding}", ("N", 2, 5, 4))
                net.add("Resize", None, "", net.const(scales), coordinate_transformation_mode=mode, mode="nearest", nearest_mode=rounding)
            net = Net(f"resize_{number}_{mode}_linear", ("N", 2, 5, 4))
            net.add("Resize", None, "", net.const(scales), coordinate_transformation_mode=mode, mode="linear")
    net = Net("resize_sizes", (1, 2, 5, 4), opset=13)
    net.add("Resize", None, "", "", net.const(np.array([1, 2, 11, 3], np.int64)), mode="linear", coordinate_transformation_mode="half_pixel")
    net = Net("resize_axes", (1, 2, 5, 4), opset=18)
    net.add("Resize", None, "", net.const(np.array([2, 1.5], np.float32)), axes=[2, 3], coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    net = Net("resize_to_one", (1, 2, 5, 4), opset=13)
    net.add("Resize", None, "", "", net.const(np.array([1, 2, 1, 1], np.int64)), mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    net = Net("resize_channels_last", ("N", 5, 4, 3)).add("Transpose", None, perm=[0, 3, 1, 2]).conv(3, 3, (1, 1)).add("Transpose", None, perm=[0, 2, 3, 1])
    net.add("Resize", None, "", net.const(np.array([1, 2, 2, 1], np.float32)), coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    net.add("Transpose", None, perm=[0, 3, 1, 2]).conv(2, 3, (3, 3))
    net = Net("torch_upsample", ("N", 3, 4, 4), opset=13).conv(2, 3, (3, 3), pads=[1] * 4)
    conv = net.last
    net.add("Shape", None).add("Slice", None, *(net.const(np.array([v], np.int64)) for v in (0, 2, 0)))
    net.add("Concat", None, net.const(np.array([8, 8], np.int64)), axis=0)
    net.add("Resize", conv, "", "", net.last, coordinate_transformation_mode="asymmetric", nearest_mode="floor").conv(2, 2, (3, 3))


def quantised():
    """Models of one rounded result each, so that roundings at one half stay single steps."""
    for dtype, zeros in ((np.int8, (-3, 5)), (np.uint8, (120, 131))):
        kind = np.dtype(dtype).name
        net = Net(f"quantised_conv_{kind}").quantise(0.03, zeros[0], dtype).dequantise()
        net.add("Conv", None, net.stored(4, 3, 3, 3, axis=0 if dtype == np.int8 else None, dtype=dtype), net.stored(4, axis=0))
        net.add("Relu", None).quantise(0.01, 0 if dtype == np.uint8 else -128, dtype).dequantise()
        net = Net(f"quantised_gemm_{kind}", shape=("N", 12)).quantise(0.03, zeros[0], dtype).dequantise()
        net.add("Gemm", None, net.stored(12, 5, axis=1, dtype=dtype), net.stored(5, axis=0))
        net.quantise(0.02, zeros[1], dtype).dequantise()
        net = Net(f"quantised_moves_{kind}").quantise(0.03, zeros[0], dtype)
        whole = net.add("MaxPool", None, kernel_shape=[2, 2], strides=[2, 2]).last
        net.add("Transpose", None, perm=[0, 1, 3, 2]).add("Concat", None, whole, axis=1)
        net.add("Pad", None, net.const(np.int64([0, 0, 1, 0, 0, 0, 0, 2])), net.const(dtype(zeros[1]))).dequantise()
        net = Net(f"quantised_average_{kind}").quantise(0.03, zeros[0], dtype).dequantise()
        net.add("GlobalAveragePool", None).quantise(0.01, zeros[1], dtype).dequantise()
    net = Net("quantised_without_zero_point")
    scale = net.const(np.float32(0.02))
    net.add("QuantizeLinear", None, scale).add("DequantizeLinear", None, scale)
    net = Net("quantised_in_the_file", opset=13).quantise(0.03, 1).dequantise()
    scale, zero = net.const(np.float32(0.02)), net.const(np.int8(0))
    last = net.last
    net.add("QuantizeLinear", net.weight(4, 3, 1, 1), scale, zero).add("DequantizeLinear", None, scale, zero)
    weight, net.last = net.last, last
    net.add("Conv", None, weight).quantise(0.04, 0).dequantise()

    def steps(net, scale, zero, dtype=np.int8):
        return [net.const(np.float32(scale)), net.const(dtype(zero))]

    net = Net("qlinear_conv").quantise(0.03, -3)
    inputs = [None, *net.steps, *net.integers(4, 3, 3, 3, axis=0)]
    bias = net.const(net.rng.integers(-2000, 2000, size=4).astype(np.int32))
    net.steps = steps(net, 0.02, 4)
    net.add("QLinearConv", *inputs, *net.steps, bias, pads=[1, 1, 1, 1]).dequantise()
    net = Net("qlinear_matmul", shape=("N", 12)).quantise(0.03, 100, np.uint8)
    inputs = [None, *net.steps, *net.integers(12, 5)]
    net.steps = steps(net, 0.05, 128, np.uint8)
    net.add("QLinearMatMul", *inputs, *net.steps).dequantise()
    own = {"domain": "com.microsoft"}
    for op in ("QLinearAdd", "QLinearMul"):
        net = Net(op.lower()).quantise(0.03, -3)
        left, net.last = [net.last, *net.steps], "x"
        right = [net.quantise(0.02, 7).last, *net.steps]
        net.steps = steps(net, 0.05, 1)
        net.add(op, *left, *right, *net.steps, **own).dequantise()
    for op, attributes in (
        ("QLinearAveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("QLinearGlobalAveragePool", {}),
        ("QLinearLeakyRelu", {"alpha": 0.1}),
        ("QLinearSigmoid", {}),
    ):
        net = Net(op.lower()).quantise(0.03, -3)
        inputs = [None, *net.steps]
        net.steps = steps(net, 0.02, 3)
        net.add(op, *inputs, *net.steps, **attributes, **own).dequantise()
    net = Net("qlinearconcat").quantise(0.03, -3)
    left, net.last = [net.last, *net.steps], "x"
    right = [net.quantise(0.02, 7).last, *net.steps]
    net.steps = steps(net, 0.03, 1)
    net.add("QLinearConcat", *net.steps, *left, *right, axis=1, **own).dequantise()
    net = Net("qgemm", shape=("N", 12)).quantise(0.03, -3)
    inputs = [None, *net.steps, *net.integers(5, 12, axis=0)]
    bias = net.const(net.rng.integers(-2000, 2000, size=5).astype(np.int32))
    net.steps = steps(net, 0.05, 2)
    net.add("QGemm", *inputs, bias, *net.steps, transB=1, **own).dequantise()


def signals():
    """Networks along one axis."""
    def signal(name):
        return Net(name, ("N", 4, 1, 12)).add("Squeeze", None, MODELS[-1].const(np.int64([2])))

    net = signal("signal_conv")
    net.add("Conv", None, net.weight(6, 4, 3), net.weight(6), strides=[2], pads=[1, 2], dilations=[2])
    net.add("MaxPool", None, kernel_shape=[2], strides=[2]).add("GlobalAveragePool", None)
    net = signal("signal_average")
    net.add("AveragePool", None, kernel_shape=[3], pads=[1, 1], count_include_pad=1)
    net = Net("signal_input", ("N", 4, 12)).add("Relu", None)
    net.add("Conv", None, net.weight(6, 4, 3), net.weight(6), strides=[2], pads=[1, 1]).add("MaxPool", None, kernel_shape=[2])
    net = Net("spectrogram_input", ("N", 10, 8))
    net.add("Unsqueeze", None, net.const(np.int64([1]))).conv(6, 1, (2, 1))
    net = signal("signal_transposed")
    net.add("ConvTranspose", None, net.weight(4, 2, 3), strides=[2], pads=[1, 0])


def several():
    """Functions of more operands, or of larger constants, than layers have."""
    net = Net("max_of_three")
    net.add("Max", net.weight(3, 1, 1), None, net.weight(8))
    net = Net("min_of_three")
    first = net.add("Relu", None).last
    net.add("Sigmoid", "x").add("Min", None, first, "x")
    net = Net("prelu_each")
    net.add("PRelu", None, net.weight(3, 8, 8))
    net = Net("gather_table")
    net.add("Gather", None, net.const(np.int64([[2, 0], [1, 1]])), axis=1).add("Reshape", None, net.const(np.int64([0, 4, 8, 8])))
    net = Net("clip_crossed")
    net.add("Clip", None, net.const(np.float32(2)), net.const(np.float32(1)))


def heads():
    """Outputs as detectors give them."""
    net = Net("head_of_anchors", (1, 3, 4, 5)).conv(8, 3, (1, 1)).add("Transpose", None, perm=[0, 2, 3, 1])
    net.add("Reshape", None, net.const(np.array([1, -1, 4], np.int64)))
    net = Net("heads_of_two_scales", (1, 3, 8, 8))
    joined = {"scores": [], "boxes": []}
    for stride, name, values in ((2, "scores", 2), (2, "boxes", 4), (4, "scores", 2), (4, "boxes", 4)):
        net.add("Conv", "x", net.weight(3 * values, 3, 3, 3), strides=[stride] * 2, pads=[1] * 4)
        net.add("Transpose", None, perm=[0, 2, 3, 1]).add("Reshape", None, net.const(np.array([1, -1, values], np.int64)))
        joined[name].append(net.last)
    net.add("Concat", *joined["scores"], axis=1).add("Softmax", None, axis=2)
    scores = net.last
    net.add("Concat", *joined["boxes"], axis=1)
    boxes = net.last
    cut = lambda first, last: [net.const(np.array([v], np.int64)) for v in (first, last, 2, 1)]
    net.add("Slice", boxes, *cut(0, 2)).add("Mul", None, net.weight(1, 60, 2)).add("Add", None, net.weight(1, 60, 2))
    centres = net.last
    net.add("Slice", boxes, *cut(2, 9)).add("Mul", None, net.const(np.float32(0.2))).add("Exp", None).add("Mul", None, net.weight(60, 2))
    net.add("Div", None, net.const(np.float32(2)))
    halves = net.last
    net.add("Sub", centres, halves)
    low = net.last
    net.add("Add", centres, halves).add("Concat", low, None, axis=2)
    net.outputs = [scores, net.last]
    net = Net("head_of_yolo", (1, 3, 4, 5)).conv(18, 3, (1, 1)).add("Reshape", None, MODELS[-1].const(np.array([1, 3, 6, 4, 5], np.int64)))
    net.add("Transpose", None, perm=[0, 1, 3, 4, 2]).add("Sigmoid", None)
    all_ = net.last
    cut = lambda first, last: [net.const(np.array([v], np.int64)) for v in (first, last, 4)]
    net.add("Slice", all_, *cut(0, 2)).add("Mul", None, net.const(np.float32(2))).add("Add", None, net.weight(1, 3, 4, 5, 2))
    centre = net.last
    net.add("Slice", all_, *cut(2, 4)).add("Mul", None, net.last).add("Mul", None, net.weight(1, 3, 1, 1, 2))
    size = net.last
    net.add("Slice", all_, *cut(4, 6)).add("Concat", centre, size, None, axis=4)
    net.add("Reshape", None, net.const(np.array([1, -1, 6], np.int64)))
    net = Net("head_of_columns", (1, 3, 4, 5)).conv(7, 3, (1, 1)).add("Reshape", None, MODELS[-1].const(np.array([1, 7, 20], np.int64)))
    first = net.last
    net.add("Conv", "x", net.weight(7, 3, 3, 3), strides=[2, 2], pads=[1] * 4).add("Reshape", None, net.const(np.array([1, 7, -1], np.int64)))
    net.add("Concat", first, None, axis=2).add("Transpose", None, perm=[0, 2, 1])
    net = Net("one_map_twice", (1, 3, 4, 5)).conv(4, 3, (1, 1))
    conv = net.last
    net.add("Relu", None).add("Transpose", None, perm=[0, 2, 3, 1])
    net.outputs = [conv, net.last]
    net = Net("turned_output", ("N", 3, 4, 5)).conv(2, 3, (1, 1)).add("Transpose", None, perm=[0, 3, 1, 2])


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
    functions()
    pairs()
    moving()
    transposed_convolutions()
    resizing()
    quantised()
    signals()
    several()
    heads()
    External("external_data").conv(4, 3, (3, 3)).add("Relu", None)
    Typed("typed_initializers", opset=11).conv(4, 3, (3, 3)).add("Relu", None)
    for net in MODELS:
        net.write(folder)
    print(len(MODELS))


if __name__ == "__main__":
    main(sys.argv[1])
