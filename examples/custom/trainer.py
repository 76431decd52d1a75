"""A trainer of one's own: the mean of each class, by Python's standard library alone.

docs/custom.md says what it is given and what it has to leave behind.
"""

import csv
import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

BAD_INPUT, INTERRUPTED = 65, 75
STARTED = time.monotonic()


def end(code, **report):
    """Leaves the report and ends."""
    Path(os.environ["SCONCE_REPORT"]).write_text(json.dumps(report))
    print(json.dumps(report), flush=True)
    sys.exit(code)


def fail(kind, code, message, field=None):
    """Says why there is no model. `kind` decides whether another pod tries again."""
    end(code, outcome="failed", message=message, **{"class": kind}, **({"field": field} if field else {}))


def told_to_stop(*_):
    fail("Interrupted", INTERRUPTED, "it was told to stop; the next attempt starts from the beginning")


def table(plan):
    """Rows as (features, class), and the features' names."""
    dataset = plan["dataset"]
    with open(os.environ["SCONCE_DATASET_PATH"], newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or dataset["target"] not in rows[0]:
        fail("BadInput", BAD_INPUT, f"there is no column \"{dataset['target']}\"", "dataset.target")
    names = dataset.get("features") or [name for name in rows[0] if name != dataset["target"]]
    try:
        return [([float(row[name]) for name in names], row[dataset["target"]]) for row in rows], names
    except ValueError as error:
        fail("BadInput", BAD_INPUT, str(error), "dataset.features")


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows)]


def nearest(classes, row):
    return min(classes, key=lambda name: sum((a - b) ** 2 for a, b in zip(classes[name], row)))


def save(files):
    """Writes the artifact's folder, named by its digest, and moves it into place whole."""
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(files.items())}
    digest = hashlib.sha256("".join(f"{value}  {name}\n" for name, value in digests.items()).encode()).hexdigest()
    output = Path(os.environ["SCONCE_OUTPUT_PATH"])
    folder, unfinished = output / digest, output / f".{digest}"
    if not folder.exists():
        unfinished.mkdir(exist_ok=True)
        for name, text in {**files, "manifest.json": json.dumps({"files": digests})}.items():
            (unfinished / name).write_text(text)
        unfinished.rename(folder)
    return {
        "uri": f"{os.environ['SCONCE_OUTPUT_URI']}/{digest}",
        "digest": f"sha256:{digest}",
        "sizeBytes": sum(len(text.encode()) for text in files.values()),
    }


def main():
    # The first process of a container ignores a signal that it does not handle.
    signal.signal(signal.SIGTERM, told_to_stop)
    plan = json.loads(Path(os.environ["SCONCE_PLAN"]).read_text())
    rows, names = table(plan)
    split = plan["dataset"]["split"]
    random.Random(split["seed"]).shuffle(rows)
    held_back = max(1, round(len(rows) * split["test"]))
    test, training = rows[:held_back], rows[held_back:]
    classes = {
        name: mean([row for row, label in training if label == name])
        for name in sorted({label for _, label in training})
    }
    right = sum(nearest(classes, row) == label for row, label in test)
    model = {"features": names, "classes": classes}
    end(
        0,
        outcome="trained",
        run=os.environ["SCONCE_RUN"],
        epochs=1,
        steps=len(training),
        seconds=time.monotonic() - STARTED,
        metrics=[{"name": "accuracy", "value": right / len(test), "split": "Test"}],
        artifact=save({"model.json": json.dumps(model)}),
    )


main()
