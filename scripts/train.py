"""Trains a model on MNIST and tests it once: `mnist-lib train` from the checkout."""

from mnist_lib.commands import train

if __name__ == "__main__":
    train.run()
