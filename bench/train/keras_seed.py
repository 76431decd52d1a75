"""train-seed as a user of Keras writes it: python keras_seed.py TABLE FOLDER SEED. The last line is the test
rows' loss and accuracy."""

import pathlib
import sys

import keras
import numpy as np
import pandas as pd

table, folder, seed = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
keras.utils.set_random_seed(seed)

frame = pd.read_csv(table, dtype=np.float32)
y = frame.pop("label").to_numpy()
x = frame.to_numpy()
order = np.random.default_rng(seed).permutation(len(x))
test, training = np.split(order, [len(x) // 5])
mean, deviation = x[training].mean(axis=0), x[training].std(axis=0)
x = (x - mean) / deviation

model = keras.Sequential([
    keras.Input((x.shape[1],)),
    keras.layers.Dense(128, activation="relu"),
    keras.layers.Dense(64, activation="relu"),
    keras.layers.Dense(1, activation="sigmoid"),
])
# Without steps_per_execution Keras returns to Python after each step, and takes longer.
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"], steps_per_execution=50)
model.fit(x[training], y[training], batch_size=32, epochs=10, verbose=0)
loss, accuracy = model.evaluate(x[test], y[test], batch_size=1024, verbose=0)
model.save(folder / "model.keras")
print(loss, accuracy)
