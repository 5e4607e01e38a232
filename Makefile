# Everything is set up from nothing but Python 3.11 to 3.13 with pip and venv.
#   make train ARGS="--model=cnn --epochs=1"     make test     make help

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
JOBS ?= 2
SETUP := setup.py pyproject.toml mnist_lib/version.py
LOCK := requirements.lock

# The first of these that runs, has venv, and is a version TensorFlow supports.
CANDIDATES := python3.13 python3.12 python3.11 python3 python
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	2>/dev/null && echo $$p && break; done)

.PHONY: help check-python train demo test test-slow test-wheel fuzz faults bench lint format lock audit \
	sbom clean

help:  ## Lists the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

train: $(BIN)/.installed  ## Trains; flags in ARGS="...".
	$(BIN)/python scripts/train.py --strategy=mirrored $(ARGS)

demo: $(BIN)/.installed  ## Serves a page to draw on; trains a run for it if there is none.
	$(BIN)/python scripts/demo.py $(ARGS)

test: $(BIN)/.installed-dev  ## Runs the tests that take seconds, on JOBS=2 cores.
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile --durations=10 $(ARGS)

test-slow: $(BIN)/.installed-dev  ## Runs the tests that take minutes, on JOBS=2 cores.
	$(BIN)/python -m pytest -m slow -n $(JOBS) --dist loadfile --durations=20 $(ARGS)

test-wheel: $(BIN)/.installed-dev  ## Runs the library's tests against the built wheel.
	tests/wheel_test.sh $(abspath $(BIN)/python)

faults: $(BIN)/.installed-dev  ## Puts a fault at every system call of a run: hours. Needs strace.
	$(BIN)/python -m tests.fault_injection --page=docs/faults.md $(ARGS)

fuzz: $(BIN)/.installed-dev  ## Gives each reader 640 damaged inputs (40 minutes); ARGS="--examples=50 npz".
	$(BIN)/python tests/fuzzing/fuzz.py --examples=640 --markdown=docs/faults_inputs.md $(ARGS)

bench: $(BIN)/.installed-dev  ## Measures all that docs/benchmark.md shows (20 minutes, 2 cores).
	$(BIN)/python scripts/benchmark.py --suite --markdown=docs/benchmark.md \
		--notes=docs/benchmark_notes.md --chart=docs/images/benchmark.png $(ARGS)

lint: $(BIN)/.installed-dev  ## Checks style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(BIN)/.installed-dev  ## Formats the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(BIN)/.installed-dev  ## Remakes the lock file from setup.py; ARGS=--upgrade takes newer releases (network).
	$(BIN)/uv pip compile setup.py --extra dev --universal --python-version 3.11 \
		--generate-hashes --custom-compile-command "make lock" --quiet \
		--output-file $(LOCK) $(ARGS)

audit: $(BIN)/.installed-dev  ## Looks the locked releases up in lists of known holes (network).
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement $(LOCK) $(ARGS)

sbom: $(BIN)/.installed-dev  ## Writes a bill of materials of the virtual environment, as CycloneDX.
	@mkdir -p build
	$(BIN)/cyclonedx-py environment --output-reproducible --output-file build/sbom.json $(BIN)/python

clean:  ## Removes what the other targets made.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

check-python:  ## Says whether there is a usable Python.
	@test -n "$(PYTHON)" || { echo "error: no usable Python: install Python 3.11, 3.12 or" \
	"3.13 with venv (Debian: apt-get install python3 python3-venv), or pass PYTHON=..." >&2; exit 69; }

$(BIN)/python:
	@$(MAKE) --no-print-directory check-python
	$(PYTHON) -m venv $(VENV)

$(BIN)/.installed: $(BIN)/python $(SETUP)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(BIN)/.installed-dev: $(BIN)/python $(SETUP) $(LOCK)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ $(BIN)/.installed
