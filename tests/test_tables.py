import numpy as np
import pytest

import mnist_lib
from mnist_lib.inspection import tables

RESULTS = {
    "dataset": "mnist",
    "model": "fast_cnn",
    "seed": 0,
    "step": 270,
    "num_replicas": 1,
    "num_parameters": 109_210,
    "class_names": ["zero", "one", "two"],
    "train": {"loss": 0.1, "accuracy": 0.99},
    "validation": {"num_examples": 50, "num_correct": 49, "accuracy": 0.98, "loss": 0.1},
    "test": {
        "num_examples": 310,
        "num_correct": 303,
        "accuracy": 303 / 310,
        "loss": 0.1,
        "confusion_matrix": [[98, 2, 0], [0, 110, 0], [1, 4, 95]],
    },
    "timing": {"startup_seconds": 4.0, "train_seconds": 2.34, "images_per_second": 1.0},
}
COMMANDS = ["mnist-lib evaluate --workdir=runs/first", "tensorboard --logdir runs/first"]


def cells(text: str) -> dict[str, str]:
    """Returns the second column of a table by the first; lines of one cell are joined."""
    rows: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if line.startswith("│"):
            _, name, value, _ = (part.strip() for part in line.split("│"))
            last = name or last
            rows[last] = f"{rows.get(last, '')} {value}".strip()
    return rows


@pytest.mark.parametrize("columns", [60, 80])
def test_the_closing_table_fits_and_says_what_counts(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    tables.print_results("runs/first", RESULTS, 9.87, COMMANDS)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert cells(out) == {
        "run directory": "runs/first",
        "data set": "mnist",
        "model": "fast_cnn, 109,210 parameters",
        "test images": "303 of 310 right",
        "test accuracy": "0.9774, 95 % interval 0.9541 to 0.9890",
        "weakest classes": "two: 95 of 100 right zero: 98 of 100 right",
        "validation accuracy": "0.9800",
        "seconds": "2.3 in training steps, 9.9 this command",
    }
    assert out.endswith(f"Next:\n  {COMMANDS[0]}\n  {COMMANDS[1]}\n")


def test_commands_stay_whole_and_long_paths_are_folded(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    workdir = "runs/" + "long" * 30
    tables.print_results(workdir, RESULTS, 1.0, [f"tensorboard --logdir {workdir}"])
    out = capsys.readouterr().out
    assert cells(out)["run directory"].replace(" ", "") == workdir
    assert f"\n  tensorboard --logdir {workdir}\n" in out


def test_results_of_older_versions_and_runs_without_validation(capsys):
    older = {
        name: RESULTS[name] for name in RESULTS if name not in ("num_parameters", "class_names")
    }
    older["test"] = {name: older["test"][name] for name in ("num_examples", "num_correct")}
    older["validation"] = {"num_examples": 0, "num_correct": 0, "accuracy": None, "loss": None}
    tables.print_results("run", older, 1.0, [])
    rows = cells(capsys.readouterr().out)
    assert rows["model"] == "fast_cnn"
    assert not {"weakest classes", "validation accuracy"} & rows.keys()


def test_an_evaluation_is_shown_by_class_with_its_interval(capsys):
    metrics = mnist_lib.EvalMetrics(
        31.0, np.array([[98, 2], [0, 110]]), class_names=("zero", "one")
    )
    tables.print_evaluation("mnist test", metrics)
    out = capsys.readouterr().out
    assert "mnist test: loss 0.1476" in out
    assert [part.strip() for part in out.splitlines()[4].split("│")][1:6] == [
        *("zero", "100", "98", "2", "0.9800"),
    ]
    assert "accuracy 0.9905, 95 % interval 0.9659 to 0.9974" in out


def confusion_rows(text: str) -> list[list[str]]:
    """Returns the words of the lines of the second table."""
    return [line.split() for line in text[text.index("label \\ prediction") :].splitlines()]


def test_an_evaluation_shows_what_was_taken_for_what_in_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    matrix = np.diag([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    matrix[4, 9], matrix[7, 1], matrix[2, 3] = 12, 3, 1
    tables.print_evaluation("mnist test", mnist_lib.EvalMetrics(1.0, matrix, dataset="mnist"))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    rows = confusion_rows(out)
    assert rows[0] == ["label", "\\", "prediction", *map(str, range(10))]
    assert rows[2 + 4] == ["4", *"....", "982", *"....", "12"]
    assert rows[2 + 1] == ["1", ".", "1135", *"........"]
    assert out.rstrip().endswith(
        "4 taken for 9: 12 times\n7 taken for 1: 3 times\n2 taken for 3: 1 time"
    )


def test_long_names_have_numbers_above_and_many_classes_no_matrix(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat")
    names += ("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    matrix = np.full((10, 10), 1000)
    tables.print_evaluation("fashion", mnist_lib.EvalMetrics(1.0, matrix, class_names=names))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    rows = confusion_rows(out)
    assert rows[0][-2:] == ["8", "9"]
    assert rows[2 + 9][:4] == ["9", "Ankle", "boot", "1000"]
    many = np.diag(np.arange(47)) + np.eye(47, k=1, dtype=int)
    tables.print_evaluation("emnist", mnist_lib.EvalMetrics(1.0, many))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "--json has the confusion matrix of 47 classes" in out
    assert "0 taken for 1: 1 time\n" in out


def test_an_evaluation_without_errors_or_without_classes(capsys):
    tables.print_evaluation("mnist test", mnist_lib.EvalMetrics(1.0, np.diag([3, 4])))
    assert "taken for" not in capsys.readouterr().out
    metrics = mnist_lib.EvalMetrics(
        5.0, np.zeros((0, 0), np.int64), num_examples=50, own={"error": 0.5}
    )
    tables.print_evaluation("mine test", metrics)
    out = capsys.readouterr().out
    assert out == "mine test: 50 images; loss 0.1000, error 0.5000\n"
