"""Writes the goldens: what Keras makes of small networks, forwards and after one step of learning.

    python3 -m venv /tmp/goldens
    /tmp/goldens/bin/pip install keras==3.15.1 jax==0.10.2 numpy==2.4.6
    /tmp/goldens/bin/python runtime/engine/tests/goldens/make.py

Each file holds a network as in model.network, its weights under the names of our artifacts, rows, what Keras answers
them (inference), the mean squared error of it (training), and the weights after one step of plain gradient descent.
"""

import json
import os
import pathlib

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import keras
import numpy as np
from keras import layers as kl

HERE = pathlib.Path(__file__).parent
RATE = 0.1
OUTPUTS = 2
jax.config.update("jax_default_matmul_precision", "highest")


def plain(*names):
    """Keras's arrays of a layer under our names, in Keras's order of creation."""
    return lambda layer: list(zip(names, layer.weights, [None] * len(names)))


WEIGHT_BIAS = plain("weight", "bias")
NOTHING = plain()


def case(name, network, shape, parts, rows=3, whole=None, atol=1e-5):
    """`parts`: for each of our layers the Keras layer and the names of its arrays."""
    keras.utils.set_random_seed(7)
    random = np.random.default_rng(11)
    inputs = keras.Input(shape)
    y = inputs
    named = []
    before = []
    for index, (layer, names) in enumerate(parts):
        before.append(y)
        y = kl.Add()([y, before[layer.begin]]) if isinstance(layer, Sum) else layer(y)
        named.append((index, layer, names))
    y = kl.Flatten()(y) if len(y.shape) > 2 else y
    end = kl.Dense(OUTPUTS)
    y = end(y)
    model = keras.Model(inputs, y)
    ours = list(network["layers"])
    if len(model.layers[-2].output.shape) == 2 and isinstance(model.layers[-2], kl.Flatten):
        if not any("flatten" in layer for layer in ours[-1:]):
            ours.append({"flatten": {}})
    ours.append({"dense": {"units": OUTPUTS}})
    named.append((len(ours) - 1, end, WEIGHT_BIAS))

    for variable in model.weights:
        values = random.uniform(-0.6, 0.6, variable.shape)
        if "variance" in variable.path:
            values = np.abs(values) + 0.5
        variable.assign(np.round(values, 4).astype("float32"))
    if whole is not None:
        x = np.asarray(whole, dtype="float32")
    else:
        x = np.round(random.uniform(-1, 1, (rows, *shape)), 4).astype("float32")
    targets = np.round(random.uniform(-1, 1, (len(x), OUTPUTS)), 4).astype("float32")

    def arrays():
        found = {}
        for index, layer, names in named:
            for ours_name, variable, change in names(layer):
                values = np.asarray(variable.value if hasattr(variable, "value") else variable)
                values = change(values) if change else values
                entry = {"shape": list(values.shape), "values": [float(f"{v:.7g}") for v in values.flatten()]}
                found[f"layers.{index}.{ours_name}"] = entry
        return found

    before = arrays()
    outputs = np.asarray(model(x, training=False))
    trainable = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]

    def loss(trainable):
        y, moved = model.stateless_call(trainable, fixed, x, training=True)
        return ((y - targets) ** 2).mean(), moved

    (value, moved), gradients = jax.value_and_grad(loss, has_aux=True)(trainable)
    for variable, gradient in zip(model.trainable_variables, gradients):
        variable.assign(variable.value - RATE * gradient)
    for variable, new in zip(model.non_trainable_variables, moved):
        variable.assign(new)
    golden = {
        "network": {**network, "layers": ours},
        "rate": RATE,
        "rows": len(x),
        "x": [float(v) for v in x.flatten()],
        "targets": [float(v) for v in targets.flatten()],
        "weights": before,
        "outputs": [float(f"{v:.7g}") for v in outputs.flatten()],
        "loss": float(value),
        "learned": arrays(),
    }
    (HERE / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":")).replace('"layers.', '\n"layers.') + "\n")
    print(name, len(before), "arrays", outputs.shape)


def image(height, width, channels):
    return {"height": height, "width": width, "channels": channels}


def sequence(length, channels):
    return {"length": length, "channels": channels}


