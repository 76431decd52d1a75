# Writes metrics.json: predictions with the metrics that scikit-learn measures of them.
#   pip install scikit-learn==1.7.2 && python metrics.py
import json
import pathlib

import numpy as np
from sklearn import metrics as m
from sklearn.preprocessing import label_binarize

random = np.random.default_rng(7)


def numbers(list_):
    return [float(value) for value in np.asarray(list_).ravel()]


def of_classes(name, truth, outputs):
    outputs = np.asarray(outputs, dtype=np.float32)
    width = 1 if outputs.ndim == 1 else outputs.shape[1]
    classes = list(range(max(width, 2)))
    predicted = (outputs >= 0.5).astype(int) if width == 1 else outputs.argmax(axis=1)
    average = "binary" if width <= 2 else "macro"
    share = {"average": average, "zero_division": 0}
    expected = {
        "accuracy": m.accuracy_score(truth, predicted),
        "precision": m.precision_score(truth, predicted, **share),
        "recall": m.recall_score(truth, predicted, **share),
        "f1": m.f1_score(truth, predicted, **share),
        "logLoss": m.log_loss(truth, outputs, labels=classes),
    }
    expected["perplexity"] = float(np.exp(expected["logLoss"]))
    if set(truth) == set(classes):
        if width == 1:
            expected["auroc"] = m.roc_auc_score(truth, outputs)
            expected["auprc"] = m.average_precision_score(truth, outputs)
        elif width > 2:
            expected["auroc"] = m.roc_auc_score(truth, outputs.astype(float), multi_class="ovr", labels=classes)
            expected["auprc"] = m.average_precision_score(label_binarize(truth, classes=classes), outputs)
    confusion = m.confusion_matrix(truth, predicted, labels=classes)
    return {"name": name, "width": width, "classes": [int(one) for one in truth], "outputs": numbers(outputs),
            "expected": {key: float(value) for key, value in expected.items()}, "confusion": confusion.tolist()}


def of_numbers(name, truth, outputs):
    truth, outputs = (np.asarray(all_, dtype=np.float32) for all_ in (truth, outputs))
    expected = {
        "mae": m.mean_absolute_error(truth.astype(float), outputs.astype(float)),
        "r2": m.r2_score(truth.astype(float), outputs.astype(float)),
        "rmse": m.root_mean_squared_error(truth.astype(float), outputs.astype(float)),
    }
    return {"name": name, "width": 1, "numbers": numbers(truth), "outputs": numbers(outputs), "expected": expected}


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


truth = random.integers(0, 2, 60)
three = random.integers(0, 3, 80)
rows = [
    of_classes("two classes", truth, np.clip(0.3 * truth + random.random(60) * 0.7, 0, 1)),
    of_classes("two classes with ties", truth, np.round(0.3 * truth + random.random(60) * 0.7, 1)),
    of_classes("two classes, sure and wrong", [0, 1, 1, 0], [1.0, 0.0, 1.0, 0.25]),
    of_classes("two classes, none predicted", [0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]),
    of_classes("two outputs", truth, softmax(random.normal(size=(60, 2)) + np.eye(2)[truth])),
    of_classes("three classes", three, softmax(random.normal(size=(80, 3)) + np.eye(3)[three])),
    of_classes("three classes, one absent", [0, 0, 2, 2], softmax(random.normal(size=(4, 3)))),
    of_classes("three classes, one neither true nor predicted", [0, 0, 2, 2],
               [[.7, .1, .2], [.2, .1, .7], [.1, .1, .8], [.8, .1, .1]]),
    of_numbers("numbers", random.normal(size=50) * 30 + 150, random.normal(size=50) * 30 + 150),
    of_numbers("close numbers", [3.0, -0.5, 2.0, 7.0], [2.5, 0.0, 2.0, 8.0]),
]
text = json.dumps(rows).replace('{"name"', '\n{"name"')
pathlib.Path(__file__).with_name("metrics.json").write_text(text + "\n")
