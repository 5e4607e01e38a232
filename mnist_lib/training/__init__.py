"""Configuration, strategies, the training loop, checkpoints, the experiment."""
