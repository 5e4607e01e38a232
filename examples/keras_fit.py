"""Feeds the library's batches to Keras `fit` and `evaluate`.

python examples/keras_fit.py [NUM_STEPS]
"""

import sys

import keras

import mnist_lib


def main(num_steps: int = 430) -> None:
    data = mnist_lib.load_dataset("auto")
    model = mnist_lib.build_model("mlp", activation="elu")
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    batches = mnist_lib.train_batches(data.train, batch_size=128, num_steps=num_steps)
    model.fit(batches, verbose=2)
    _, accuracy = model.evaluate(mnist_lib.eval_batches(data.validation), verbose=0)
    print(f"validation accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
