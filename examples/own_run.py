"""A run of a model, an optimizer and a metric of one's own: resumed, used, and made longer.

python examples/own_run.py WORKDIR [NUM_STEPS]
"""

import sys

import keras

import mnist_lib


def build_model() -> keras.Model:
    """Is called under the strategy of the run, and again to use what the run has left."""
    image = keras.Input((28, 28, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(8, 5, strides=2, activation="relu")(x)
    return keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(x)), name="small_net")


def main(workdir: str, num_steps: int = 430) -> None:
    config = mnist_lib.TrainConfig(
        model="own", lr_schedule="constant", batch_size=128, train_steps=num_steps
    )
    parts = {
        "model": build_model,
        "optimizer": lambda: keras.optimizers.Nadam(3e-3),
        "metrics": lambda: [
            "accuracy",
            keras.metrics.SparseTopKCategoricalAccuracy(3, name="top_3"),
        ],
        "callbacks": [lambda progress: print(f"validated at step {progress.step}")],
    }
    # Stopped at any moment, the same call goes on; more steps make a finished run longer.
    results = mnist_lib.train_and_evaluate(config, workdir, **parts)
    test = results["test"]
    print(f"{results['model']}: accuracy {test['accuracy']:.4f}, top 3 {test['top_3']:.4f}")
    data = mnist_lib.load_dataset(results["dataset"])
    probabilities = mnist_lib.predict(workdir, data.test.images, model=build_model)
    num_correct = int((probabilities.argmax(-1) == data.test.labels).sum())
    print(f"predictions: {num_correct} of {len(data.test)} right")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
