"""The readers that need no TensorFlow as targets of atheris, which goes by the code that runs.

    pip install atheris          # of Python 3.11 and 3.12, 3.13 where there is a wheel
    python tests/fuzzing/atheris_targets.py npy -max_total_time=300

Atheris is no part of the `dev` extra.
"""

import pathlib
import sys
import tempfile

import atheris

sys.path.insert(0, str(pathlib.Path(__file__).parent))

with atheris.instrument_imports(include=["mnist_lib"]):
    import readers

    from mnist_lib import errors

TARGETS = ("idx", "gzip", "npz", "npy", "png_jpeg", "history")


def main() -> None:
    """Runs the target that the first argument names; the others are libFuzzer's."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"name one of {', '.join(TARGETS)}")
    reader = readers.make(name)

    def try_one(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                reader.read(content, pathlib.Path(folder))
            except errors.MnistLibError:
                return

    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(reader.good()):
            pathlib.Path(corpus, str(number)).write_bytes(content)
        atheris.Setup([*sys.argv, corpus], try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