def convolutions():
    for name, ours, theirs in [
        ("valid", {"stride": 1, "padding": "Valid", "activation": "ReLU"}, {"activation": "relu"}),
        ("same", {"stride": 2, "padding": "Same", "activation": "Tanh"}, {"strides": 2, "padding": "same", "activation": "tanh"}),
    ]:
        spec = {"filters": 3, "kernelSize": 3, **ours}
        case(
            f"conv2d_{name}",
            {"input": image(5, 6, 2), "layers": [{"conv2d": spec}]},
            (5, 6, 2),
            [(kl.Conv2D(3, 3, **theirs), WEIGHT_BIAS)],
        )
        case(
            f"conv1d_{name}",
            {"input": sequence(8, 2), "layers": [{"conv1d": spec}]},
            (8, 2),
            [(kl.Conv1D(3, 3, **theirs), WEIGHT_BIAS)],
        )


def pools():
    for name, two, one in [
        ("maxPool", kl.MaxPooling2D, kl.MaxPooling1D),
        ("averagePool", kl.AveragePooling2D, kl.AveragePooling1D),
    ]:
        short = name.removesuffix("Pool")
        conv2, conv1 = {"filters": 2, "kernelSize": 2}, {"filters": 3, "kernelSize": 2}
        case(
            f"{short}_pool2d",
            {"input": image(6, 5, 2), "layers": [{"conv2d": conv2}, {f"{name}2d": {"poolSize": 2}}]},
            (6, 5, 2),
            [(kl.Conv2D(2, 2), WEIGHT_BIAS), (two(2), NOTHING)],
        )
        case(
            f"{short}_pool1d",
            {"input": sequence(9, 2), "layers": [{"conv1d": conv1}, {f"{name}1d": {"poolSize": 3, "stride": 2}}]},
            (9, 2),
            [(kl.Conv1D(3, 2), WEIGHT_BIAS), (one(3, strides=2), NOTHING)],
        )
    case(
        "global_average_pool",
        {"input": image(4, 3, 2), "layers": [{"conv2d": {"filters": 4, "kernelSize": 2}}, {"globalAveragePool": {}}]},
        (4, 3, 2),
        [(kl.Conv2D(4, 2), WEIGHT_BIAS), (kl.GlobalAveragePooling2D(), NOTHING)],
    )


def norms():
    batch = plain("scale", "bias", "mean", "variance")
    small = {"epsilon": 0.001}
    case(
        "batch_norm",
        {"layers": [{"batchNorm": {"momentum": 0.8, **small}}]},
        (4,),
        [(kl.BatchNormalization(momentum=0.8), batch)],
        rows=5,
    )
    case(
        "batch_norm_of_images",
        {"input": image(3, 4, 2), "layers": [{"conv2d": {"filters": 3, "kernelSize": 2}}, {"batchNorm": {"momentum": 0.8, **small}}]},
        (3, 4, 2),
        [(kl.Conv2D(3, 2), WEIGHT_BIAS), (kl.BatchNormalization(momentum=0.8), batch)],
    )
    case(
        "layer_norm",
        {"input": sequence(3, 4), "layers": [{"layerNorm": small}]},
        (3, 4),
        [(kl.LayerNormalization(epsilon=0.001), plain("scale", "bias"))],
    )
    case(
        "rms_norm",
        {"input": sequence(3, 4), "layers": [{"rmsNorm": small}]},
        (3, 4),
        [(kl.RMSNormalization(epsilon=0.001), plain("scale"))],
    )


def recurrent():
    def of_gru(layer):
        kernel, inner, bias = layer.weights
        halves = np.asarray(bias.value)
        return [
            ("weight", kernel, None),
            ("recurrent", inner, None),
            ("bias", halves[0], None),
            ("recurrent_bias", halves[1], None),
        ]

    whole = [[0, 3, 1, 1], [4, 4, 2, 0], [1, 0, 4, 2]]
    case(
        "embedding",
        {"layers": [{"embedding": {"vocabulary": 6, "dimensions": 3}}]},
        (4,),
        [(kl.Embedding(6, 3), plain("weight"))],
        whole=whole,
    )
    for all_steps in [False, True]:
        suffix = "_of_sequences" if all_steps else ""
        spec = {"units": 3, "returnSequences": all_steps}
        case(
            f"lstm{suffix}",
            {"input": sequence(5, 2), "layers": [{"lstm": spec}]},
            (5, 2),
            [(kl.LSTM(3, return_sequences=all_steps), plain("weight", "recurrent", "bias"))],
        )
        case(
            f"gru{suffix}",
            {"input": sequence(5, 2), "layers": [{"gru": spec}]},
            (5, 2),
            [(kl.GRU(3, return_sequences=all_steps), of_gru)],
        )


