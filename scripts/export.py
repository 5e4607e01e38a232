"""Exports a run's model: `mnist-lib export` from the checkout."""

from mnist_lib.commands import export

if __name__ == "__main__":
    export.run()
