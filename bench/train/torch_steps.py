"""Steps of learning by PyTorch: python torch_steps.py THREADS [compile]. Each line that it reads, INPUTS HIDDEN,HIDDEN
OUTPUTS BATCH SECONDS, it answers by the microseconds that a step takes: the median over short bursts."""

import statistics
import sys
import time

import torch
from torch import nn

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
BURST = 0.02


def step_of(inputs, hidden, outputs, batch):
    layers = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    model = nn.Sequential(*layers, nn.Linear(inputs, outputs))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    predict = torch.compile(model) if "compile" in sys.argv else model
    x = torch.rand(batch, model[0].in_features) - 0.5
    y = torch.arange(batch) % outputs

    def step():
        optimizer.zero_grad()
        criterion(predict(x), y).backward()
        optimizer.step()

    return step


def burst(step, count):
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


steps = {}
for line in sys.stdin:
    inputs, hidden, outputs, batch, seconds = line.split()
    shape = (int(inputs), tuple(map(int, hidden.split(","))), int(outputs), int(batch))
    if shape not in steps:
        steps[shape] = step_of(*shape)
        burst(steps[shape], 10)
    step = steps[shape]
    count = max(1, round(BURST / burst(step, 3)))
    end = time.perf_counter() + float(seconds)
    times = []
    while not times or time.perf_counter() < end:
        times.append(burst(step, count))
    print(statistics.median(times) * 1e6, flush=True)
