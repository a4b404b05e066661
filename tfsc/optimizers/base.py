"""`GroupedOptimizer`: what all optimizers of tfsc add to Keras'."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import keras
import tensorflow as tf

from tfsc.optimizers.freezing import Freezing, without
from tfsc.optimizers.groups import VariableGroups

_MAPPINGS = ("lr_factors", "wd_factors", "freeze_after")


class GroupedOptimizer(Freezing):
    """A mixin before a Keras optimizer: two kinds of weight decay, and groups of variables.

        decoupled:  θ ← θ − η·λ·θ, then the optimizer's step along g
        coupled:    the optimizer's step along g + λ·θ        (L2, "weight decay" of the classics)

    η is the variable's own rate, learning rate times factor. The coupled term joins the gradient
    after clipping, as in PyTorch and Caffe. Clipping, moving averages and gradient accumulation
    are Keras'.

    With `gradient_accumulation_steps`, that many calls of `apply` are one update. Updates are what
    `freeze_after`, the powers of β, `Lookahead`, and the average of `use_ema` count and follow (in
    Keras the average moves, and overwrites the weights, at every call). Calls, which are batches,
    are what schedules of rate, momentum and decay count, as Keras documents it of the rate, so that
    an epoch has as many steps as without; an update takes their values at its last call.

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
            step, decay, momentum, average or constraint, and their gradients are no part of
            `global_clipnorm`. (BatchNorm's moving statistics are no trainable variables: they go on
            following the batches.)

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
        self._groups = VariableGroups(
            tuple(no_decay),
            tuple((lr_factors or {}).items()),
            tuple((wd_factors or {}).items()),
            tuple((freeze_after or {}).items()),
        )

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
        super().build(variables)  # type: ignore[misc]  # the Keras optimizer's

    def limits(self, variables: Sequence[keras.Variable]) -> tuple[int | None, ...]:
        if not self._groups.freeze_after:
            return (None,) * len(variables)
        return self._groups.assign([path(v) for v in variables]).freezes

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

    def _backend_apply_gradients(self, grads, trainable_variables):
        if self.global_clipnorm:
            grads = without(self.still(trainable_variables), grads)
        super()._backend_apply_gradients(grads, trainable_variables)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        rate = tf.cast(learning_rate, tf.float32)
        rates = [rate if factor == 1 else rate * factor for factor in self._assignment.factors]
        decays = None
        if self.weight_decay is not None and (_is_schedule(self.weight_decay) or self.weight_decay):
            decay = self.now(self.weight_decay)
            decays = [rate * decay for rate in rates] if self.decoupled else [decay] * len(rates)
        still = self.still(self._trainable_variables)
        super()._backend_update_step(
            grads, trainable_variables, (rates, decays, tuple(self.scalars()), still)
        )

    def _apply_weight_decay(self, variables):
        """Left to `update_step`, which knows the step's rate."""

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        *of_step, still = learning_rate
        if still[index] is None:
            self._update(index, gradient, variable, *of_step)
            return
        # Not a rate of 0: momentum and decay would go on.
        tf.cond(
            still[index],
            lambda: None,
            lambda: self._update(index, gradient, variable, *of_step),
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
                self.assign_sub(variable, variable * decay)
            else:
                gradient += variable * decay
        scalars = [tf.cast(scalar, variable.dtype) for scalar in (rates[group], *scalars)]
        self.apply_update(variable, gradient, *scalars)

    def _update_model_variables_moving_average(self, trainable_variables):
        move = super()._update_model_variables_moving_average
        self._with_update(lambda: move(trainable_variables))

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        self._with_update(lambda: self._assign_averages(trainable_variables))

    def finalize_variable_values(self, var_list):
        if self.use_ema:
            self._assign_averages(var_list)

    def _with_update(self, act) -> None:
        """Act if this call of `apply` ends in an update."""
        if self.gradient_accumulation_steps:
            calls = tf.convert_to_tensor(self._iterations) + 1
            last = tf.equal(calls % self.gradient_accumulation_steps, 0)
            tf.cond(last, lambda: act(), lambda: None)
        else:
            act()

    def _assign_averages(self, variables) -> None:
        """Overwrite variables that are not frozen with their averages."""

        def assign(variable, average, still):
            variable.assign(average if still is None else tf.where(still, variable, average))

        for variable, still in zip(variables, self.still(variables), strict=True):
            average = self._model_variables_moving_average[self._get_variable_index(variable)]
            if average is not None:
                own = getattr(variable, "value", variable)
                self._distribution_strategy.extended.update(
                    own, assign, args=(average.value, still)
                )

    def get_config(self) -> dict[str, Any]:
        keras_config = super().get_config()  # type: ignore[misc]  # the Keras optimizer's
        return keras_config | {
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


def _is_schedule(value: Any) -> TypeGuard[keras.optimizers.schedules.LearningRateSchedule]:
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)
