"""Trains a Keras model of one's own with the library's trainer.

python examples/own_model.py [NUM_STEPS]
"""

import sys

import keras

import mnist_lib


def main(num_steps: int = 430) -> None:
    data = mnist_lib.load_dataset("auto")
    strategy = mnist_lib.create_strategy("mirrored")
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((28, 28, 1), dtype="uint8"),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Conv2D(8, 5, strides=2, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(10),
            ]
        )
        optimizer = keras.optimizers.Adam(3e-3)
    trainer = mnist_lib.Trainer(model, optimizer, strategy=strategy)
    batches = iter(trainer.distribute(mnist_lib.train_batches(data.train, batch_size=128)))
    metrics = trainer.train(batches, num_steps)
    print(f"train loss {metrics.loss:.4f}, accuracy {metrics.accuracy:.4f}")
    evaluator = mnist_lib.Evaluator(model, strategy=strategy)
    validation = evaluator.evaluate(mnist_lib.eval_batches(data.validation))
    print(f"validation accuracy {validation.accuracy:.4f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
