"""Exports 26 common networks of torchvision and timm to ONNX as their users do, with the outputs that
onnxruntime gives for one picture: what `nestc check` is to import and evaluate (`make exports`).

Weights are random and seeded. Normalisations get the statistics of random pictures and random factors, as
after a training, so that every layer's values have an extent and matter to the output.

Usage: python exports.py FOLDER [NAME ...]   (needs torch, torchvision, timm, onnx and onnxruntime)

Each network becomes FOLDER/NAME/{model.onnx,input.bin,output.bin}: floats, little-endian, as the file
lays them out. A second folder NAME.dynamo holds what PyTorch's newer exporter makes of some of them.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import timm
import torch
import torchvision

OPSET = 17
# The newer exporter begins at this one.
DYNAMO_OPSET = 18

TORCHVISION = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "vgg11_bn",
]
TIMM = [
    "efficientnet_lite0",
    "ghostnet_100",
    "hardcorenas_a",
    "lcnet_050",
    "mixnet_s",
    "mobileone_s0",
    "mobilevit_xxs",
    "repvgg_a0",
    "tinynet_e",
]
DYNAMO = [
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "mobilenet_v3_small",
    "resnet18",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
]


def network(name):
    """The network with random weights, ready to export, and the side of its pictures."""
    torch.manual_seed(5)
    if name in TORCHVISION:
        # Auxiliary classifiers serve training alone.
        auxiliary = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, weights=None, init_weights=True, **auxiliary) \
            if auxiliary else torchvision.models.get_model(name, weights=None)
        side = 299 if name == "inception_v3" else 224
    else:
        model = timm.create_model(name, pretrained=False, exportable=True)
        side = model.default_cfg["input_size"][-1]
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        if norm.affine:
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, std=0.2)
    for key, parameter in model.named_parameters():
        # ConvNeXt's branches begin as good as switched off.
        if key.endswith("layer_scale"):
            torch.nn.init.uniform_(parameter, 0.1, 0.5)
    model.train()
    with torch.no_grad():
        model(torch.cat([picture(side) for _ in range(4)]))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    return model.eval(), side


def picture(side):
    """Random shapes under noise: unlike noise alone they do not average out."""
    shapes = torch.nn.functional.interpolate(torch.randn(1, 3, 7, 7), size=(side, side), mode="bicubic")
    return shapes + 0.3 * torch.randn(1, 3, side, side)


def export(name, folder, dynamo):
    model, side = network(name)
    folder = folder / (f"{name}.dynamo" if dynamo else name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    shown = picture(side)
    torch.onnx.export(
        model,
        (shown,),
        path,
        input_names=["input"],
        output_names=["output"],
        opset_version=DYNAMO_OPSET if dynamo else OPSET,
        dynamo=dynamo,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    run = lambda x: session.run(None, {"input": x})[0]
    output = run(shown.numpy())
    other = run(picture(side).numpy())
    # An output that hardly depends on the picture would agree with anything.
    moves = np.abs(other - output).max() / np.ptp(output)
    assert np.isfinite(output).all() and moves > 0.01, f"{name}: {moves}"
    shown.numpy().astype("<f4").tofile(folder / "input.bin")
    output.astype("<f4").tofile(folder / "output.bin")
    print(f"{folder.name}: {path.stat().st_size / 1e6:.1f} MB, pictures of {side}, two differ by {moves:.2f}", flush=True)


def main():
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    names = sys.argv[2:] or TORCHVISION + TIMM
    for name in names:
        for dynamo in [False, True] if name in DYNAMO else [False]:
            export(name, folder, dynamo)
    versions = (("torch", torch), ("torchvision", torchvision), ("timm", timm), ("onnxruntime", onnxruntime))
    print(", ".join(f"{name} {module.__version__}" for name, module in versions))


if __name__ == "__main__":
    main()
