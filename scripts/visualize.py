"""Draws data or a run: `mnist-lib visualize` from the checkout."""

from mnist_lib.commands import visualize

if __name__ == "__main__":
    visualize.run()
