"""Predicts the digits in pictures with the model of a run.

  mnist-lib predict --workdir=runs/mine photo.jpg scan.png
  mnist-lib predict --workdir=runs/mine --several --show=seen.png line.jpg
  mnist-lib predict --workdir=runs/mine folder > predictions.jsonl

PNG, JPEG, WebP, BMP, TIFF and GIF files, .npy and IDX files with many images, and folders of
pictures. A table on a terminal, a JSON object per line elsewhere. A file that cannot be used is
named and the others go on; the exit code is then 65, or 66 if it is only that files are missing.
"""

import json
import logging
import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from mnist_lib import choices, errors, paths
from mnist_lib.commands import command_line, startup

FLAGS = absl_flags.FLAGS
_CHOSEN = {
    "checkpoint": ("last", "last, as in results.json, or best by validation", "Run"),
    "background": (
        "auto",
        f"of the pictures: {' | '.join(choices.NAMES['background'])}",
        "Pictures",
    ),
}
_MOST_SHOWN = 60
_logger = logging.getLogger(__name__)


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    absl_flags.DEFINE_string("workdir", None, "run directory", module_name="Run")
    for name, (default, text, group) in _CHOSEN.items():
        absl_flags.DEFINE_string(name, default, text, module_name=group)
    absl_flags.DEFINE_bool(
        "several", False, "find all digits of a line, from the left", module_name="Pictures"
    )
    absl_flags.DEFINE_string(
        "show",
        None,
        f"PNG to write: the first {_MOST_SHOWN} pictures, and what the model saw of each",
        module_name="Output",
    )
    absl_flags.DEFINE_bool(
        "json", False, "print JSON lines on a terminal too", module_name="Output"
    )
    absl_flags.DEFINE_bool(
        "progress", True, "show a progress bar on a terminal", module_name="Output"
    )
    FLAGS.set_gnu_getopt(True)  # the files may stand before the flags
    command_line.run_with_arguments(_predict, __doc__, arguments)


def _predict(names: list[str]) -> None:
    if FLAGS.workdir is None:
        raise errors.ConfigError("workdir", "name the directory of a run, such as runs/mine")
    if not names:
        raise errors.ConfigError("file", "none is given; name pictures, or a folder of them")
    for name in _CHOSEN:
        choices.check(name, FLAGS[name].value)
    show = None if FLAGS.show is None else _show_path()
    startup.start_tensorflow(report_devices=False)
    from mnist_lib import progress
    from mnist_lib.inspection import tables
    from mnist_lib.serving import inputs, predictor

    loaded = predictor.load_predictor(FLAGS.workdir, FLAGS.checkpoint)
    files, failed = _all_files(names, inputs.files_of)
    as_json = FLAGS.json or not sys.stdout.isatty()
    num_files = len(set(map(str, files)))
    bar = progress.Progress(
        num_files, description="predict", unit="file", show_bar=FLAGS.progress and num_files > 1
    )
    num_files += len(failed)
    rows: list = []
    shown: list = []
    seen: set[str] = set()
    for found in loaded.predict_files(files, several=FLAGS.several, background=FLAGS.background):
        seen.add(found.file)
        bar.update(len(seen))
        if found.error is not None:
            failed.append(found.error)
            bar.message(str(found.error))
        if as_json:
            print(json.dumps(found.to_dict()))
        elif found.error is None:
            rows.append(found)
        if show is not None and found.error is None and len(shown) < _MOST_SHOWN:
            shown.append(found)
    bar.close()
    if not as_json and rows:
        tables.print_predictions(rows, loaded.class_names)
    if show is not None and shown:
        _write_picture(shown, show)
    _report(failed, num_files)


def _show_path():
    path = paths.local("show", FLAGS.show)
    if path.suffix.lower() != ".png":
        raise errors.ConfigError("show", f"{path} does not end in .png; a PNG is what is written")
    paths.check_makeable("show", path.parent)
    return path


def _all_files(names: list[str], files_of) -> tuple[list, list[errors.MnistLibError]]:
    """Returns the files that are named, those in folders too, and what is wrong with folders."""
    files, failed = [], []
    for name in names:
        try:
            files += files_of(name)
        except errors.MnistLibError as error:
            failed.append(error)
            _logger.warning("%s", error)
    return files, failed


def _write_picture(shown: list, path) -> None:
    from mnist_lib.inspection import figures
    from mnist_lib.serving import seen

    print(figures.save(seen.draw_seen(shown), path, "png"), file=sys.stderr)


def _report(failed: list[errors.MnistLibError], num_files: int) -> None:
    """Ends with an error if a file could not be used."""
    if not failed:
        return
    missing = all(isinstance(error, errors.DataNotFoundError) for error in failed)
    kind = errors.DataNotFoundError if missing else errors.CorruptDataError
    raise kind(
        str(failed[0])
        if num_files == 1
        else f"{len(failed)} of {num_files} files could not be used, see above. Pass others."
    )
