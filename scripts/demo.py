"""Serves a page to draw on: `mnist-lib demo` from the checkout."""

from mnist_lib.commands import demo

if __name__ == "__main__":
    demo.run()
