"""Checks written ONNX files: python check_export.py FOLDER

For each FOLDER/*.onnx: onnx.checker accepts it, onnxruntime runs it without a word on the
inputs in input.bin (one after the other, shape from the model) and agrees with NAME.bin, what
nestc computed for them. Prints the largest difference as a share of the outputs' range.
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime


def main(folder):
    worst, files = 0.0, 0
    stored = np.fromfile(os.path.join(folder, "input.bin"), np.float32)
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".onnx"):
            continue
        path = os.path.join(folder, name)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (info,) = session.get_inputs()
        x = stored.reshape([-1] + info.shape[1:])
        (y,) = session.run(None, {info.name: x})
        expected = np.fromfile(path + ".bin", np.float32).reshape(y.shape)
        worst = max(worst, float(np.abs(y - expected).max() / (y.max() - y.min())))
        files += 1
    print(files, worst)


if __name__ == "__main__":
    main(sys.argv[1])
