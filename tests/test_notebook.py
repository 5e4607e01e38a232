"""The lecture in examples/mnist_walkthrough.ipynb: what is in the file, and that it runs."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest
from script_runs import ROOT

NOTEBOOK = ROOT / "examples" / "mnist_walkthrough.ipynb"
HAS_JUPYTER = all(importlib.util.find_spec(name) for name in ("nbclient", "ipykernel"))
# Of the CNN after 200 steps, on the test images; 0.972 and 0.932 were measured.
LEAST_ACCURACY = {"mnist": 0.95, "synthetic_digits": 0.9}


@pytest.fixture(scope="module")
def notebook() -> dict:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def _sources(notebook: dict, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def _without_magics(source: str) -> str:
    return re.sub(r"^%.*\n", "", source, flags=re.M)


def test_it_is_a_notebook_without_outputs(notebook):
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids)
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_each_heading_is_in_both_languages(notebook):
    text = "\n".join(_sources(notebook, "markdown"))
    headings = re.findall(r"^#+ (.*)", text, flags=re.M)
    assert len(headings) > 10
    for heading in headings:
        english, chinese = heading.split(" / ")
        assert re.search(r"[A-Za-z]{3}", english), heading
        assert re.search(r"[\u4e00-\u9fff]", chinese), heading


def test_cells_are_short_and_can_be_parsed(notebook):
    for source in _sources(notebook, "code"):
        assert len(source.splitlines()) <= 25, source
        ast.parse(_without_magics(source))


def test_what_it_names_is_there(notebook):
    for path in re.findall(r"`(examples/\S+)`", "\n".join(_sources(notebook, "markdown"))):
        assert (ROOT / path).is_file(), path


def _run_in_jupyter() -> tuple[str, int]:
    import nbclient
    import nbformat

    executed = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(executed)
    nbclient.NotebookClient(executed, kernel_name="python3", timeout=600).execute()
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    printed = [output.text for output in outputs if output.output_type == "stream"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 10
    return "".join(printed), sum(cell.execution_count is not None for cell in cells)


def _run_as_a_script(notebook: dict, path) -> tuple[str, int]:
    """In a new process: what is shown is lost, what is printed is not."""
    parts = ["import matplotlib", "matplotlib.use('Agg')", "display = print"]
    for source in _sources(notebook, "code"):
        parts += [_without_magics(source), "print('A CELL HAS RUN')"]
    path.write_text("\n".join(parts), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stdout.count("A CELL HAS RUN\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "jupyter",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                not HAS_JUPYTER, reason="nbclient and ipykernel are not installed"
            ),
        ),
    ],
)
def test_it_runs_to_its_end_and_learns(jupyter, notebook, prepared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared_data.data_dir))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    library = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", library)
    out, num_ran = _run_in_jupyter() if jupyter else _run_as_a_script(notebook, tmp_path / "all.py")
    assert num_ran == len(_sources(notebook, "code"))
    difference = re.search(r"largest difference between hand and tape: (\S+)", out)[1]
    assert float(difference) < 1e-5
    name = re.search(r"^(\w+), CNN after a short training:$", out, re.M)[1]
    right, wrong, accuracy = re.search(
        r"([\d,]+) right, ([\d,]+) wrong, accuracy (\S+)", out
    ).groups()
    num_right, num_wrong = (int(count.replace(",", "")) for count in (right, wrong))
    assert num_right + num_wrong == 10_000
    assert float(accuracy) == num_right / 10_000
    assert float(accuracy) > LEAST_ACCURACY[name]
    (runs,) = tmp_path.glob("mnist_walkthrough_*")
    assert {"softmax", "short_mlp", "short_cnn"} <= {path.name for path in runs.iterdir()}
