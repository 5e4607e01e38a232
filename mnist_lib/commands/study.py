"""Trains every setting with every seed, and says what differs and how surely.

mnist-lib study --recipe=mlp --seeds=0:10 --vary=optimizer=adam,sgd --workdir=studies/mine
mnist-lib study --workdir=studies/mine            # goes on with it
mnist-lib study --workdir=studies/mine --dry_run

Each run is an ordinary one in a folder of its own, without TensorBoard's files and pictures unless
--summaries=default asks for them: they would take longer than many a training. A study that was
stopped goes on when it is started again; seeds and settings may be added.
"""

import dataclasses
import json
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from mnist_lib import choices, errors, paths, runtime
from mnist_lib.commands import command_line, flags, startup, train

FLAGS = absl_flags.FLAGS
# What a run imports, sooner or later; figures are drawn at its end.
_PRELOAD = (
    *("mnist_lib.commands.train", "mnist_lib.runs.experiment", "mnist_lib.inspection.tables"),
    "mnist_lib.inspection.figures.run_figures",
)
_PLACES = ("data_dir", "manual_dir", "download", "progress")


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` are its flags, by default those of the process."""
    absl_flags.DEFINE_string("seeds", "0:5", "as 0:10, or 3,5,8", module_name="Study")
    absl_flags.DEFINE_multi_string(
        "vary",
        [],
        "field of the configuration and its values, as optimizer=adam,sgd; may be given often: "
        "each value is tried with each",
        module_name="Study",
    )
    absl_flags.DEFINE_string("workdir", None, "folder of the study's runs", module_name="Study")
    absl_flags.DEFINE_integer(
        "jobs",
        None,
        "runs at once (default: one, or one for each GPU)",
        lower_bound=1,
        module_name="Study",
    )
    absl_flags.DEFINE_list(
        "gpus",
        None,
        "as 0,1: GPUs, of which each run gets one (default: those of the machine)",
        module_name="Study",
    )
    absl_flags.DEFINE_bool(
        "dry_run", False, "say how many runs, and how long, and train none", module_name="Study"
    )
    absl_flags.DEFINE_bool(
        "ensemble",
        False,
        "make the runs of each setting one model, which is used like a run",
        module_name="Study",
    )
    absl_flags.DEFINE_integer(
        "test_time_shift",
        0,
        "pixels: --ensemble also averages over each image moved so far in eight directions",
        lower_bound=0,
        upper_bound=choices.LARGEST_TEST_TIME_SHIFT,
        module_name="Study",
    )
    absl_flags.DEFINE_bool(
        "suspects",
        False,
        "find training images whose label is likely wrong, by more runs of each setting",
        module_name="Study",
    )
    absl_flags.DEFINE_integer(
        "folds",
        5,
        "runs of each setting that --suspects trains",
        lower_bound=2,
        module_name="Study",
    )
    absl_flags.DEFINE_bool("json", False, "print JSON instead of tables", module_name="Study")
    flags.define_train_flags(of_study=True)
    command_line.run(_study, __doc__, arguments)


def _study() -> None:
    from mnist_lib.studies import plan, process_starter, shares, study

    if FLAGS.workdir is None:
        raise errors.ConfigError("workdir", "name a folder for the runs, such as studies/mine")
    if FLAGS.test_time_shift and not FLAGS.ensemble:
        raise errors.ConfigError("test_time_shift", "is of an ensemble; add --ensemble")
    workdir = paths.local("workdir", FLAGS.workdir, errors.OutputError)
    request = _request(workdir)
    planned = plan.plan_runs(workdir, request)
    share = shares.share_of_array_task(os.environ)
    gpus = shares.gpus(os.environ) if FLAGS.gpus is None else FLAGS.gpus
    jobs = FLAGS.jobs or max(1, len(gpus))
    if FLAGS.dry_run:
        _say(study.forecast(planned[share.index :: share.count], jobs))
        return
    runtime.configure_before_tensorflow()
    if planned[0].config.dataset == choices.AUTO and not _is_mnist_at_hand(planned[0].config):
        startup.start_tensorflow(report_devices=False)  # by which data is prepared
    how = process_starter.ProcessPlan(
        _train, jobs, gpus, _PRELOAD, share, show_progress=FLAGS.progress
    )
    results = study.finish(planned, workdir, how, request)
    if results is None:
        _say(f"The runs of task {share.index + 1} of {share.count} are finished, others are not.")
        return
    planned = study.of_data_set(planned, results.dataset)
    if not FLAGS.json:
        from mnist_lib.studies import study_tables

        study_tables.print_study(results, f"{os.fspath(workdir)}: {results.dataset}")
    startup.start_tensorflow(report_devices=False)
    with study.held_afterwards(workdir, is_shared=share.count > 1) as is_ours:
        if not is_ours:
            _say("Another task makes the picture, and what else is asked for.")
        more = _made_of_all(results, planned, workdir) if is_ours else {}
    if FLAGS.json:
        print(json.dumps(results.to_dict() | more, indent=2))


def _made_of_all(results: Any, planned: Sequence[Any], workdir: pathlib.Path) -> dict[str, Any]:
    """Draws the picture, and returns what else is asked for, as JSON takes it."""
    from mnist_lib.studies import study

    study.draw(results, workdir / study.PICTURE_NAME)
    more: dict[str, Any] = {}
    if FLAGS.ensemble:
        more["ensembles"] = list(map(dataclasses.asdict, _ensembles(planned)))
    if FLAGS.suspects:
        more["suspects"] = [report.to_dict() for report in _suspects(planned)]
    return more


def _say(line: str) -> None:
    """Prints a line where it is no part of the JSON that is asked for."""
    print(line, file=sys.stderr if FLAGS.json else sys.stdout)


def _ensembles(planned: Sequence[Any]) -> list[Any]:
    """Makes an ensemble of the runs of each setting, and prints what it comes to."""
    from mnist_lib.studies import ensemble, study_tables

    runs: dict[str, list[pathlib.Path]] = {}
    for one in planned:
        runs.setdefault(one.setting, []).append(one.path)
    options = {name: getattr(planned[0].config, name) for name in _PLACES[:3]}
    shift = FLAGS.test_time_shift
    made = []
    for setting, of_setting in runs.items():
        folder = of_setting[0].with_name(ensemble.folder_name(shift))
        made.append(ensemble.make(setting, of_setting, folder, test_time_shift=shift, **options))
        if not FLAGS.json:
            study_tables.print_ensemble(made[-1])
    return made


def _suspects(planned: Sequence[Any]) -> list[Any]:
    """Trains the folds of each setting, and prints which labels are likely wrong."""
    from mnist_lib.studies import suspect_tables, suspects

    first: dict[str, Any] = {}
    for one in planned:
        first.setdefault(one.setting, one)
    reports = []
    for one in first.values():
        folder = one.path.with_name(suspects.FOLDER_NAME)
        reports.append(suspects.find_suspects(one.config, folder, num_folds=FLAGS.folds))
        if not FLAGS.json:
            suspect_tables.print_suspects(reports[-1])
            print(f"The picture: {folder / suspects.PICTURE_NAME}")
    return reports


def _is_mnist_at_hand(config: Any) -> bool:
    from mnist_lib.datasets import preparation

    try:
        preparation.prepare_dataset("mnist", data_dir=config.data_dir, download=False)
    except errors.DataNotFoundError:
        return False
    return True


def _request(workdir: pathlib.Path) -> Any:
    """Returns what the flags ask for, or, if they name no setting, what was asked before.

    Seeds that are named then are added to those.
    """
    from mnist_lib.studies import plan, requests

    given = flags.given_fields()
    asked = {name: value for name, value in given.items() if name not in _PLACES}
    if not (asked or FLAGS.recipe or FLAGS.vary):
        kept = requests.read_request(workdir)
        if kept is not None:
            if FLAGS["seeds"].present:
                kept = kept.with_more_seeds(plan.read_seeds(FLAGS.seeds))
            return dataclasses.replace(kept, fields=kept.fields | given)
    vary: dict[str, list[Any]] = {}
    for text in FLAGS.vary:
        field, values = plan.read_vary(text)
        if field in vary:
            raise errors.ConfigError("vary", f"{field} is given twice; give all values at once")
        vary[field] = values
    shown = {} if "summaries" in vary else {"summaries": "none"}
    seeds = plan.read_seeds(FLAGS.seeds)
    return requests.StudyRequest(FLAGS.recipe, shown | given, vary, seeds, _command(asked))


def _train(planned: Any) -> None:
    """Is `mnist-lib train` in the folder of a run, in a process of its own."""
    places = {name: getattr(planned.config, name) for name in ("data_dir", "manual_dir")}
    given = [f"--{name}={value}" for name, value in places.items() if value is not None]
    given.append("--download" if planned.config.download else "--nodownload")
    train.run([f"--workdir={planned.path}", *given])


def _command(asked: dict[str, Any]) -> str:
    """Returns what asks for this study, without what is of this machine alone."""
    given = [f"--recipe={FLAGS.recipe}"] if FLAGS.recipe else []
    given += [f"--seeds={FLAGS.seeds}", *(f"--vary={text}" for text in FLAGS.vary)]
    for name, value in asked.items():
        is_switch = isinstance(value, bool)
        given.append(f"--{'' if value else 'no'}{name}" if is_switch else f"--{name}={value}")
    return shlex.join(["mnist-lib", "study", *given])
