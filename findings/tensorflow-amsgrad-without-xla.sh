#!/usr/bin/env bash
# TensorFlow 2.21.0: the fused Adam update compiles with XLA, its AMSGrad twin does not.
#
# Guess before the run: ResourceApplyAdam and ResourceApplyAdamWithAmsgrad differ by one maximum, so
# a training step that holds either compiles, or neither does.
# Seen: with jit_compile=True the first runs; the second is refused as an unsupported operation on
# XLA_CPU_JIT. Without XLA both run.
# Consequence: an optimizer that takes the fused operations must write AMSGrad out in plain ones, or
# cannot be compiled.
#
# Run 2026-11-28 with Python 3.11, CPU. Output:
#   ResourceApplyAdam: graph ok, XLA ok
#   ResourceApplyAdamWithAmsgrad: graph ok, XLA refused: Detected unsupported operations
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import tensorflow as tf

weight, *moments = (tf.Variable(value) for value in (1.0, 0.0, 0.0, 0.0))
handles = {"var": weight, "m": moments[0], "v": moments[1]}
common = {name: variable.handle for name, variable in handles.items()}
common |= {"beta1_power": 0.9, "beta2_power": 0.999, "beta1": 0.9, "beta2": 0.999}
common |= {"lr": 0.1, "epsilon": 1e-7, "grad": 1.0}

outcomes = {}
for name in ("ResourceApplyAdam", "ResourceApplyAdamWithAmsgrad"):

    def update(name=name):
        largest = {"vhat": moments[2].handle} if name.endswith("Amsgrad") else {}
        getattr(tf.raw_ops, name)(**common, **largest)

    for jit in (False, True):
        try:
            tf.function(update, jit_compile=jit, autograph=False)()
            outcomes[name, jit] = "ok"
        except tf.errors.InvalidArgumentError as error:
            outcomes[name, jit] = "refused: " + error.message.split(" when ")[0]
    print(f"{name}: graph {outcomes[name, False]}, XLA {outcomes[name, True]}")
assert outcomes["ResourceApplyAdam", True] == "ok"
assert outcomes["ResourceApplyAdamWithAmsgrad", False] == "ok"
refusal = outcomes["ResourceApplyAdamWithAmsgrad", True]
assert refusal == "refused: Detected unsupported operations", f"changed: {refusal}"
PYTHON
