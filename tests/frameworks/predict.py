"""Predictions of artifacts by PyTorch, and by the servers that serve them.

Question: [{"folder": of the artifact, "url": to predict at, "rows": [[number, …], …]}, …].
Answer: [{"pytorch": [[number, …], …], "served": […]}, …].
"""

import json
import pathlib
import sys

import requests
import torch
from safetensors.torch import load_file
from torch import nn

ACTIVATIONS = {
    "Linear": nn.Identity(),
    "ReLU": nn.ReLU(),
    "Sigmoid": nn.Sigmoid(),
    "Tanh": nn.Tanh(),
    "Softmax": nn.Softmax(dim=1),
    "GELU": nn.GELU(),
}


def model_of(folder):
    weights = load_file(folder / "model.safetensors")
    modules = []
    for index, layer in enumerate(json.loads((folder / "network.json").read_text())["layers"]):
        if "dropout" in layer:
            modules.append(nn.Dropout(layer["dropout"]["rate"]))
            continue
        linear = nn.Linear(*weights[f"layers.{index}.weight"].shape)
        linear.load_state_dict(
            {"weight": weights.pop(f"layers.{index}.weight").T, "bias": weights.pop(f"layers.{index}.bias")}
        )
        modules += [linear, ACTIVATIONS[layer["dense"].get("activation", "Linear")]]
    assert not weights, f"no layer takes {list(weights)}"
    return nn.Sequential(*modules).eval()


def answer(case):
    folder = pathlib.Path(case["folder"])
    features = json.loads((folder / "preprocess.json").read_text())["features"]
    mean, scale = (torch.tensor([feature[key] for feature in features], dtype=torch.float64) for key in ("mean", "scale"))
    rows = torch.tensor(case["rows"], dtype=torch.float64)
    with torch.inference_mode():
        outputs = model_of(folder)(((rows - mean) / scale).float())
    served = requests.post(case["url"], json={"instances": case["rows"]}, timeout=60)
    served.raise_for_status()
    return {"pytorch": outputs.tolist(), "served": served.json()["predictions"]}


json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
