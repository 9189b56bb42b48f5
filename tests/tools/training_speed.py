"""Times nestc's training step beside PyTorch's, interleaved, and prints Markdown.

    python training_speed.py [--rounds N] [--slice SECONDS]     (make bench-training)

Every contender is a process of its own that keeps its state and runs as many steps as it is asked
for; slices go round in turn, so that what else the machine does hits all alike. A figure is the
median over the rounds of the slice's median step; a ratio is the median over the rounds of nestc's
figure divided by PyTorch's in the same round, with its quartiles. A step is forward, cross-entropy,
backward and SGD on one fixed batch, with two threads. "Tuned malloc" keeps glibc from returning
PyTorch's activations to the system after every step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

THREADS = 2
TUNED = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
NESTC = "target/release/examples/training_speed"


def resnet8(nn, functional):
    """MLPerf Tiny's ResNet-8 for CIFAR-10."""

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(outputs)
            self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(outputs)
            self.short = None
            if stride != 1:
                self.short = nn.Conv2d(inputs, outputs, 1, stride, 0)

        def forward(self, x):
            y = functional.relu(self.norm1(self.first(x)))
            y = self.norm2(self.second(y))
            return functional.relu(y + (self.short(x) if self.short else x))

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    ), (3, 32, 32), 10


def mobilenet(nn, functional):
    """MobileNetV1 0.25 at 96x96 for visual wake words, as MLPerf Tiny has it."""
    del functional
    layers = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
    widths = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)]
    widths += [(128, 128, 1)] * 5 + [(128, 256, 2), (256, 256, 1)]
    for inputs, outputs, stride in widths:
        layers += [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs), nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
        ]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2)]
    return nn.Sequential(*layers), (3, 96, 96), 2


def contend(network, batch, channels_last):
    """The PyTorch side: answers each number of steps on standard input with one JSON line."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model, shape, classes = {"resnet8": resnet8, "mobilenet": mobilenet}[network](nn, functional)
    images = torch.randn(batch, *shape)
    labels = torch.randint(0, classes, (batch,))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        loss = functional.cross_entropy(model(images), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    for _ in range(5):
        step()
    print(json.dumps({"ready": 1, "version": torch.__version__}), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        with open("/proc/self/status") as status:
            peak = next(int(l.split()[1]) for l in status if l.startswith("VmHWM"))
        seconds.sort()
        print(json.dumps({
            "med_ips": batch / seconds[len(seconds) // 2],
            "best_ips": batch / seconds[0],
            "hwm": peak * 1024 / 1e6,
        }), flush=True)


class Contender:
    def __init__(self, name, command, environment=None):
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(THREADS), **(environment or {})},
        )
        self.steps = 3
        self.rounds = []

    def ready(self, seconds):
        if "ready" not in json.loads(self.process.stdout.readline() or "{}"):
            sys.exit(f"{self.name} did not start")
        self.ask()
        start = time.perf_counter()
        self.ask()
        self.steps = max(3, int(seconds / ((time.perf_counter() - start) / self.steps)))

    def ask(self):
        self.process.stdin.write(f"{self.steps}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def compare(network, batch, ours, rounds, seconds):
    """Prints one table: every contender's speed, and ours divided by PyTorch's."""
    torch = [sys.executable, __file__, "--contend", network, str(batch)]
    contenders = [
        Contender("PyTorch eager", torch),
        Contender("PyTorch eager, tuned malloc", torch, TUNED),
        Contender("PyTorch channels_last, tuned malloc", torch + ["--channels-last"], TUNED),
    ]
    base = [1, 2]
    for name, sparsities, allocation in ours:
        command = [NESTC, network, str(batch), sparsities, allocation]
        contenders.append(Contender(name, command))
    for contender in contenders:
        contender.ready(seconds)
    for _ in range(rounds):
        for contender in contenders:
            contender.rounds.append(contender.ask())
    for contender in contenders:
        contender.stop()

    def quartiles(values):
        values = sorted(values)
        return statistics.median(values), values[len(values) // 4], values[-1 - len(values) // 4]

    print(f"\n{network}, batch {batch}\n")
    print("| step | images/s | best | / eager, tuned malloc | / channels_last, tuned malloc | peak MB |")
    print("|---|--:|--:|--:|--:|--:|")
    for contender in contenders:
        cells = [contender.name]
        cells.append(f"{statistics.median(r['med_ips'] for r in contender.rounds):,.0f}")
        cells.append(f"{max(r['best_ips'] for r in contender.rounds):,.0f}")
        for other in base:
            pairs = zip(contender.rounds, contenders[other].rounds)
            middle, low, high = quartiles(a["med_ips"] / b["med_ips"] for a, b in pairs)
            cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
        cells.append(f"{contender.rounds[-1]['hwm']:,.0f}")
        print("| " + " | ".join(cells) + " |", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--slice", type=float, default=0.5)
    arguments.add_argument("--contend", nargs=2)
    arguments.add_argument("--channels-last", action="store_true")
    given = arguments.parse_args()
    if given.contend:
        return contend(given.contend[0], int(given.contend[1]), given.channels_last)
    compare("resnet8", 128, [
        ("nestc dense", "0", "uniform"),
        ("nestc, 90 % of every layer masked", "90", "uniform"),
        ("nestc, 90 % of all weights masked", "90", "global"),
        ("nestc, levels 95, 90, 80, 50, 0 of every layer in one step", "95,90,80,50,0", "uniform"),
        ("nestc, the same of all weights", "95,90,80,50,0", "global"),
    ], given.rounds, given.slice)
    dense = ("nestc dense", "0", "uniform")
    compare("mobilenet", 64, [dense], given.rounds, given.slice)


if __name__ == "__main__":
    main()
