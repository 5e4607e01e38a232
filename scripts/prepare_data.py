"""Prepares a data set: `mnist-lib prepare_data` from the checkout."""

from mnist_lib.commands import prepare_data

if __name__ == "__main__":
    prepare_data.run()
