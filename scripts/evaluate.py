"""Evaluates a run: `mnist-lib evaluate` from the checkout."""

from mnist_lib.commands import evaluate

if __name__ == "__main__":
    evaluate.run()
