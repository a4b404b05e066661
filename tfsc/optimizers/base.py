"""`GroupedOptimizer`: what all optimizers of tfsc add to Keras'."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfsc.optimizers.groups import VariableGroups

_MAPPINGS = ("lr_factors", "wd_factors", "freeze_after")


class GroupedOptimizer:
    """A mixin before a Keras optimizer: two kinds of weight decay, and groups of variables.

        decoupled:  θ ← θ − η·λ·θ, then the optimizer's step along g
        coupled:    the optimizer's step along g + λ·θ        (L2, "weight decay" of the classics)

    η is the variable's own rate, learning rate times factor. The coupled term joins the gradient
    after clipping, as in PyTorch and Caffe. Clipping, moving averages and gradient accumulation
    are Keras'; under accumulation schedules of all kinds count every call, as the rate's does.

    What a step's updates have in common is computed once. Keras evaluates the schedule and the
    powers of β anew for each variable, and spells the update in a dozen operations: 15,000 of the
    17,900 operations of ResNet56v2's step, traced at every start (15 s) and dispatched at every
    step (16 ms).

    Args:
        weight_decay: λ, a float or a LearningRateSchedule; None: no decay.
        decoupled: which kind of decay.
        no_decay: groups of variables without decay; see `tfsc.optimizers.groups`.
        lr_factors: group → factor of its learning rate, which scales its decay too, of both kinds;
            of several groups that hold a variable the last one counts.
        wd_factors: group → factor of its λ.
        freeze_after: group → number of updates after which its variables stay as they are: without
            step, decay or momentum.

    All of them are in `get_config` and survive saving (what Keras' `exclude_from_weight_decay`
    is told does not).

    Raises:
        ValueError: for a group that is no text or a factor out of range; when built, for a group
            that no variable belongs to.
    """

    def __init__(
        self,
        *args: Any,
        decoupled: bool = True,
        no_decay: Sequence[str] = (),
        lr_factors: Mapping[str, float] | None = None,
        wd_factors: Mapping[str, float] | None = None,
        freeze_after: Mapping[str, int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if isinstance(no_decay, str):
            raise ValueError(f"no_decay must be several texts. Received: {no_decay!r}")
        self.decoupled = decoupled
        mappings = (lr_factors, wd_factors, freeze_after)
        pairs = [tuple(dict(mapping or {}).items()) for mapping in mappings]
        self._groups = VariableGroups(tuple(no_decay), *pairs)

    @property
    def no_decay(self) -> tuple[str, ...]:
        return self._groups.no_decay

    @property
    def lr_factors(self) -> dict[str, float]:
        return dict(self._groups.lr_factors)

    @property
    def wd_factors(self) -> dict[str, float]:
        return dict(self._groups.wd_factors)

    @property
    def freeze_after(self) -> dict[str, int]:
        return dict(self._groups.freeze_after)

    def build(self, variables, among: Sequence[keras.Variable] | None = None):
        """Make the optimizer's variables.

        Args:
            variables: what it will update.
            among: variables that its groups may name; default `variables`.
        """
        if self.built:
            return
        self._groups.check([path(v) for v in (variables if among is None else among)])
        self._assignment = self._groups.assign([path(v) for v in variables])
        super().build(variables)

    def frozen(self, variables: Sequence[keras.Variable], updates: int) -> tuple[bool, ...]:
        """Which variables stay as they are in every update after so many."""
        freezes = self._groups.assign([path(v) for v in variables]).freezes
        return tuple(limit is not None and updates >= limit for limit in freezes)

    def scalars(self) -> tuple[tf.Tensor, ...]:
        """What a step's updates have in common, beside the rate."""
        return ()

    def apply_update(
        self, variable: tf.Variable, gradient: tf.Tensor, rate: tf.Tensor, *scalars: tf.Tensor
    ) -> None:
        """The optimizer's step of one variable; all tensors are of its type."""
        raise NotImplementedError(f"{type(self).__name__} must define apply_update()")

    def now(self, value: float | keras.optimizers.schedules.LearningRateSchedule) -> tf.Tensor:
        """A number, or a schedule's value at this step, in float32."""
        return tf.cast(value(self._iterations) if _is_schedule(value) else value, tf.float32)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        rate = tf.cast(learning_rate, tf.float32)
        rates = [rate if factor == 1 else rate * factor for factor in self._assignment.factors]
        decays = None
        if self.weight_decay is not None and (_is_schedule(self.weight_decay) or self.weight_decay):
            decay = self.now(self.weight_decay)
            decays = [rate * decay for rate in rates] if self.decoupled else [decay] * len(rates)
        super()._backend_update_step(
            grads, trainable_variables, (rates, decays, tuple(self.scalars()))
        )

    def _apply_weight_decay(self, variables):
        """Left to `update_step`, which knows the step's rate."""

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        freezes = self._assignment.freezes
        if not freezes or freezes[index] is None:
            self._update(index, gradient, variable, *learning_rate)
            return
        # Not a rate of 0: momentum and decay would go on.
        tf.cond(
            tf.convert_to_tensor(self._iterations) < freezes[index],
            lambda: self._update(index, gradient, variable, *learning_rate),
            lambda: None,
        )

    def _update(self, index, gradient, variable, rates, decays, scalars) -> None:
        """One variable's step."""
        group = self._assignment.group[index]
        gradient = tf.cast(tf.convert_to_tensor(gradient), variable.dtype)
        factor = self._assignment.decays[index]
        if decays is not None and factor and self._use_weight_decay(variable):
            decay = decays[group] if factor == 1 else decays[group] * factor
            decay = tf.cast(decay, variable.dtype)
            if self.decoupled:
                variable.assign_sub(variable * decay)
            else:
                gradient += variable * decay
        scalars = [tf.cast(scalar, variable.dtype) for scalar in (rates[group], *scalars)]
        self.apply_update(variable, gradient, *scalars)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "weight_decay": serialized(self.weight_decay),
            "decoupled": self.decoupled,
            "no_decay": list(self.no_decay),
            "lr_factors": self.lr_factors,
            "wd_factors": self.wd_factors,
            "freeze_after": self.freeze_after,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None):
        return cls(
            **{
                name: value if name in _MAPPINGS else deserialized(value, custom_objects)
                for name, value in config.items()
            }
        )


def path(variable: keras.Variable | tf.Variable) -> str:
    """Path of a variable, such as `stem_conv/kernel`."""
    return getattr(variable, "path", None) or variable.name.partition(":")[0]


def serialized(value: Any) -> Any:
    """A number as it is, a schedule or an optimizer as Keras' dictionary."""
    if _is_schedule(value) or isinstance(value, keras.optimizers.Optimizer):
        return keras.saving.serialize_keras_object(value)
    return value


def deserialized(value: Any, custom_objects: dict | None = None) -> Any:
    """What `serialized` made, back."""
    if isinstance(value, dict):
        return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
    return value


def _is_schedule(value: Any) -> bool:
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)
