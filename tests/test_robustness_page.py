"""The tables of docs/robustness.md say what runs have recorded."""

import json
import pathlib
import sys

import pytest

DOCS = pathlib.Path(__file__).parent.parent / "docs"
sys.path.append(str(DOCS))

import marked_page  # noqa: E402
import robustness  # noqa: E402


def _counted(accuracy: float, **facts) -> dict:
    return {"accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01], **facts}


def _report(accuracy: float) -> dict:
    facts = {"num_images": 1200, "split": "test", "dataset": "mnist"}
    measures = {
        f"calibration_error_{kind}{end}": value
        for kind in ("equal_width", "equal_mass")
        for end, value in (("", 0.02), ("_interval", [0.01, 0.03]))
    }
    return {
        "corruptions": facts
        | {
            "clean": _counted(accuracy),
            "mean_accuracy": accuracy - 0.2,
            "rows": [
                _counted(accuracy - 0.1 * strength, corruption="shot_noise", strength=strength)
                for strength in range(1, 6)
            ],
        },
        "alphabets": facts
        | {
            "rows": [
                {
                    "unknown": "uniform_noise",
                    "auroc": accuracy,
                    "auroc_interval": [0.5, 0.75],
                    "false_positive_rate": 0.125,
                }
            ]
        },
        "adversarial": facts | {"rows": [_counted(accuracy / 2, attack="pgd", epsilon=0.1)]},
        "calibration": facts
        | {
            "temperature": 1.25,
            "before": measures | {"negative_log_likelihood": 0.5},
            "after": measures | {"negative_log_likelihood": 0.25},
            "coverage": [_counted(accuracy, coverage=0.995)],
        },
    }


def test_each_run_has_a_column():
    columns = robustness.with_column({}, "fast", _report(0.9))
    made = robustness.tables(robustness.with_column(columns, "cnn", _report(0.8)))
    for line in (
        "| corruption | fast | cnn |",
        "| none | 90.00 (89.00 to 91.00) | 80.00 (79.00 to 81.00) |",
        "| shot noise | 60.00 (80.00 to 40.00) | 50.00 (70.00 to 30.00) |",
        "| **mean** | **70.00** | **60.00** |",
        "| uniform noise"
        " | 0.9000 (0.5000 to 0.7500), 12.50 % | 0.8000 (0.5000 to 0.7500), 12.50 % |",
        "| PGD, eps 0.1 | 45.00 (44.00 to 46.00) | 40.00 (39.00 to 41.00) |",
        "| temperature | 1.250 | 1.250 |",
        "| negative log-likelihood | 0.5000 → 0.2500 | 0.5000 → 0.2500 |",
        "| accuracy of the surest 99.5 % | 90.00 (89.00 to 91.00) | 80.00 (79.00 to 81.00) |",
    ):
        assert line in made.splitlines()
    assert "1,200 test images of mnist" in made


def test_a_table_has_the_runs_that_its_suite_was_tried_on():
    ensemble = {suite: _report(0.5)[suite] for suite in ("corruptions", "alphabets")}
    columns = robustness.with_column({}, "ensemble", _report(0.25))
    columns = robustness.with_column(columns, "fast", _report(0.75))
    text = robustness.tables(robustness.with_column(columns, "ensemble", ensemble))
    heads = [line for line in text.splitlines() if line.startswith("| ") and "fast" in line]
    assert ["ensemble" in head for head in heads] == [True, True, False, False]
    assert "12.50 (11.50" not in text  # what it was before


def test_the_page_shows_the_columns_that_are_kept():
    page = (DOCS / "robustness.md").read_text()
    assert robustness.tables(json.loads((DOCS / "robustness.json").read_text())) in page


def test_only_what_is_between_the_marks_is_replaced(tmp_path, monkeypatch):
    page = (DOCS / "robustness.md").read_text()
    before, after = page.split(robustness.BEGIN)[0], page.split(robustness.END)[1]
    run = tmp_path / "fast"
    (run / "figures").mkdir(parents=True)
    (run / "figures" / "robustness.png").write_bytes(b"drawn")
    (run / "robustness.json").write_text(json.dumps(_report(0.9)))
    (tmp_path / "images").mkdir()
    (tmp_path / "robustness.md").write_text(page)
    kept = (DOCS / "robustness.json").read_text()
    (tmp_path / "robustness.json").write_text(kept)
    monkeypatch.setattr(marked_page, "DOCS", tmp_path)
    for _ in range(2):  # as often as one likes
        robustness.main([str(run)])
        written = (tmp_path / "robustness.md").read_text()
        assert (written.startswith(before), written.endswith(after)) == (True, True)
        assert written.count("| none | 90.00 (89.00 to 91.00) |") == 1
    columns = json.loads((tmp_path / "robustness.json").read_text())["corruptions"]
    before_fast = json.loads(kept)["corruptions"]
    assert list(columns) == list(before_fast)
    assert [run for run in columns if columns[run] != before_fast[run]] == ["fast"]
    assert (tmp_path / "images" / "robustness.png").read_bytes() == b"drawn"
    other = tmp_path / "other=fast"
    other.mkdir()
    (other / "robustness.json").write_text(json.dumps(_report(0.8)))
    robustness.main([f"mine={run}", str(other)])
    columns = json.loads((tmp_path / "robustness.json").read_text())["corruptions"]
    assert list(columns) == [*before_fast, "mine", "other=fast"]
    with pytest.raises(SystemExit, match="name the run directories"):
        robustness.main([])
    with pytest.raises(SystemExit, match="two columns would be called fast; pass one as OTHER_N"):
        robustness.main([str(run), f"fast={other}"])


def test_columns_of_other_images_say_so():
    columns = robustness.with_column({}, "fast", _report(0.25))
    few = {suite: part | {"num_images": 60} for suite, part in _report(0.5).items()}
    text = robustness.tables(robustness.with_column(columns, "cnn", few))
    assert (
        "| corruption | fast, 1,200 test images of mnist | cnn, 60 test images of mnist |" in text
    )
