"""Prepares a data set, so that training needs no network.

python scripts/prepare_data.py --data_dir=/shared/tensorflow_datasets
python scripts/prepare_data.py --manual_dir=/folder/with/the/four/files
"""

import command_line
import flags

from mnist_lib import runtime

flags.define_data_flags()


def main() -> None:
    runtime.configure_before_tensorflow()
    from mnist_lib.datasets import preparation

    prepared = preparation.prepare_dataset(
        flags.FLAGS.dataset,
        data_dir=flags.FLAGS.data_dir,
        manual_dir=flags.FLAGS.manual_dir,
        download=flags.FLAGS.download,
    )
    print(f"{prepared.info.name} {prepared.info.version} from {prepared.source}")
    for split, shards in prepared.shards.items():
        for shard in shards:
            print(f"{split}: {shard.num_examples} images, {shard.describe()}")


if __name__ == "__main__":
    command_line.run(main)
