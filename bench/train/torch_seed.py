"""train-seed as a user of PyTorch writes it: python torch_seed.py TABLE FOLDER SEED THREADS [compile] [cuda]. The last
line is the test rows' loss and accuracy."""

import pathlib
import sys

import numpy as np
import pandas as pd
import torch
from torch import nn

table, folder, seed, threads = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
torch.manual_seed(seed)
device = "cuda" if "cuda" in sys.argv else "cpu"

frame = pd.read_csv(table, dtype=np.float32)
y = torch.from_numpy(frame.pop("label").to_numpy()).unsqueeze(1)
x = torch.from_numpy(np.ascontiguousarray(frame.to_numpy()))
order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
test, training = order[: len(x) // 5], order[len(x) // 5 :]
mean, deviation = x[training].mean(dim=0), x[training].std(dim=0, correction=0)
x = (x - mean) / deviation
x, y = x.to(device), y.to(device)

model = nn.Sequential(nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)).to(device)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), fused=True)
predict = torch.compile(model) if "compile" in sys.argv else model

x_training, y_training = x[training], y[training]
for epoch in range(10):
    # Slices of a permutation: a DataLoader, which puts each batch together row by row, takes longer.
    for batch in torch.randperm(len(x_training), device=device).split(32):
        optimizer.zero_grad()
        criterion(predict(x_training[batch]), y_training[batch]).backward()
        optimizer.step()

model.eval()
with torch.inference_mode():
    logits = model(x[test])
    loss = criterion(logits, y[test]).item()
    right = ((logits > 0) == (y[test] > 0.5)).float().mean().item()
torch.save({"model": model.state_dict(), "mean": mean, "deviation": deviation, "accuracy": right}, folder / "model.pt")
print(loss, right)
