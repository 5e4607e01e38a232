"""Prepares a data set, so that training needs no network.

mnist-lib prepare_data --data_dir=/shared/tensorflow_datasets
mnist-lib prepare_data --manual_dir=/folder/with/the/four/files
"""

from collections.abc import Sequence

from mnist_lib.commands import command_line, flags, startup


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    flags.define_data_flags()
    command_line.run(_prepare, __doc__, arguments)


def _prepare() -> None:
    startup.start_tensorflow(report_devices=False)
    from mnist_lib.datasets import loading, preparation

    prepared = preparation.prepare_dataset(**flags.data_options())
    print(f"{prepared.info.name} {prepared.info.version} from {prepared.source}")
    for split, shards in prepared.shards.items():
        for shard in shards:
            print(f"{split}: {shard.num_examples} images, {shard.describe()}")
        # The files of two machines may differ, their images and labels may not.
        digest = loading.read_split(prepared, split).sha256
        print(f"{split}: SHA-256 of images and labels {digest}")
