"""Drives the library's trainer and evaluator with Orbit's Controller.

pip install --no-deps tf-models-official tf-keras
python examples/orbit_controller.py [NUM_STEPS]
"""

import sys

import orbit

import mnist_lib


class Classification(orbit.AbstractTrainer, orbit.AbstractEvaluator):
    """What the controller calls: some steps, one evaluation."""

    def __init__(self, trainer: mnist_lib.Trainer, data: mnist_lib.ImageDataset):
        self._trainer = trainer
        self._batches = iter(trainer.distribute(data.train, batch_size=128))
        self._evaluator = mnist_lib.Evaluator(trainer.model, strategy=trainer.strategy)
        self._validation = data.validation

    def train(self, num_steps):
        metrics = self._trainer.train(self._batches, int(num_steps))
        return {"loss": metrics.loss, "accuracy": metrics.accuracy}

    def evaluate(self, num_steps):
        metrics = self._evaluator.evaluate(self._validation)
        return {"loss": metrics.loss, "accuracy": metrics.accuracy}


def main(num_steps: int = 430) -> None:
    data = mnist_lib.load_dataset("auto")
    strategy = mnist_lib.create_strategy("mirrored")
    with strategy.scope():
        model = mnist_lib.build_model("mlp", activation="elu")
        optimizer = mnist_lib.build_optimizer("adam", 1e-3)
    task = Classification(mnist_lib.Trainer(model, optimizer, strategy=strategy), data)
    controller = orbit.Controller(
        trainer=task,
        evaluator=task,
        global_step=optimizer.iterations.value,
        steps_per_loop=50,
    )
    validation = controller.train_and_evaluate(
        train_steps=num_steps, eval_steps=-1, eval_interval=num_steps // 2
    )
    print(f"validation accuracy {validation['accuracy']:.4f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
