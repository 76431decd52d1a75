"""Predictions of artifacts by Keras, and by the servers that serve them.

Question: [{"file": of the model, "url": to predict at, "rows": [[number, …], …]}, …].
Answer: [{"keras": [[number, …], …], "served": […], "layers": [name of a class, …]}, …].
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy
import requests


def answer(case):
    model = keras.models.load_model(case["file"])
    rows = numpy.array(case["rows"], dtype="float32")
    served = requests.post(case["url"], json={"instances": case["rows"]}, timeout=60)
    served.raise_for_status()
    return {
        "keras": model.predict(rows, verbose=0).tolist(),
        "served": served.json()["predictions"],
        "layers": [type(layer).__name__ for layer in model.layers],
    }


answers = [answer(case) for case in json.load(sys.stdin)]
json.dump(answers, sys.stdout)
