"""Starts a command as several workers on this machine: `mnist-lib launch` from the checkout."""

from mnist_lib.commands import launch

if __name__ == "__main__":
    launch.run()
