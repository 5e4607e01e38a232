"""Trains every setting with every seed: `mnist-lib study` from the checkout."""

from mnist_lib.commands import study

if __name__ == "__main__":
    study.run()
