"""Steps of learning by PyTorch: python torch_steps.py THREADS [compile] [cuda]. Each line that it reads, INPUTS
HIDDEN,HIDDEN OUTPUTS BATCH SECONDS, or images BATCH SECONDS (normed, residual: with batch norm, with a residual block), it
answers by the microseconds that a step takes: the median over short bursts."""

import statistics
import sys
import time

import torch
from torch import nn

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
# Convolutions in full F32, as all else is by default.
torch.backends.cudnn.allow_tf32 = False
BURST = 0.02
DEVICE = "cuda" if "cuda" in sys.argv else "cpu"


def dense(inputs, hidden, outputs):
    layers = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def images():
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 10)),
    )


def convolution(inputs, outputs, **options):
    return [nn.Conv2d(inputs, outputs, 3, **options), nn.BatchNorm2d(outputs)]


def normed():
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), *convolution(1, 16), nn.ReLU(), nn.MaxPool2d(2)),
        *(*convolution(16, 32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 10)),
    )


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def residual():
    block = Residual(*convolution(16, 16, padding=1), nn.ReLU(), *convolution(16, 16, padding=1))
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(block, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 10)),
    )


IMAGES = {"images": images, "normed": normed, "residual": residual}


def step_of(model, inputs, outputs, batch):
    model = model.to(DEVICE)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x = torch.rand(batch, inputs, device=DEVICE) - 0.5
    y = torch.arange(batch, device=DEVICE) % outputs

    def loss():
        return criterion(model(x), y)

    # Of this shape alone: after a second one of the same classes it would compile for any.
    compute = torch.compile(loss, dynamic=False) if "compile" in sys.argv else loss

    def step():
        optimizer.zero_grad()
        compute().backward()
        optimizer.step()

    def begin():
        """A batch that is known by heart has other gradients than one that is learned."""
        optimizer.state.clear()
        for layer in model.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()

    return begin, step


def burst(step, count):
    start = time.perf_counter()
    for _ in range(count):
        step()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / count


def question(words):
    if words[0] in IMAGES:
        return IMAGES[words[0]](), 28 * 28, 10, int(words[1])
    inputs, outputs, batch = int(words[0]), int(words[2]), int(words[3])
    return dense(inputs, map(int, words[1].split(",")), outputs), inputs, outputs, batch


steps = {}
for line in sys.stdin:
    *shape, seconds = line.split()
    shape = tuple(shape)
    if shape not in steps:
        steps[shape] = step_of(*question(shape))
    begin, step = steps[shape]
    begin()
    burst(step, 10)
    count = max(1, round(BURST / burst(step, 3)))
    end = time.perf_counter() + float(seconds)
    times = []
    while not times or time.perf_counter() < end:
        times.append(burst(step, count))
    print(statistics.median(times) * 1e6, flush=True)
