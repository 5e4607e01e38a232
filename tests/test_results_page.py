import pathlib
import sys

import matplotlib.image
import pytest

DOCS = pathlib.Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))
import results  # noqa: E402

sys.path.remove(str(DOCS))


def _study(name: str, seconds: float, accuracies: list[float], **fields) -> dict:
    mean = sum(accuracies) / len(accuracies)
    test = {
        "accuracies": accuracies,
        "mean": mean,
        "lowest": min(accuracies),
        "standard_deviation": 0.0005,
        "interval": [mean - 0.001, mean + 0.001],
    }
    setting = {
        "setting": "only",
        "seeds": list(range(len(accuracies))),
        "validation": None,
        "test": test,
        "model": "fast_cnn",
        "num_parameters": 1234,
        "num_train": 60_000,
        "train_seconds": seconds,
    }
    command = f"mnist-lib study --recipe={name} --seeds=0:2 --validation_size=0"
    return {"command": command, "dataset": "mnist", "settings": [setting | fields]}


def test_rows_are_in_the_order_of_seconds_and_show_every_seed():
    found = results.rows(
        [_study("slow", 20.04, [0.9951, 0.9957]), _study("fast", 1, [0.99, 0.991])]
    )
    text = results.table(found)
    assert [row["name"] for row in found] == ["fast", "slow"]
    assert (
        "| `slow` | 1,234 | 60,000 | 2 | **99.540** ± 0.050 | 99.44 to 99.64 | 99.51 | 20.0 |"
        in text
    )
    assert "--recipe=fast --seeds=0:2 --validation_size=0`: 99.00, 99.10" in text


@pytest.mark.parametrize("wrong", ["validation", "dataset"])
def test_what_is_no_record_is_refused(wrong):
    study = _study("fast", 1, [0.99])
    if wrong == "dataset":
        study["dataset"] = "kmnist"
    else:
        study["settings"][0]["validation"] = {"mean": 0.99}
    with pytest.raises(ValueError, match="records are of mnist with --validation_size=0"):
        results.rows([study])


def test_the_page_has_its_marks_and_its_picture(tmp_path):
    page = (DOCS / "results.md").read_text()
    again = results.replace_table(page, "new")
    assert results.BEGIN in again
    assert results.replace_table(again, "new") == again
    with pytest.raises(ValueError, match="does not have"):
        results.replace_table("no marks", "new")
    results.draw(results.rows([_study("fast", 1.5, [0.99, 0.991])]), tmp_path / "results.png")
    assert matplotlib.image.imread(tmp_path / "results.png").std() > 0.05


def test_recipes_of_the_page_are_those_there_are():
    import re

    from mnist_lib.runs import recipes

    named = re.findall(r"--recipe=(\w+)", (DOCS / "results.md").read_text())
    assert named
    assert set(named) <= set(recipes.RECIPES)
