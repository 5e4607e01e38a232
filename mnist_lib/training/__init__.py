"""A step of training, and many: losses, optimizers, the trainer, the evaluator."""
