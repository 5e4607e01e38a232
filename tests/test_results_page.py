import dataclasses
import json
import pathlib
import re
import sys
from collections.abc import Sequence

import matplotlib.image
import pytest

import mnist_lib
from mnist_lib.runs import recipes
from mnist_lib.studies import study_results

DOCS = pathlib.Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))
import marked_page  # noqa: E402
import published  # noqa: E402
import results  # noqa: E402

sys.path.remove(str(DOCS))


def _study(top: pathlib.Path, name: str, seconds: float, accuracies: list[float]) -> dict:
    """Returns what `study.json` holds, and writes what its ensemble has come to."""
    mean = sum(accuracies) / len(accuracies)
    test = {
        "accuracies": accuracies,
        "mean": mean,
        "lowest": min(accuracies),
        "standard_deviation": 0.0005,
        "interval": [mean - 0.001, mean + 0.001],
    }
    setting = {
        "setting": name,
        "seeds": list(range(len(accuracies))),
        "folders": [f"{name}/seed-{seed}" for seed in range(len(accuracies))],
        "validation": None,
        "test": test,
        "model": "fast_cnn",
        "num_parameters": 1234,
        "num_train": 60_000,
        "train_seconds": seconds,
    }
    folder = top / name / name / "ensemble"
    folder.mkdir(parents=True)
    sizes = [{"size": 1, "mean": mean}, {"size": 2, "mean": mean + 0.001}]
    _write_ensemble(folder, {"alone": test, "sizes": sizes}, setting["seeds"])
    command = f"mnist-lib study --recipe={name} --seeds=0:2 --validation_size=0"
    return {"command": command, "dataset": "mnist", "settings": [setting]}


def _write_ensemble(folder: pathlib.Path, results: dict, seeds: Sequence[int]) -> None:
    members = [{"path": f"../seed-{seed}", "step": 9} for seed in seeds]
    (folder / "ensemble.json").write_text(json.dumps({"members": members}))
    (folder / "results.json").write_text(json.dumps(results))


@pytest.fixture
def studies(tmp_path) -> dict[pathlib.Path, dict]:
    return {
        tmp_path / "slow": _study(tmp_path, "slow", 20.04, [0.9951, 0.9957]),
        tmp_path / "fast": _study(tmp_path, "fast", 1, [0.99, 0.991]),
    }


def test_rows_are_in_the_order_of_seconds_and_show_every_seed(studies):
    found = results.with_rows([], results.rows(studies))
    text = results.table(found, {"fast": 0.8})
    assert [row["name"] for row in found] == ["fast", "slow"]
    expected = "1,234 | 60,000 | 2 | **99.540** ± 0.050 | 99.44 to 99.64 | 99.51 | 20.0 |"
    assert f"| `slow` | {expected}" in text
    assert "| 99.00 | 1.0 | 0.8 |" in text
    assert f"| `slow` | {expected}  |" in text  # its steps were not timed alone
    assert "--recipe=fast --seeds=0:2 --validation_size=0`: 99.00, 99.10" in text


def test_ensembles_have_a_column_for_each_size(studies):
    text = results.ensemble_table(results.rows(studies), (1, 5))
    assert "| runs of | 1 | 5 | all |" in text
    assert "| `slow` | 99.54 |  | 99.64 (2 runs) |" in text


def test_images_that_are_moved_have_a_row_of_their_own(studies):
    folder, study = next(iter(studies.items()))
    alone = study["settings"][0]["test"] | {"mean": 0.9961, "accuracies": [0.996, 0.9962]}
    moved = folder / "slow" / "ensemble-shift-1"
    moved.mkdir()
    of_moved = {"alone": alone, "sizes": [{"size": 1, "mean": 0.9961}, {"size": 2, "mean": 0.997}]}
    _write_ensemble(moved, of_moved, [0, 1])
    plain, row = results.rows({folder: study})
    assert plain == results.with_rows([], results.rows({folder: study}))[0]
    text = results.table([plain, row], {})
    assert "| `slow, moved by 1` | 1,234 | 60,000 | 2 | **99.610** ±" in text
    assert "--validation_size=0 --ensemble --test_time_shift=1`: 99.60, 99.62" in text
    assert "| `slow, moved by 1` | 99.61 | 99.70 (2 runs) |" in results.ensemble_table([row], (1,))


