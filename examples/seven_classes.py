"""Trains a Keras model of one's own on images of one's own: seven classes, 32x32, in colour.

python examples/seven_classes.py [NUM_STEPS]
"""

import sys

import keras
import numpy as np

import mnist_lib

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 220, 30),
    "blue": (30, 30, 220),
    "yellow": (220, 220, 30),
    "magenta": (220, 30, 220),
    "cyan": (30, 220, 220),
    "white": (220, 220, 220),
}


def draw(name: str, num_images: int, seed: int) -> mnist_lib.Split:
    """Draws discs: the class is the colour, place and size are random."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(COLOURS), num_images)
    images = rng.integers(0, 60, (num_images, 32, 32, 3)).astype(np.uint8)
    colours = np.array(list(COLOURS.values()))
    rows, columns = np.mgrid[:32, :32]
    for image, label in zip(images, labels, strict=True):
        row, column, radius = *rng.integers(8, 24, 2), rng.integers(3, 8)
        image[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = colours[label]
    return mnist_lib.Split(name, images, labels)


def main(num_steps: int = 200) -> None:
    data = mnist_lib.ImageDataset(
        "discs",
        train=draw("train", 2000, seed=1),
        validation=draw("validation", 500, seed=2),
        test=draw("test", 500, seed=3),
        class_names=tuple(COLOURS),
    )
    strategy = mnist_lib.create_strategy("mirrored")
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input(data.train.image_shape, dtype="uint8"),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
                keras.layers.GlobalMaxPooling2D(),
                keras.layers.Dense(len(data.class_names)),
            ]
        )
        optimizer = keras.optimizers.Adam(1e-2)
    trainer = mnist_lib.Trainer(model, optimizer, strategy=strategy)
    metrics = trainer.train(data.train, num_steps, batch_size=64)
    print(f"train loss {metrics.loss:.4f}, accuracy {metrics.accuracy:.4f}")
    test = mnist_lib.Evaluator(model, strategy=strategy).evaluate(data.test)
    print(f"test accuracy {test.accuracy:.4f}")
    for name, row in zip(data.class_names, test.confusion_matrix, strict=True):
        print(f"{name:8}", *(f"{count:4}" for count in row))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
