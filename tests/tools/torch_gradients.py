"""Writes PyTorch's outputs and gradients, in double precision, of small networks: what
src/train/engine/tests/torch.rs holds the training engine against.

Each network is a list of nodes; value 0 is the input, value i + 1 what node i gives. Inputs, weights
and the gradient of the output are multiples of 1/64 and written as integers.

Usage: python torch_gradients.py > src/train/engine/tests/torch.json   (needs torch and numpy)
"""

import json
import sys

import numpy as np
import torch
import torch.nn.functional as F

IMAGES = 3
UNIT = 64
rng = np.random.default_rng(20)


def whole(*shape, spread=1.0, centre=0.0):
    """Random multiples of 1/UNIT around `centre`, as integers."""
    return np.rint((centre + spread * rng.uniform(-1, 1, shape)) * UNIT).astype(int)


def tensor(integers):
    return torch.tensor(np.asarray(integers) / UNIT, dtype=torch.float64)


def conv(value, inputs, outputs, kernel, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1, bias=True):
    """`pads` are top, left, bottom, right."""
    taps = inputs // groups * kernel[0] * kernel[1]
    node = dict(op="conv", inputs=[value], out_channels=outputs, group_channels=inputs // groups, groups=groups)
    node.update(kernel=kernel, stride=stride, pads=pads, dilation=dilation)
    node["weight"] = whole(outputs, inputs // groups, *kernel, spread=1.5 / np.sqrt(taps))
    if bias:
        node["bias"] = whole(outputs)
    return node


def stem(channels, bias=True):
    return conv(0, 2, channels, (3, 3), pads=(1, 1, 1, 1), bias=bias)


def norm(value, channels):
    return dict(op="bn", inputs=[value], gamma=whole(channels, centre=1, spread=0.5), beta=whole(channels))


def dense(value, inputs, outputs):
    weight = whole(outputs, inputs, spread=1 / np.sqrt(inputs))
    return dict(op="dense", inputs=[value], weight=weight, bias=whole(outputs))


def simple(op, *values, **more):
    return dict(op=op, inputs=list(values), **more)


def pool(op, value, kernel, stride, pads, **more):
    return dict(op=op, inputs=[value], kernel=kernel, stride=stride, pads=pads, **more)


def padded(x, pads, value=0.0):
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value)


def run(node, values):
    x = values[node["inputs"][0]]
    op = node["op"]
    p = node["tensors"]
    if op == "conv":
        x = padded(x, node["pads"])
        return F.conv2d(x, p["weight"], p.get("bias"), node["stride"], 0, node["dilation"], node["groups"])
    if op == "bn":
        return F.batch_norm(x, None, None, p["gamma"], p["beta"], training=True, eps=1e-3)
    if op == "dense":
        return F.linear(x, p["weight"], p["bias"])
    if op == "relu":
        return F.relu(x)
    if op == "relu6":
        return F.relu6(x)
    if op == "add":
        return x + values[node["inputs"][1]]
    if op == "max pool":
        return F.max_pool2d(padded(x, node["pads"], -torch.inf), node["kernel"], node["stride"])
    if op == "average pool":
        sums = F.avg_pool2d(padded(x, node["pads"]), node["kernel"], node["stride"], divisor_override=1)
        ones = torch.ones_like(x)
        if node["count_include_pad"]:
            return sums / (node["kernel"][0] * node["kernel"][1])
        return sums / F.avg_pool2d(padded(ones, node["pads"]), node["kernel"], node["stride"], divisor_override=1)
    if op == "global average pool":
        return x.mean((2, 3), keepdim=True)
    if op == "flatten":
        return x.flatten(1)
    if op == "softmax":
        return F.softmax(x, 1)
    raise ValueError(op)


def network(name, shape, nodes):
    parameters = ("weight", "bias", "gamma", "beta")
    x = whole(IMAGES, *shape)
    values = [tensor(x)]
    for node in nodes:
        node["tensors"] = {k: tensor(node[k]).requires_grad_() for k in parameters if k in node}
        values.append(run(node, values))
    output = values[-1]
    seed = whole(*output.shape)
    output.backward(tensor(seed))
    gradients = [
        dict(node=i, role=role, values=digits(t.grad))
        for i, node in enumerate(nodes)
        for role, t in node["tensors"].items()
    ]
    for node in nodes:
        del node["tensors"]
        for key in parameters:
            if key in node:
                node[key] = node[key].flatten().tolist()
    return dict(
        name=name,
        shape=shape,
        nodes=nodes,
        images=x.reshape(IMAGES, -1).tolist(),
        seed=seed.flatten().tolist(),
        output=digits(output),
        gradients=gradients,
    )


def digits(t):
    return [float(f"{v:.8g}") for v in t.detach().flatten().tolist()]


def loss(name, smoothing, share, temperature):
    """The loss of `recipe::loss`, from PyTorch's own cross-entropy and Kullback-Leibler divergence."""
    logits, teacher = whole(5, spread=3), whole(5, spread=3)
    label = 2
    z = tensor(logits).requires_grad_()
    q = F.log_softmax(tensor(teacher) / temperature, 0)
    p = F.log_softmax(z / temperature, 0)
    divergence = F.kl_div(p, q, reduction="sum", log_target=True) * temperature**2
    entropy = F.cross_entropy(z[None], torch.tensor([label]), label_smoothing=smoothing)
    total = (1 - share) * entropy + share * divergence
    total.backward()
    return dict(
        name=name,
        logits=logits.tolist(),
        teacher=teacher.tolist(),
        label=label,
        smoothing=smoothing,
        share=share,
        temperature=temperature,
        loss=digits(total[None])[0],
        gradient=digits(z.grad),
    )


SAME = (1, 1, 1, 1)


def main():
    networks = [
        network("conv 3x3", (2, 5, 6), [stem(3), conv(1, 3, 5, (3, 3), pads=SAME)]),
        network("conv 3x3 of even maps", (2, 4, 6), [stem(9), conv(1, 9, 8, (3, 3), pads=SAME)]),
        network("conv 1x1", (2, 5, 6), [stem(4), conv(1, 4, 7, (1, 1), bias=False)]),
        network(
            "conv strided, padded unevenly",
            (2, 6, 7),
            [stem(3), conv(1, 3, 4, (3, 3), (2, 2), (0, 1, 1, 0))],
        ),
        network(
            "conv strided and dilated unevenly",
            (2, 7, 8),
            [stem(2), conv(1, 2, 3, (2, 3), (3, 1), (1, 2, 2, 1), (2, 2))],
        ),
        network("conv 5x5", (2, 6, 5), [stem(2), conv(1, 2, 3, (5, 5), pads=(2, 2, 2, 2))]),
        network("conv in groups", (2, 5, 6), [stem(6), conv(1, 6, 9, (3, 3), pads=SAME, groups=3)]),
        network("depthwise", (2, 5, 9), [stem(4), conv(1, 4, 4, (3, 3), pads=SAME, groups=4)]),
        network("depthwise stride 2", (2, 7, 8), [stem(4), conv(1, 4, 4, (3, 3), (2, 2), SAME, groups=4)]),
        network("depthwise 5x5", (2, 6, 7), [stem(3), conv(1, 3, 3, (5, 5), pads=(2, 2, 2, 2), groups=3)]),
        network("batch norm", (2, 4, 5), [stem(3, bias=False), norm(1, 3)]),
        network("batch norm and relu", (2, 4, 5), [stem(3, bias=False), norm(1, 3), simple("relu", 2)]),
        network("relu6", (2, 4, 5), [stem(3), conv(1, 3, 4, (1, 1)), simple("relu6", 2)]),
        network("add", (2, 4, 5), [stem(3), conv(1, 3, 3, (1, 1)), simple("add", 1, 2)]),
        network(
            "max pool", (2, 5, 6), [stem(3), pool("max pool", 1, (3, 2), (2, 1), (1, 0, 1, 1))]
        ),
        network(
            "average pool",
            (2, 5, 6),
            [stem(3), pool("average pool", 1, (3, 3), (2, 2), (1, 0, 1, 1), count_include_pad=False)],
        ),
        network(
            "average pool that counts padding",
            (2, 5, 6),
            [stem(3), pool("average pool", 1, (3, 3), (2, 2), (1, 0, 1, 1), count_include_pad=True)],
        ),
        network(
            "global pool and dense",
            (2, 4, 5),
            [stem(4), simple("global average pool", 1), simple("flatten", 2), dense(3, 4, 5)],
        ),
        network(
            "softmax",
            (2, 3, 3),
            [stem(3), simple("global average pool", 1), simple("flatten", 2), dense(3, 3, 4), simple("softmax", 4)],
        ),
        network(
            "residual block",
            (2, 6, 6),
            [
                conv(0, 2, 4, (3, 3), pads=SAME, bias=False),
                norm(1, 4),
                simple("relu", 2),
                conv(3, 4, 6, (3, 3), (2, 2), SAME, bias=False),
                norm(4, 6),
                conv(3, 4, 6, (1, 1), (2, 2), bias=False),
                norm(6, 6),
                simple("add", 5, 7),
                simple("relu", 8),
                simple("global average pool", 9),
                simple("flatten", 10),
                dense(11, 6, 5),
            ],
        ),
    ]
    losses = [
        loss("cross-entropy", 0.0, 0.0, 1.0),
        loss("smoothed cross-entropy", 0.1, 0.0, 1.0),
        loss("distillation", 0.0, 1.0, 2.0),
        loss("both", 0.05, 0.7, 4.0),
    ]
    record = dict(torch=torch.__version__.split("+")[0], unit=UNIT, networks=networks, losses=losses)
    json.dump(record, sys.stdout, separators=(",", ":"))
    print()


main()
