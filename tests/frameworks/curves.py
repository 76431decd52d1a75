"""Curves as TensorBoard reads them, and the Python of model cards, in the artifacts' own folders.

Question: {"events": folder, "artifact": folder}.
Answer: {"scalars": {tag: [[step, value], …]}, "text": of the run, "weights": {name: shape}, "layers": how many,
"columns": how many}.
"""

import json
import os
import pathlib
import re
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

question = json.load(sys.stdin)
curves = EventAccumulator(question["events"], size_guidance={"scalars": 0, "tensors": 0})
curves.Reload()
tags = curves.Tags()
os.chdir(question["artifact"])
card = pathlib.Path("README.md").read_text()
said = {}
exec(re.search(r"```python\n(.*?)```", card, re.S).group(1), said)
answer = {
    "scalars": {tag: [[event.step, event.value] for event in curves.Scalars(tag)] for tag in tags["scalars"]},
    "text": [event.tensor_proto.string_val[0].decode() for event in curves.Tensors("run")],
    "weights": {name: list(values.shape) for name, values in said["weights"].items()},
    "layers": len(said["network"]["layers"]),
    "columns": len(said["preprocess"]["features"]),
}
json.dump(answer, sys.stdout)
