"""Keras `fit` and `evaluate` on two replicas, without and with our Evaluator beside them.

python examples/fit_beside_evaluator.py [NUM_STEPS]
"""

import sys

import keras

import mnist_lib


def fit_and_evaluate(strategy, data: mnist_lib.ImageDataset, num_steps: int, beside: bool) -> dict:
    """Trains a model with `fit`; `beside`: our Evaluator uses it before, between and after."""
    with strategy.scope():
        model = mnist_lib.build_model("mlp", activation="elu", dropout=0.0, seed=1)
        model.compile(
            optimizer=keras.optimizers.Adam(1e-3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    evaluator = mnist_lib.Evaluator(model, strategy=strategy)
    results = {}
    for epoch in range(2):
        if beside:
            evaluator.evaluate(data.validation)
        batches = mnist_lib.train_batches(
            data.train, batch_size=128, seed=epoch, num_steps=num_steps // 2
        )
        history = model.fit(batches, verbose=0).history
        results |= {f"fit {name}": values[-1] for name, values in history.items()}
    batches = mnist_lib.eval_batches(data.validation)
    results |= model.evaluate(batches, verbose=0, return_dict=True)
    if beside:
        ours = evaluator.evaluate(data.validation)
        print(f"our Evaluator: loss {ours.loss:.6f}, accuracy {ours.accuracy:.6f}")
    return results


def main(num_steps: int = 100) -> None:
    data = mnist_lib.load_dataset("auto")
    strategy = mnist_lib.create_strategy("mirrored", num_replicas=2)
    for beside in (False, True):
        results = fit_and_evaluate(strategy, data, num_steps, beside)
        print("beside it:" if beside else "alone:", results)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
