#!/usr/bin/env bash
# Keras 3.15.1: under gradient accumulation the average of `use_ema` does not wait for updates.
#
# Guess before the run: with gradient_accumulation_steps=2 a weight changes at every second call of
# apply() only, since only those complete an update; the average moves, and overwrites the weight,
# then too.
# Seen: the average moves at every call, and ema_overwrite_frequency looks at the count of
# completed updates, which is unchanged at the call after one: there the weight is overwritten by
# an average that has moved meanwhile. With SGD(0.1), gradient 1 and momentum .5 of the average,
# the weight rises from 0.75 to 0.775 at call 7, which adds a gradient to the accumulator and
# nothing else.
# Consequence: gradient accumulation with use_ema is not the larger batch that it stands for.
#
# Run 2026-11-28 with Python 3.11, CPU. Output:
#   call 4 completes an update: 0.900 -> 0.850
#   call 5 completes none: 0.850 -> 0.850
#   call 6 completes an update: 0.850 -> 0.750
#   call 7 completes none: 0.750 -> 0.775
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=2 "$folder/venv/bin/python" - <<'PYTHON'
import keras
import tensorflow as tf

weight = keras.Variable([1.0])
optimizer = keras.optimizers.SGD(
    0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, gradient_accumulation_steps=2
)
optimizer.build([weight])
changes = {}
for call in range(1, 9):
    before = float(weight[0])
    optimizer.apply([tf.constant([1.0])], [weight])
    changes[call] = before, float(weight[0])
for call in (4, 5, 6, 7):
    completes = "an update" if call % 2 == 0 else "none"
    print(f"call {call} completes {completes}: {changes[call][0]:.3f} -> {changes[call][1]:.3f}")
before, after = changes[7]
assert abs(before - 0.75) < 1e-6 and abs(after - 0.775) < 1e-6, "changed: call 7 is no longer so"
PYTHON
