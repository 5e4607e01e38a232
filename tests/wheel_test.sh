#!/usr/bin/env bash
# Builds the wheel; runs the library's tests against it, outside the checkout, and the
# installed command in an empty environment.
set -euo pipefail
python=$1
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/source"
cp -r "$root"/{mnist_lib,setup.py,pyproject.toml,README.md,LICENSE} "$work/source"
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/dist" "$work/source"
"$python" -m pip install --quiet --no-deps --target "$work/site" "$work"/dist/*.whl
rm -r "$work/source"

echo "The wheel: what is in it, and no link in its description that leads nowhere."
"$python" - "$work"/dist/*.whl <<'EOF'
import email, re, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
names = wheel.namelist()
metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
description = email.message_from_bytes(wheel.read(metadata)).get_payload()
assert description.startswith("# mnist_lib"), description[:100]
links = re.findall(r"\]\(([^)]+)\)", description)
relative = [link for link in links if not link.startswith(("http://", "https://"))]
assert not relative, relative
folders = {name.split("/")[0] for name in names}
assert folders == {"mnist_lib", metadata.split("/")[0]}, folders
EOF

echo "An empty environment, another folder, an empty home: the command."
"$python" -m venv "$work/empty"
"$work/empty/bin/python" -m pip install --quiet "$work"/dist/*.whl
mkdir "$work/home" "$work/elsewhere"
cd "$work/elsewhere"
installed=(env -i "HOME=$work/home" "PATH=$work/empty/bin:/usr/bin:/bin")
"${installed[@]}" mnist-lib --version
"${installed[@]}" mnist-lib train --strategy=mirrored --dataset=synthetic_digits --train_steps=20 \
    --workdir=runs/first | tee train.txt
"${installed[@]}" mnist-lib evaluate --workdir=runs/first | tee evaluate.txt
grep -q "mnist-lib evaluate --workdir=runs/first" train.txt
right=$(sed -n 's/.* \([0-9]*\) of 10000 right.*/\1/p' train.txt)
grep -q "all .* 10000 .* $right " evaluate.txt

echo "The library's tests."
mkdir "$work/tests"
cp "$root"/tests/*.py "$root/pyproject.toml" "$work/tests"
rm "$work"/tests/test_{benchmark,cluster_examples,compare,examples,fault_injection,fuzzing,gpu_check,lock,notebook,notebook_interrupt,pictures,results_page,robustness_page,runs,scaling,scripts,slurm,soak,two_machines,words,workers}.py  # what they test is in the checkout
# What no file of the package decides, and takes long, has been tested in the checkout.
rm "$work"/tests/test_{bounds,elements,experiment,own_parts,parity,parity_models,places,processes,replicas,robustness,study,suspects,trainer}.py
cd "$work/tests"
export PYTHONPATH="$work/site"
"$python" -c "
import mnist_lib, pathlib
root = pathlib.Path(mnist_lib.__file__).parent
assert root == pathlib.Path('$work/site/mnist_lib'), root
assert (root / 'py.typed').is_file()"
"$python" -m pytest -q -m 'not slow' -n 2 --dist loadfile -p no:cacheprovider -c pyproject.toml --rootdir=. .
