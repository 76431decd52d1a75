"""Learning rates by Keras' schedules.

Question: [{"schedule": as in a ModelTraining, "rate", "epochs", "perEpoch"}, …]. Answer: [[one per step], …].
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from keras.optimizers import schedules  # noqa: E402


def schedule_of(schedule, rate, per_epoch, steps):
    return {
        "InverseTime": lambda: schedules.InverseTimeDecay(rate, per_epoch, schedule["decay"], staircase=True),
        "Exponential": lambda: schedules.ExponentialDecay(rate, per_epoch, schedule["factor"], staircase=True),
        "Cosine": lambda: schedules.CosineDecay(rate, steps, alpha=schedule.get("finalLearningRate", 0.0) / rate),
        "Linear": lambda: schedules.PolynomialDecay(rate, steps, schedule.get("finalLearningRate", 0.0)),
    }[schedule["type"]]()


def rates(case):
    steps = case["epochs"] * case["perEpoch"]
    schedule = schedule_of(case["schedule"], case["rate"], case["perEpoch"], steps)
    return [float(schedule(step)) for step in range(steps)]


json.dump([rates(case) for case in json.load(sys.stdin)], sys.stdout)
