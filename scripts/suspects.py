"""Finds labels that are likely wrong: `mnist-lib suspects` from the checkout."""

from mnist_lib.commands import suspects

if __name__ == "__main__":
    suspects.run()
