"""A second opinion on detection: decoding, suppression and average precision in numpy, in double
precision, written from the sources that the modules name and not from their code.

Reads cases as JSON from the file named first and prints the answers as JSON."""

import json
import sys

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def corners(cx, cy, w, h):
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=-1)


def fastestdet(case):
    """Scores (cells, classes) and boxes (cells, 4); only each cell's best class, the first of equal
    ones, has a score."""
    rows, columns = case["grid"]
    m = np.array(case["outputs"][0], np.float64).reshape(-1, rows, columns)
    # What is not positive has no power, and no score.
    np.seterr(invalid="ignore")
    gy, gx = np.mgrid[0:rows, 0:columns]
    boxes = corners(
        (gx + np.tanh(m[1])) / columns,
        (gy + np.tanh(m[2])) / rows,
        sigmoid(m[3]) * case["size"] / case["input"][1],
        sigmoid(m[4]) * case["size"] / case["input"][0],
    ).reshape(-1, 4)
    classes = m[5:].reshape(len(m) - 5, -1).T
    scores = m[0].reshape(-1, 1) ** 0.6 * classes**0.4
    best = np.arange(classes.shape[1]) == classes.argmax(axis=1)[:, None]
    return np.where(best, scores, -1), boxes


def ssd(case):
    scores = np.array(case["outputs"][0], np.float64).reshape(-1, case["columns"])
    raw = np.array(case["outputs"][1], np.float64).reshape(-1, 4)
    if case["scores"] == "softmax":
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = e / e.sum(axis=1, keepdims=True)
    elif case["scores"] == "sigmoid":
        scores = sigmoid(scores)
    if case["background"]:
        scores = scores[:, 1:]
    if case["boxes"] == "corners":
        return scores, raw
    if case["boxes"] == "centres":
        return scores, corners(*raw.T)
    height, width = case["input"]
    priors = []
    for stride, extents in zip(case["strides"], case["priors"]):
        for y in range(-(-height // stride)):
            for x in range(-(-width // stride)):
                for w, h in extents:
                    priors.append([(x + 0.5) * stride / width, (y + 0.5) * stride / height, w / width, h / height])
    p = np.array(priors)
    centre, extent = case["variances"]
    xy = p[:, :2] + raw[:, :2] * centre * p[:, 2:]
    wh = p[:, 2:] * np.exp(raw[:, 2:] * extent)
    return scores, np.concatenate([xy - wh / 2, xy + wh / 2], axis=1)


def yolo(case):
    height, width = case["input"]
    all_scores, all_boxes = [], []
    for output, grid, anchors in zip(case["outputs"], case["grids"], case["anchors"]):
        rows, columns = grid
        m = np.array(output, np.float64).reshape(len(anchors), -1, rows, columns)
        gy, gx = np.mgrid[0:rows, 0:columns]
        for t, (aw, ah) in zip(m, anchors):
            x, y = sigmoid(t[0]), sigmoid(t[1])
            if case["form"] == "v3":
                w, h = aw * np.exp(t[2]), ah * np.exp(t[3])
            else:
                x, y = 2 * x - 0.5, 2 * y - 0.5
                w, h = aw * (2 * sigmoid(t[2])) ** 2, ah * (2 * sigmoid(t[3])) ** 2
            boxes = corners((gx + x) / columns, (gy + y) / rows, w / width, h / height)
            scores = sigmoid(t[4]) * sigmoid(t[5:])
            all_scores.append(scores.reshape(len(scores), -1).T)
            all_boxes.append(boxes.reshape(-1, 4))
    return np.concatenate(all_scores), np.concatenate(all_boxes)


def overlaps(box, others):
    """Intersection over union of one box with many."""
    lt = np.maximum(box[:2], others[:, :2])
    rb = np.minimum(box[2:], others[:, 2:])
    inter = np.prod(np.clip(rb - lt, 0, None), axis=1)
    area = lambda b: np.prod(np.clip(b[..., 2:] - b[..., :2], 0, None), axis=-1)
    union = area(box) + area(others) - inter
    return np.where(inter > 0, inter / np.where(union > 0, union, 1), 0)


def suppressed(scores, boxes, threshold, limit):
    """The indices that stay, strongest first: take the best, delete what it covers, repeat. Of equally
    strong ones the leftmost goes first, of these the uppermost, and so on."""
    order = np.lexsort([*boxes.T[::-1], -scores])
    kept = []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        order = order[overlaps(boxes[first], boxes[order]) <= limit]
    return kept


def detect(case):
    scores, boxes = {"fastestdet": fastestdet, "ssd": ssd, "yolo": yolo}[case["kind"]](case)
    found = []
    for c in range(scores.shape[1]):
        some = scores[:, c] > case["score"]
        s, b = scores[some, c], boxes[some]
        for i in suppressed(s, b, case["score"], case["overlap"]):
            found.append([s[i], c, *b[i]])
    found.sort(key=lambda d: -d[0])
    return found


def average_precision(case):
    """As in the evaluation scripts that most detection papers use: sort, match, cumulate, envelope."""
    flat = []
    for image, detections in enumerate(case["found"]):
        for score, box in detections:
            flat.append((-score, image, box))
    flat.sort()
    truth = [
        {
            "boxes": np.array([box for box, _ in objects], np.float64).reshape(-1, 4),
            "difficult": np.array([d for _, d in objects], bool),
            "claimed": np.zeros(len(objects), bool),
        }
        for objects in case["truth"]
    ]
    positives = sum(int((~t["difficult"]).sum()) for t in truth)
    if positives == 0:
        return None
    tp, fp = np.zeros(len(flat)), np.zeros(len(flat))
    for i, (_, image, box) in enumerate(flat):
        t = truth[image]
        shared = overlaps(np.array(box, np.float64), t["boxes"])
        j = int(shared.argmax()) if len(shared) else -1
        if j >= 0 and shared[j] >= 0.5:
            if not t["difficult"][j]:
                if t["claimed"][j]:
                    fp[i] = 1
                else:
                    tp[i] = 1
                    t["claimed"][j] = True
        else:
            fp[i] = 1
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    recall = tp / positives
    precision = tp / np.maximum(tp + fp, np.finfo(np.float64).eps)
    recall = np.concatenate([[0], recall, [1]])
    precision = np.concatenate([[0], precision, [0]])
    for i in range(len(precision) - 1, 0, -1):
        precision[i - 1] = max(precision[i - 1], precision[i])
    steps = np.where(recall[1:] != recall[:-1])[0]
    return float(np.sum((recall[steps + 1] - recall[steps]) * precision[steps + 1]))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    answers = {
        "detect": [detect(case) for case in cases["detect"]],
        "average": [average_precision(case) for case in cases["average"]],
    }
    json.dump(answers, sys.stdout)


main()
