"""Compares finished runs on the same images: `mnist-lib compare` from the checkout."""

from mnist_lib.commands import compare

if __name__ == "__main__":
    compare.run()
