"""Predicts the digits in pictures: `mnist-lib predict` from the checkout."""

from mnist_lib.commands import predict

if __name__ == "__main__":
    predict.run()
