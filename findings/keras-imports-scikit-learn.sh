#!/usr/bin/env bash
# Keras 3.15.1 under TensorFlow 2.21.0: where scikit-learn and Matplotlib are installed, `import
# tensorflow` imports both.
#
# Guess before a profile showed it: Keras' wrappers for scikit-learn and its image galleries look for those
# packages when they are used, so what else is installed costs `import tensorflow` nothing.
# Seen: both are imported whole by `import tensorflow`, before any attribute of it is asked for, with
# SciPy's statistics and pyplot behind them, at 1.4 times the processor time. Hidden from it, nothing
# is missing but the wrappers.
# Consequence: the start of every short command grows with packages that it does not use. A command
# that needs neither can hide both for the time of that import (sys.modules[name] = None), and import
# them itself later.
#
# Run 2026-11-28 with Python 3.11 on two cores of an Intel Xeon. Output:
#   installed: ['sklearn.utils', 'scipy.stats', 'matplotlib.pyplot']
#   hidden:    []
#   processor time: 1.4 times that without
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    tensorflow-cpu==2.21.0 keras==3.15.1 scikit-learn==1.9.1 matplotlib==3.11.2
cat > "$folder/probe.py" <<'PYTHON'
import sys
import time

hidden = sys.argv[1] == "hidden"
if hidden:
    sys.modules["sklearn"] = sys.modules["matplotlib"] = None
import tensorflow  # noqa: F401

if hidden:
    del sys.modules["sklearn"], sys.modules["matplotlib"]
names = ("sklearn.utils", "scipy.stats", "matplotlib.pyplot")
print([name for name in names if name in sys.modules], f"{time.process_time():.2f}")
PYTHON
export TF_CPP_MIN_LOG_LEVEL=3
for round in 1 2 3 4; do # the first fills the caches of bytecode and pages
    for how in shown hidden; do
        "$folder/venv/bin/python" "$folder/probe.py" $how 2> /dev/null | sed "s/^/$how /"
    done
done > "$folder/seen"
"$folder/venv/bin/python" - "$folder/seen" <<'PYTHON'
import statistics
import sys
from pathlib import Path

lines = [line.split(" ", 1) for line in Path(sys.argv[1]).read_text().splitlines()[2:]]
loaded = {how: {rest.rpartition(" ")[0] for name, rest in lines if name == how} for how, _ in lines}
seconds = {
    how: statistics.median(float(rest.rpartition(" ")[2]) for name, rest in lines if name == how)
    for how, _ in lines
}
print("installed:", *loaded["shown"])
print("hidden:   ", *loaded["hidden"])
ratio = seconds["shown"] / seconds["hidden"]
print(f"processor time: {ratio:.1f} times that without")
assert loaded["shown"] == {"['sklearn.utils', 'scipy.stats', 'matplotlib.pyplot']"}, loaded
assert loaded["hidden"] == {"[]"}, loaded
assert ratio > 1.2, f"changed: {ratio}"
PYTHON
