#!/usr/bin/env bash
# Builds the wheel and runs the library's tests against it, outside the checkout.
set -euo pipefail
python=$1
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/source"
cp -r "$root"/{mnist_lib,setup.py,pyproject.toml,README.md,LICENSE} "$work/source"
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/dist" "$work/source"
"$python" -m pip install --quiet --no-deps --target "$work/site" "$work"/dist/*.whl
mkdir "$work/tests"
cp "$root"/tests/*.py "$root/pyproject.toml" "$work/tests"
rm "$work"/tests/test_{scaling,scripts,workers}.py  # docs and scripts are not in the wheel
rm -r "$work/source"

cd "$work/tests"
export PYTHONPATH="$work/site"
"$python" -c "
import mnist_lib, pathlib
root = pathlib.Path(mnist_lib.__file__).parent
assert root == pathlib.Path('$work/site/mnist_lib'), root
assert (root / 'py.typed').is_file()"
"$python" -m pytest -q -m 'not slow' -p no:cacheprovider -c pyproject.toml --rootdir=. .
