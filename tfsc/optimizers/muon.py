"""`Muon`: orthogonalised momentum for convolution kernels, another optimizer for the rest."""

from typing import Any

import keras
import tensorflow as tf

from tfsc.optimizers.base import GroupedOptimizer, path, serialized
from tfsc.optimizers.freezing import Freezing
from tfsc.optimizers.sgd import FusedSGD

_A, _B, _C = 3.4445, -4.7750, 2.0315  # slope at 0 as steep as the iteration bears


@keras.saving.register_keras_serializable("tfsc")
class Muon(GroupedOptimizer, keras.optimizers.Optimizer):
    """Muon on the kernels of convolutions; `rest` updates all other variables.

    A kernel [height, width, in, out] is a matrix W of out × (height·width·in), a row a filter:

        b ← μ·b + g,  u = g + μ·b                    (without Nesterov: u = b)
        W ← W·√out/‖W‖_F                             (if renormalize)
        W ← W − η·orthogonal(u)                      (see `orthogonalized`)

    Kernels of depthwise convolutions (`depthwise` in the path, or one output channel) are the
    rest's. In float32, whatever the precision of the network.

    Args:
        learning_rate: η of the kernels, a float or a LearningRateSchedule.
        momentum: μ, a float or a LearningRateSchedule.
        nesterov: whether u looks ahead.
        steps: Newton–Schulz iterations.
        renormalize: whether filters keep a mean norm of 1; then the kernels' decoupled decay is
            undone at each step.
        rest: a Keras optimizer with a learning rate, decay and groups of its own; default
            `FusedSGD(learning_rate, momentum, nesterov)`.
        weight_decay, decoupled: of the kernels; see `GroupedOptimizer`.
        no_decay, lr_factors, freeze_after: of the kernels; they, and those of `rest`, may name any
            variable.
        clipnorm, ...: as in `keras.optimizers.Optimizer`, over all variables.

    Raises:
        ValueError: for gradient accumulation, for a `rest` that scales the loss, accumulates or
            averages by itself, for `steps` below 1; when built, if no variable is a kernel of a
            convolution.

    Source: Jordan et al., "Muon"; cifar10-airbench, `airbench94_muon.py`.
    """

    def __init__(
        self,
        learning_rate=0.02,
        momentum=0.6,
        nesterov: bool = True,
        steps: int = 3,
        renormalize: bool = True,
        rest: keras.optimizers.Optimizer | None = None,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        rest = FusedSGD(learning_rate, momentum, nesterov) if rest is None else rest
        if self.gradient_accumulation_steps:
            raise ValueError(
                "Muon has no gradient accumulation. Received: gradient_accumulation_steps="
                f"{self.gradient_accumulation_steps}"
            )
        for name in ("loss_scale_factor", "gradient_accumulation_steps", "use_ema"):
            if getattr(rest, name):
                raise ValueError(f"rest must not have {name}. Received: {getattr(rest, name)}")
        if steps < 1:
            raise ValueError(f"steps must be at least 1. Received: {steps}")
        self.momentum, self.nesterov = momentum, nesterov
        self.steps, self.renormalize = steps, renormalize
        self.rest = rest

    def build(self, variables, among=None):
        if self.built:
            return
        super().build(variables, among)
        self._momentums = [
            self.add_variable_from_reference(variable, "momentum")
            if _is_filters(variable)
            else None
            for variable in variables
        ]
        if not any(momentum is not None for momentum in self._momentums):
            raise ValueError(
                "Muon needs at least one kernel of a convolution. Received: "
                + ", ".join(path(variable) for variable in variables[:10])
            )
        rest = [v for v in variables if not _is_filters(v)]
        if isinstance(self.rest, GroupedOptimizer):
            self.rest.build(rest, among=variables if among is None else among)
        else:
            self.rest.build(rest)

    def limits(self, variables):
        """Of the kernels its own, of all other variables those of `rest`."""
        own = super().limits(variables)
        rest = [v for v in variables if not _is_filters(v)]
        has_limits = isinstance(self.rest, Freezing)
        others = iter(self.rest.limits(rest) if has_limits else (None,) * len(rest))
        return tuple(
            limit if _is_filters(variable) else next(others)
            for variable, limit in zip(variables, own, strict=True)
        )

    @property
    def variables(self):
        return [*self._variables, *self.rest.variables]

    def scalars(self):
        return (self.now(self.momentum),)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        filters, rest = [], []
        for pair in zip(grads, trainable_variables, strict=True):
            (filters if _is_filters(pair[1]) else rest).append(pair)
        if filters:
            super()._backend_update_step(*zip(*filters, strict=True), learning_rate)
        if rest:
            self.rest.apply(*zip(*rest, strict=True))

    def apply_update(self, variable, gradient, rate, momentum):
        buffer = self._momentums[self._get_variable_index(variable)].value
        moved = buffer.assign(momentum * buffer + gradient)
        along = gradient + momentum * moved if self.nesterov else moved
        out = variable.shape[-1]
        step = orthogonalized(tf.reshape(along, [-1, out]), self.steps)
        step = rate * tf.reshape(step, variable.shape)
        kernel = variable.read_value()
        if self.renormalize:
            kernel *= out**0.5 / tf.norm(kernel)
        variable.assign(kernel - step)

    def get_config(self):
        return super().get_config() | {
            "momentum": serialized(self.momentum),
            "nesterov": self.nesterov,
            "steps": self.steps,
            "renormalize": self.renormalize,
            "rest": serialized(self.rest),
        }


def orthogonalized(matrix: tf.Tensor, steps: int) -> tf.Tensor:
    """A matrix with the same singular vectors and singular values near 1.

        X ← U/(‖U‖_F + 1e-7),  then `steps` times X ← aX + (bA + cA²)X,  A = XXᵀ

    With a, b, c = 3.4445, −4.7750, 2.0315. What is above 0.01 of ‖U‖_F ends between 0.40 and 1.21
    after three steps, between 0.68 and 1.21 after five. A is the smaller of XXᵀ and XᵀX; the result
    is the same.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix / (tf.norm(matrix) + 1e-7)
    for _ in range(steps):
        gram = tf.matmul(x, x, transpose_a=not wide, transpose_b=wide)
        mixed = _B * gram + _C * tf.matmul(gram, gram)
        x = _A * x + (tf.matmul(mixed, x) if wide else tf.matmul(x, mixed))
    return x


def _is_filters(variable: keras.Variable) -> bool:
    """Whether a variable is the kernel of a convolution that mixes channels."""
    name = path(variable)
    return (
        len(variable.shape) == 4
        and name.endswith("kernel")
        and "depthwise" not in name.lower()
        and variable.shape[-1] > 1
    )