class SelfAttention(kl.Layer):
    """Keras's attention of a sequence to itself."""

    def __init__(self, heads, channels, causal, **kwargs):
        super().__init__(**kwargs)
        self.causal = causal
        self.inner = kl.MultiHeadAttention(heads, channels // heads)

    def build(self, shape):
        self.inner.build(shape, shape)

    def call(self, x):
        return self.inner(x, x, use_causal_mask=self.causal)


def of_attention(layer):
    channels = layer.inner._output_dense.kernel.shape[-1]
    named = []
    for name, dense in [
        ("query", layer.inner._query_dense),
        ("key", layer.inner._key_dense),
        ("value", layer.inner._value_dense),
        ("output", layer.inner._output_dense),
    ]:
        named.append((f"{name}.weight", dense.kernel, lambda v: v.reshape(channels, channels)))
        named.append((f"{name}.bias", dense.bias, lambda v: v.reshape(channels)))
    return named


class Block(kl.Layer):
    """Normed before each half."""

    def __init__(self, heads, channels, inner, causal, **kwargs):
        super().__init__(**kwargs)
        self.first = kl.LayerNormalization(epsilon=1e-5)
        self.attention = SelfAttention(heads, channels, causal)
        self.second = kl.LayerNormalization(epsilon=1e-5)
        self.expand = kl.Dense(inner, activation=lambda x: keras.ops.gelu(x, approximate=False))
        self.shrink = kl.Dense(channels)

    def build(self, shape):
        for layer in [self.first, self.attention, self.second, self.expand]:
            layer.build(shape)
        self.shrink.build((*shape[:-1], self.expand.units))

    def call(self, x):
        x = x + self.attention(self.first(x))
        return x + self.shrink(self.expand(self.second(x)))


def of_block(layer):
    named = of_attention(layer.attention)
    for name, norm in [("attention_norm", layer.first), ("feed_forward_norm", layer.second)]:
        named += [(f"{name}.scale", norm.gamma, None), (f"{name}.bias", norm.beta, None)]
    for name, dense in [("expand", layer.expand), ("shrink", layer.shrink)]:
        named += [(f"{name}.weight", dense.kernel, None), (f"{name}.bias", dense.bias, None)]
    return named


class Sum(kl.Layer):
    """Adds what went into the layers before it."""

    def __init__(self, begin, **kwargs):
        super().__init__(**kwargs)
        self.begin = begin

    def call(self, x):
        return x


def attention():
    for causal in [False, True]:
        case(
            "attention_causal" if causal else "attention",
            {"input": sequence(4, 6), "layers": [{"attention": {"heads": 2, "causal": causal}}]},
            (4, 6),
            [(SelfAttention(2, 6, causal), of_attention)],
        )
    case(
        "transformer_block",
        {"input": sequence(4, 6), "layers": [{"transformerBlock": {"heads": 3, "feedForward": 5, "causal": True}}]},
        (4, 6),
        [(Block(3, 6, 5, True), of_block)],
    )
    convolution = {"kernelSize": 3, "padding": "Same"}
    case(
        "residual",
        {
            "input": image(3, 4, 2),
            "layers": [
                {"conv2d": {"filters": 3, "activation": "Tanh", **convolution}},
                {"batchNorm": {"momentum": 0.8, "epsilon": 0.001}},
                {"activation": "ReLU"},
                {"conv2d": {"filters": 2, **convolution}},
                {"residual": {"over": 4}},
            ],
        },
        (3, 4, 2),
        [
            (kl.Conv2D(3, 3, padding="same", activation="tanh"), WEIGHT_BIAS),
            (kl.BatchNormalization(momentum=0.8), plain("scale", "bias", "mean", "variance")),
            (kl.ReLU(), NOTHING),
            (kl.Conv2D(2, 3, padding="same"), WEIGHT_BIAS),
            (Sum(0), NOTHING),
        ],
    )


if __name__ == "__main__":
    recurrent()
    attention()
    norms()
    convolutions()
    pools()
