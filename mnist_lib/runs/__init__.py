"""One run: configuration, directory, checkpoints, the loop, and what it has left."""
