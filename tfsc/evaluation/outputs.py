"""`Outputs`: whether a model gives logits or probabilities, and logits from either."""

import numpy as np

from tfsc.errors import ExportError

KINDS = ("auto", "logits", "probabilities")
_SUM_TOLERANCE = 1e-2  # a softmax in bfloat16 is off by half of that
_LEAST = float(np.finfo(np.float32).tiny)  # 1.2e-38


class Outputs:
    """Turns a model's outputs into logits; what they are, the first ones show.

        probabilities p:  z = log(max(p, 1.2·10⁻³⁸))

    z are the logits before the softmax but for a constant in each row, which changes no score, also
    where logits are averaged over views. A probability that float32 has rounded to 0 costs 87.3
    nats where it is the label's.

    Args:
        kind: "logits", "probabilities", or "auto": probabilities if all values are at least 0 and
            each row's sum is 1 (to 0.01, as 16 bits round). Logits of several images do not
            look so.

    Attributes:
        kind: "logits" or "probabilities" once outputs were seen.
        is_doubtful: whether "auto" took for logits what lies between 0 and 1 throughout, as the
            outputs of a sigmoid do.
    """

    def __init__(self, kind: str = "auto"):
        self.kind = kind
        self.is_doubtful = False

    def logits(self, outputs: np.ndarray) -> np.ndarray:
        """Logits of outputs [n, classes].

        Raises:
            ExportError: if they must be probabilities and are not.
        """
        strange = _strange(outputs) if self.kind != "logits" else None
        if self.kind == "auto":
            self.kind = "logits" if strange else "probabilities"
            self.is_doubtful = bool(strange) and bool(((outputs >= 0) & (outputs <= 1)).all())
        if self.kind == "logits":
            return outputs
        if strange:
            raise ExportError(f"--outputs=probabilities: {strange}; take --outputs=logits")
        return np.log(np.maximum(outputs.astype(np.float64), _LEAST))


def _strange(outputs: np.ndarray) -> str | None:
    """What about outputs no probabilities have."""
    if not (outputs >= 0).all():  # NaN, too
        return f"the model's outputs go down to {outputs.min():.3g}"
    sums = outputs.sum(axis=1, dtype=np.float64)
    worst = sums[np.abs(sums - 1).argmax()]
    if not abs(worst - 1) <= _SUM_TOLERANCE:
        return f"the model's outputs for an image sum to {worst:.3g}"
    return None
