"""Draws the data, a run, or what single units of a network compute.

  mnist-lib visualize samples
  mnist-lib visualize confusion --workdir=runs/mine --output=confusion.png
  mnist-lib visualize --workdir=runs/a --workdir=runs/b curves
  mnist-lib visualize all --workdir=runs/mine --output=figures

Of data: samples, labels, augmentation. Of a run: curves, confusion, mistakes, reliability,
precision_recall, filters, feature_maps, embedding, saliency, model. Of neither: activations,
noise, separability. All of them, into a folder: all; without --workdir those of no run.
"""

import logging
import pathlib
from collections.abc import Sequence

from absl import flags as absl_flags

from mnist_lib import choices, errors, paths
from mnist_lib.commands import command_line, flags, startup

FLAGS = absl_flags.FLAGS
FORMATS = ("png", "svg", "pdf")
ALL = "all"
_OF_SEVERAL_RUNS = ("curves",)
OF_NO_RUN = ("samples", "labels", "augmentation", "activations", "noise", "separability")
_AUGMENTATIONS = tuple(name for name in choices.NAMES["augmentation"] if name != "none")
_logger = logging.getLogger(__name__)


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    define = absl_flags.DEFINE_string
    absl_flags.DEFINE_multi_string(
        "workdir",
        None,
        "run directory; only curves take several",
        module_name="Run",
    )
    define("split", "test", " | ".join(choices.NAMES["split"]), module_name="Run")
    define(
        "checkpoint", "last", "last, as in results.json, or best by validation", module_name="Run"
    )
    flags.define_data_flags(of_run=True)
    define(
        "augmentation", "full", f"which to draw: {' | '.join(_AUGMENTATIONS)}", module_name="Data"
    )
    define(
        "projection",
        "pca",
        f"of the embedding: {' | '.join(choices.NAMES['projection'])} (tsne needs scikit-learn)",
        module_name="Run",
    )
    define(
        "output",
        None,
        "file to write, of all a folder (default: the kind, as .png; figures)",
        module_name="Output",
    )
    define(
        "format",
        None,
        f"{' | '.join(FORMATS)} (default: as --output ends, or png)",
        module_name="Output",
    )
    FLAGS.set_gnu_getopt(True)  # the kind may stand before the flags
    command_line.run_with_arguments(_visualize, __doc__, arguments)


def _visualize(words: list[str]) -> None:
    kinds = _kinds(words)
    files = _files(words[0], kinds)
    for name in ("split", "checkpoint", "projection"):
        choices.check(name, FLAGS[name].value)
    choices.check("augmentation", FLAGS.augmentation, _AUGMENTATIONS)
    startup.start_tensorflow(report_devices=False)
    from mnist_lib.commands import figure_sources
    from mnist_lib.inspection import figures

    fields = flags.given_fields()
    fields.pop("augmentation", None)
    sources = figure_sources.FigureSources(
        tuple(FLAGS.workdir or ()),
        fields,
        split=FLAGS.split,
        checkpoint=FLAGS.checkpoint,
        augmentation=FLAGS.augmentation,
        projection=FLAGS.projection,
    )
    for kind in kinds:
        try:
            figure = figure_sources.DRAW[kind](sources)
        except errors.ConfigError as error:
            if words[0] != ALL:
                raise
            _logger.warning("%s is left out: %s", kind, error)
            continue
        file, file_format = files[kind]
        print(figures.save(figure, file, file_format))


def _kinds(words: list[str]) -> tuple[str, ...]:
    """Returns which figures to draw; checks that their runs are named."""
    known = choices.NAMES["figure"]
    if len(words) != 1:
        given = f"{len(words)} names are given" if words else "none is named"
        raise errors.ConfigError("figure", f"{given}; name one of {', '.join(known)}, or all")
    (kind,) = words
    choices.check("figure", kind, (*known, ALL))
    workdirs = FLAGS.workdir or ()
    if kind == ALL:
        return known if workdirs else tuple(name for name in known if name in OF_NO_RUN)
    if kind not in OF_NO_RUN and not workdirs:
        raise errors.ConfigError(
            "workdir", f"{kind} is of a run; name its directory, such as runs/mine"
        )
    if len(workdirs) > 1 and kind not in _OF_SEVERAL_RUNS:
        raise errors.ConfigError("workdir", f"{kind} is of one run, and {len(workdirs)} are given")
    return (kind,)


def _files(asked: str, kinds: tuple[str, ...]) -> dict[str, tuple[pathlib.Path, str]]:
    """Returns where each figure goes, and in which format."""
    file_format = FLAGS.format
    if file_format is not None:
        choices.check("format", file_format, FORMATS)
    default = "figures" if asked == ALL else f"{asked}.{file_format or 'png'}"
    output = paths.local("output", default if FLAGS.output is None else FLAGS.output)
    if asked == ALL:
        file_format = file_format or "png"
        paths.check_makeable("output", output)
        return {kind: (output / f"{kind}.{file_format}", file_format) for kind in kinds}
    ending = output.suffix[1:].lower()
    if ending not in FORMATS and file_format is None:
        raise errors.ConfigError(
            "output", f"{output} ends in none of .{', .'.join(FORMATS)}; pass --format, too"
        )
    if ending in FORMATS and file_format not in (None, ending):
        raise errors.ConfigError("format", f"is {file_format}, and --output ends in .{ending}")
    paths.check_makeable("output", output.parent)
    return {asked: (output, file_format or ending)}
