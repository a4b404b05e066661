#!/usr/bin/env bash
# tf2onnx 1.17.0 with onnxruntime 1.32.0: a converted log1p is a model that nothing loads.
#
# Guess before the run: tf.math.log1p has no counterpart in ONNX, so tf2onnx writes Log(Add(x, 1)),
# or refuses.
# Seen: it writes a node of type Log1p into the standard domain, reports success, and exits with 0.
# ONNX has no such operator at any opset, so onnx's checker and onnxruntime both refuse the file.
# Consequence: a conversion that succeeded proves nothing; load the file, too.
#
# Run 2026-11-28 with Python 3.11, CPU. Output:
#   tf2onnx: node types ['Log1p']
#   onnx.checker: No Op registered for Log1p
#   onnxruntime: No Op registered for Log1p
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow-cpu==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx


@tf.function(autograph=False)
def function(x):
    return tf.math.log1p(x)


signature = [tf.TensorSpec([None, 3], tf.float32, name="x")]
model, _ = tf2onnx.convert.from_function(function, input_signature=signature)
types = sorted({node.op_type for node in model.graph.node} - {"Identity"})
print("tf2onnx: node types", types)
assert types == ["Log1p"], "changed: tf2onnx writes something else"


def refusal(action):
    try:
        action()
    except Exception as error:
        return "No Op registered for Log1p" if "No Op registered for Log1p" in str(error) else error
    return "loads"


for name, action in (
    ("onnx.checker", lambda: onnx.checker.check_model(model)),
    ("onnxruntime", lambda: onnxruntime.InferenceSession(model.SerializeToString())),
):
    found = refusal(action)
    print(f"{name}: {found}")
    assert found == "No Op registered for Log1p", "changed: it is no longer refused so"
PYTHON
