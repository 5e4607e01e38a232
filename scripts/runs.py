"""Lists the runs in a folder: `mnist-lib runs` from the checkout."""

from mnist_lib.commands import runs

if __name__ == "__main__":
    runs.run()
