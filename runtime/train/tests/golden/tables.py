# Writes the files of this folder: tables as pandas, pyarrow and Spark's committer write them, and a few pictures.
#   pip install pyarrow==21.0.0 pandas==3.1.1 pillow==13.0.0 && python tables.py
import decimal
import pathlib
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

here = pathlib.Path(__file__).parent
random = np.random.default_rng(7)

# Every type of a flat column, with values missing, in two row groups.
rows = 60
number = np.arange(rows, dtype=float) / 8 - 3
types = pa.table({
    "double": pa.array(number),
    "float": pa.array(number, pa.float32()),
    "int8": pa.array(np.arange(rows) - 30, pa.int8()),
    "uint32": pa.array([4_000_000_000 + index for index in range(rows)], pa.uint32()),
    "int64": pa.array([None if index % 7 == 0 else index * 1000 for index in range(rows)], pa.int64()),
    "price": pa.array([decimal.Decimal(index) / 4 for index in range(rows)], pa.decimal128(9, 2)),
    "flag": pa.array([index % 3 == 0 for index in range(rows)]),
    "word": pa.array([None if index % 11 == 0 else ["red", "green", "blue"][index % 3] for index in range(rows)]),
    "level": pa.array([["low", "high"][index % 2] for index in range(rows)]).dictionary_encode(),
    "list": pa.array([[index] for index in range(rows)]),
    "y": pa.array([["no", "yes"][int(index % 5 < 2)] for index in range(rows)]),
})
for codec in ["none", "snappy", "zstd", "gzip"]:
    # Integers as decimals is how Spark writes short ones.
    pq.write_table(types, here / f"types-{codec}.parquet", compression=codec, row_group_size=25,
                   store_decimal_as_integer=True)
types.drop_columns(["list"]).to_pandas().to_csv(here / "types.csv", index=False)
pd.DataFrame({"a": [1.5, None, 3.0], "y": ["u", "v", "u"]}).to_parquet(here / "pandas.parquet")

# As Spark leaves a folder: parts, checksums, a marker; partitioned by a column.
spark = here / "spark"
shutil.rmtree(spark, ignore_errors=True)
for year in [2023, 2024]:
    for part in range(2):
        a = random.normal(size=20)
        frame = pa.table({"a": a, "y": np.where(a + (year - 2023) > 0.5, "yes", "no")})
        folder = spark / f"year={year}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(frame, folder / f"part-{part:05}-7c.snappy.parquet", compression="snappy")
        (folder / f".part-{part:05}-7c.snappy.parquet.crc").write_bytes(b"crc\0")
(spark / "_SUCCESS").write_bytes(b"")

# Bright pictures and dark ones, in both formats, two sizes and several modes.
pictures = here / "pictures"
shutil.rmtree(pictures, ignore_errors=True)
for kind, base in [("bright", 190), ("dark", 60)]:
    (pictures / kind).mkdir(parents=True)
    for index in range(12):
        side = [4, 8][index % 2]
        pixels = np.clip(random.normal(base, 12, size=(side, side, 3)), 0, 255).astype(np.uint8)
        picture = Image.fromarray(pixels).convert(["RGB", "L", "RGBA"][index % 3])
        if index % 4 == 3:
            picture.convert("RGB").save(pictures / kind / f"{index:02}.jpg", quality=95)
        else:
            picture.save(pictures / kind / f"{index:02}.png")
