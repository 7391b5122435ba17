#!/bin/sh
# Make the virtual environment. On a machine without a GPU, torch is installed in its CPU build, which saves gigabytes of
# CUDA. pip cannot choose between the builds: where the package index offers pip the CUDA build, uv installs instead,
# which can.
set -eu
"${PYTHON:-python3}" -m venv "$VENV"
pip="$VENV/bin/python -m pip --disable-pip-version-check"
install="install -q -c constraints.txt -e .[dev]"

if command -v nvidia-smi >/dev/null 2>&1 || $VENV/bin/python -c "import torch" 2>/dev/null; then
    $pip $install
elif $pip install -q --dry-run --no-deps --report - "$(grep '^torch==' constraints.txt)" 2>/dev/null | grep -q '+cpu'; then
    $pip $install
else
    $pip install -q uv && $VENV/bin/uv pip install -q --python $VENV/bin/python --torch-backend=cpu -c constraints.txt \
        -e '.[dev]' || $pip $install
fi
$pip install -q --no-deps --require-hashes -r panoramas.txt