def test_rows_of_other_seeds_or_settings_are_not_mixed(studies):
    folder, study = next(iter(studies.items()))
    moved = folder / "slow" / "ensemble-shift-1"
    moved.mkdir()
    alone = study["settings"][0]["test"]
    sizes = [{"size": 1, "mean": 0.9961}]
    _write_ensemble(moved, {"alone": alone, "sizes": sizes}, [0, 1])
    both = results.rows({folder: study})
    assert [row["name"] for row in both] == ["slow", "slow, moved by 1"]
    again = _study(folder.parent / "again", "slow", 30, [0.98, 0.99])
    found = results.with_rows(both, results.rows({folder.parent / "again" / "slow": again}))
    assert [row["name"] for row in found] == ["slow"]  # the moved images were of other runs
    changed = study | {"command": study["command"] + " --train_steps=220 --eval_every=9"}
    assert results.rows({folder: changed})[0]["name"] == "slow, train_steps=220"
    for place in (moved, folder / "slow" / "ensemble"):
        for seeds in ([0], [5, 6]):
            _write_ensemble(place, {"alone": alone, "sizes": sizes}, seeds)
            with pytest.raises(ValueError, match=f"{place.name}: is not of the seeds of the study"):
                results.rows({folder: study})
        _write_ensemble(place, {"alone": alone, "sizes": sizes}, [0, 1])


def test_a_study_replaces_its_row_and_leaves_the_others(studies, tmp_path):
    kept = results.with_rows([], results.rows(studies))
    again = _study(tmp_path / "again", "fast", 30, [0.98, 0.99])
    found = results.with_rows(kept, results.rows({tmp_path / "again" / "fast": again}))
    assert [row["name"] for row in found] == ["slow", "fast"]
    assert found[0] == kept[1]
    assert found[1]["test"]["accuracies"] == [0.98, 0.99]


def test_the_page_shows_the_rows_that_are_kept():
    """And their means, deviations and intervals are those of their seeds."""
    page = (DOCS / "results.md").read_text()
    kept = json.loads(results.ROWS.read_text())
    assert results.table(kept, results.seconds_alone()) in page
    assert results.ensemble_table(kept, results.SIZES) in page
    for row in kept:
        of_seeds = study_results.sample(row["test"]["accuracies"])
        assert len(of_seeds.accuracies) == len(row["seeds"]) >= 10
        assert row["test"] == json.loads(json.dumps(dataclasses.asdict(of_seeds)))


def test_steps_are_timed_alone_of_each_recipe_of_the_page():
    timed = json.loads(results.ALONE.read_text())["recipes"]
    kept = json.loads(results.ROWS.read_text())
    assert list(timed) == [row["name"] for row in kept if row["name"] in recipes.RECIPES]
    for name, one in timed.items():
        config = mnist_lib.recipe(name)
        assert one["num_steps"] == config.total_steps(config.train_size or 60_000)
        milliseconds = one["milliseconds_per_step"]
        assert one["seconds"] == pytest.approx(milliseconds * one["num_steps"] / 1e3, rel=0.01)


@pytest.mark.parametrize("wrong", ["validation", "dataset"])
def test_what_is_no_record_is_refused(wrong, studies):
    study = next(iter(studies.values()))
    if wrong == "dataset":
        study["dataset"] = "kmnist"
    else:
        study["settings"][0]["validation"] = {"mean": 0.99}
    with pytest.raises(ValueError, match="records are of mnist with --validation_size=0"):
        results.rows(studies)


def test_the_page_has_its_marks_and_its_picture(studies, tmp_path):
    page = (DOCS / "results.md").read_text()
    for marks in (results.RUNS_MARKS, results.ENSEMBLES_MARKS, published.MARKS):
        again = marked_page.with_part(page, *marks, "new")
        assert again != page
        assert marked_page.with_part(again, *marks, "new") == again
        with pytest.raises(ValueError, match="does not have"):
            marked_page.with_part("no marks", *marks, "new")
    results.draw(results.rows(studies), {"slow": 9.0}, tmp_path / "results.png")
    assert matplotlib.image.imread(tmp_path / "results.png").std() > 0.05


def test_published_figures_are_letters_of_the_picture_with_a_source_each():
    page = (DOCS / "results.md").read_text()
    assert published.table() in page
    for one in published.PUBLISHED:
        assert one.source or one.what.startswith("the lecture's")
        assert (one.seconds is None) == (not one.machine)


def test_recipes_of_the_page_are_those_there_are():
    named = re.findall(r"--recipe=(\w+)", (DOCS / "results.md").read_text())
    assert named
    assert set(named) <= set(recipes.RECIPES)
