"""Writes one table as table.csv and table.parquet: python make_tables.py FOLDER MEGABYTES. 100 columns of normal numbers
of 32 bits and a label; the CSV has about so many megabytes."""

import pathlib
import sys

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

FEATURES, AT_ONCE = 100, 50_000
folder, megabytes = pathlib.Path(sys.argv[1]), float(sys.argv[2])
random = np.random.default_rng(42)
names = [f"feature_{column}" for column in range(FEATURES)]
schema = pa.schema([(name, pa.float32()) for name in names] + [("label", pa.int8())])

path = folder / "table.csv"
with csv.CSVWriter(path, schema) as text, parquet.ParquetWriter(folder / "table.parquet", schema) as columns:
    while path.stat().st_size < megabytes * 1e6:
        x = random.standard_normal((FEATURES, AT_ONCE), dtype=np.float32)
        y = (x.sum(axis=0) > 0).astype(np.int8)
        rows = pa.Table.from_arrays([pa.array(column) for column in [*x, y]], schema=schema)
        text.write_table(rows)
        columns.write_table(rows)
