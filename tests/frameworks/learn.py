"""Steps of learning by PyTorch from weights and batches that are given.

Question: {"inputs": …, "network", "settings": as in a ModelTraining, "loss", "weights": [[number, …], …] as the layers
have them, "batches": [{"x": [number, …], "y": […]}, …], "epochs"}, as many batches each epoch; in a list.
Answer: [{"losses": one per step, "rates": likewise, "weights"}, …].
"""

import json
import sys

import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers

ACTIVATIONS = {"ReLU": nn.ReLU(), "Sigmoid": nn.Sigmoid(), "Tanh": nn.Tanh(), "GELU": nn.GELU()}


def model_of(case):
    modules, inputs = [], case["inputs"]
    weights = [torch.tensor(values) for values in case["weights"]]
    layers = [layer["dense"] for layer in case["network"]["layers"]]
    for index, layer in enumerate(layers):
        linear = nn.Linear(inputs, layer["units"])
        weight = weights[2 * index].reshape(inputs, layer["units"]).T.contiguous()
        linear.load_state_dict({"weight": weight, "bias": weights[2 * index + 1]})
        modules.append(linear)
        # The losses begin before the last activation.
        if index + 1 < len(layers):
            modules.append(ACTIVATIONS[layer["activation"]])
        inputs = layer["units"]
    return nn.Sequential(*modules)


def loss_of(case):
    settings, loss = case["settings"], case["loss"]
    return {
        "MeanSquaredError": nn.MSELoss(),
        "MeanAbsoluteError": nn.L1Loss(),
        "Huber": nn.HuberLoss(delta=settings.get("huberDelta", 1.0)),
        "BinaryCrossEntropy": nn.BCEWithLogitsLoss(),
        "CrossEntropy": nn.CrossEntropyLoss(label_smoothing=settings.get("labelSmoothing", 0.0)),
    }[loss]


def optimizer_of(parameters, settings):
    rate = settings["learningRate"]
    return {
        "SGD": lambda: torch.optim.SGD(
            parameters, rate, momentum=settings.get("momentum", 0.0), nesterov=settings.get("nesterov", False)
        ),
        "Adam": lambda: torch.optim.Adam(parameters, rate),
        "AdamW": lambda: torch.optim.AdamW(parameters, rate, weight_decay=settings.get("weightDecay", 0.01)),
        "RMSprop": lambda: torch.optim.RMSprop(parameters, rate, alpha=0.9, eps=1e-7),
        "Adagrad": lambda: torch.optim.Adagrad(parameters, rate),
    }[settings["type"]]()


def schedule_of(optimizer, schedule, rate, epochs, per_epoch):
    """PyTorch's own rule, and after how many steps it moves on."""
    steps, last = epochs * per_epoch, schedule.get("finalLearningRate", 0.0)
    return {
        "Constant": lambda: (schedulers.ConstantLR(optimizer, factor=1.0), 1),
        "InverseTime": lambda: (
            schedulers.LambdaLR(optimizer, lambda epoch: 1 / (1 + schedule["decay"] * epoch)),
            per_epoch,
        ),
        "Exponential": lambda: (schedulers.ExponentialLR(optimizer, schedule["factor"]), per_epoch),
        "Step": lambda: (schedulers.StepLR(optimizer, schedule["everyEpochs"], schedule["factor"]), per_epoch),
        "Cosine": lambda: (schedulers.CosineAnnealingLR(optimizer, steps, last), 1),
        "Linear": lambda: (schedulers.LinearLR(optimizer, 1.0, last / rate, steps), 1),
        "OneCycle": lambda: (schedulers.OneCycleLR(optimizer, rate, total_steps=steps, cycle_momentum=False), 1),
    }[schedule["type"]]()


def penalty_of(model, regularization):
    weights = [module.weight for module in model if isinstance(module, nn.Linear)]
    return sum(
        regularization.get("l1", 0.0) * weight.abs().sum() + regularization.get("l2", 0.0) * weight.square().sum()
        for weight in weights
    )


def learn(case):
    settings, batches = case["settings"], case["batches"]
    model, criterion = model_of(case), loss_of(case)
    optimizer = optimizer_of(model.parameters(), settings["optimizer"])
    rate = settings["optimizer"]["learningRate"]
    per_epoch = len(batches) // case["epochs"]
    schedule, every = schedule_of(optimizer, settings["schedule"], rate, case["epochs"], per_epoch)
    losses, rates = [], []
    for step, batch in enumerate(batches, start=1):
        x = torch.tensor(batch["x"]).reshape(-1, case["inputs"])
        outputs = model(x)
        if case["loss"] == "CrossEntropy":
            y = torch.tensor(batch["y"])
        else:
            y = torch.tensor(batch["y"], dtype=torch.float32).reshape(outputs.shape)
        loss = criterion(outputs, y)
        losses.append(loss.item())
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        (loss + penalty_of(model, settings.get("regularization") or {})).backward()
        if settings.get("clipNorm"):
            nn.utils.clip_grad_norm_(model.parameters(), settings["clipNorm"])
        optimizer.step()
        if step % every == 0 and step < len(batches):
            schedule.step()
    weights = []
    for module in model:
        if isinstance(module, nn.Linear):
            weights += [module.weight.T.flatten().tolist(), module.bias.tolist()]
    return {"losses": losses, "rates": rates, "weights": weights}


torch.set_num_threads(1)
json.dump([learn(case) for case in json.load(sys.stdin)], sys.stdout)
