"""Trains a model on MNIST and tests it once.

python scripts/train.py --strategy=mirrored --model=cnn --epochs=5
python scripts/train.py --workdir=runs/mine     # starts a run there, or goes on with it
"""

import command_line
import flags

from mnist_lib import runtime
from mnist_lib.distribution import clusters
from mnist_lib.runs import run_directory

flags.define_train_flags()


def main() -> None:
    config = flags.train_config()
    if flags.FLAGS.workdir is not None:
        run_directory.RunDirectory(flags.FLAGS.workdir).check_usable()
    if config.strategy == "multi_worker_mirrored":
        clusters.check_environment()
    runtime.configure_before_tensorflow()
    if config.deterministic:
        runtime.make_deterministic(config.seed)
    import mnist_lib

    results = mnist_lib.train_and_evaluate(
        config,
        flags.FLAGS.workdir,
        allow_other_replicas=flags.FLAGS.allow_other_replicas,
    )
    counts = "{num_correct} of {num_examples}".format(**results["test"])
    print(f"{results['dataset']}: test accuracy {results['test']['accuracy']:.4f}, {counts}")


if __name__ == "__main__":
    command_line.run(main)
