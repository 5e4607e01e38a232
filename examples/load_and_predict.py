"""Loads a finished run and predicts the first validation images.

python examples/load_and_predict.py WORKDIR
"""

import sys

import mnist_lib


def main(workdir: str) -> None:
    data = mnist_lib.load_dataset("auto")
    images, labels = data.validation.images[:10], data.validation.labels[:10]
    probabilities = mnist_lib.predict(workdir, images)
    for label, row in zip(labels, probabilities, strict=True):
        print(f"label {label}, predicted {row.argmax()} with probability {row.max():.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
