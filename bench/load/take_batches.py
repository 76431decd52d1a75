"""From a table to the batches of an epoch, as users of pandas, polars or PyTorch write it: python take_batches.py READER
FILE. The last line is the number of rows and the sum of all inputs."""

import sys

import numpy as np

reader, file = sys.argv[1], sys.argv[2]
BATCH = 256


def read():
    """Inputs `[rows, features]` and labels `[rows]`, of 32 bits; row after row, as batches of a permutation want them."""
    if reader == "polars":
        import polars as pl

        if file.endswith(".parquet"):
            frame = pl.read_parquet(file)
        else:
            names = open(file).readline().strip().split(",")
            frame = pl.read_csv(file, schema_overrides={name.strip('"'): pl.Float32 for name in names})
        return frame.drop("label").to_numpy(order="c"), frame["label"].to_numpy()
    import pandas as pd

    if file.endswith(".parquet"):
        frame = pd.read_parquet(file)
    else:
        engine = "pyarrow" if reader == "pandas-pyarrow" else "c"
        frame = pd.read_csv(file, engine=engine, dtype=np.float32)
    labels = frame.pop("label").to_numpy()
    return np.ascontiguousarray(frame.to_numpy(dtype=np.float32)), labels


def batches(x, y):
    if reader == "pandas-dataloader":
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        rows = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        for inputs, labels in DataLoader(rows, batch_size=BATCH, shuffle=True):
            yield inputs.numpy(), labels.numpy()
        return
    # Rows of a permutation, which takes less time than a DataLoader.
    order = np.random.default_rng(1).permutation(len(x))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        yield x[rows], y[rows]


count, total = 0, 0.0
for inputs, labels in batches(*read()):
    count += len(labels)
    total += float(inputs.sum(dtype=np.float64))
print(count, total)
