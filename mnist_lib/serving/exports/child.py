"""Answers images with an export, in a process that cannot import this library.

Run as a script: `child.py READER ARTEFACT IMAGES ANSWERS`. READER is the file of the module
whose `load` reads the artefact, IMAGES a `.npy` file, ANSWERS the `.npz` file to write.
"""

import importlib.util
import sys
import time

import numpy as np

BATCH_SIZE = 500


def _main() -> None:
    reader, artefact, images_file, answers_file = sys.argv[1:]
    sys.modules["mnist_lib"] = None  # type: ignore[assignment]  # importing it fails from here on
    spec = importlib.util.spec_from_file_location("reader", reader)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    images = np.load(images_file, allow_pickle=False)
    answer = module.load(artefact)
    answer(images[:BATCH_SIZE])  # what is made once is not timed
    begin = time.process_time()  # on one thread, and whatever else the machine does
    parts = [answer(images[at : at + BATCH_SIZE]) for at in range(0, len(images), BATCH_SIZE)]
    seconds = time.process_time() - begin
    probabilities, labels = (np.concatenate(values) for values in zip(*parts, strict=True))
    np.savez(answers_file, probabilities=probabilities, labels=labels, seconds=seconds)


if __name__ == "__main__":
    _main()
