"""`Learner`: a network in training, with its augmentation, loss, metrics and moving average."""

from collections.abc import Callable

import keras
import tensorflow as tf

from tfsc.averages.averaging import Averaging
from tfsc.layers.dropout import sample_numbers
from tfsc.losses.cross_entropy import CrossEntropy
from tfsc.optimizers.freezing import Freezing, without


class Learner(keras.Model):
    """Trains a network on batches of raw images; `fit` and `evaluate` drive it.

    A training step augments the images in float32, computes the mean loss of the logits
    (plus the network's penalties), applies the optimizer, and moves the average. The network knows
    nothing of this: it is exported as it is. Evaluation has the plain cross-entropy.

    Args:
        network: functional model from raw images to float32 logits.
        augmentation: layer called with (images, sample numbers), and with visits if it has an
            attribute `by_visit` that is true; None: a cast to float32.
        ema: decay d of the average over all float weights, ema ← d·ema + (1 − d)·w after each
            step, BatchNorm statistics included; 0: none. Or an `Averaging`, for an average that
            moves in another way, or lookahead. A step is a batch, also with an optimizer of
            `gradient_accumulation_steps`: `micro_batch` is the way to average over updates.
        complete: applied to each training batch first, in the graph; None: batches are whole.
        micro_batch: examples that pass through the network at once; a batch is a multiple of it.
            The gradients of its parts are averaged before the one update, so that rate, average
            and step count updates; BatchNorm normalises each part by itself ("ghost batches") and
            moves its statistics with each. 0: the whole batch.
        loss: of training, called with labels and logits: one number an example; None: the plain
            cross-entropy.

    Batches are dicts. Training: "image", "label" (int), "number" (int64, global sample number), and
    "visit" (int64, example and epoch) where the augmentation needs it.
    Evaluation: "image", "label", "weight" (0 for padding).
    """

    def __init__(
        self,
        network: keras.Model,
        augmentation: keras.layers.Layer | None = None,
        ema: float | Averaging = 0.0,
        complete: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]] | None = None,
        micro_batch: int = 0,
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        name: str = "learner",
    ):
        super().__init__(name=name)
        self.network = network
        self.augmentation = augmentation
        self.averaging = ema if isinstance(ema, Averaging) else Averaging(ema)
        self.complete = complete
        self.micro_batch = micro_batch
        self.plain_loss = CrossEntropy()
        self.training_loss = loss or self.plain_loss
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.accuracy_metric = keras.metrics.Mean(name="accuracy")
        self.averaged_weights = (
            [w for w in network.weights if keras.backend.is_float_dtype(w.dtype)]
            if self.averaging.decay
            else []
        )
        self.ema_weights = [
            keras.Variable(
                weight.numpy(),
                trainable=False,
                autocast=False,
                aggregation="mean",  # of equal values: every replica makes the same update
                name=f"ema_{index}",
            )
            for index, weight in enumerate(self.averaged_weights)
        ]
        # The optimizer's own count skips the steps that a float16 loss scale rejects.
        self.steps = keras.Variable(
            0, dtype="int64", trainable=False, aggregation="only_first_replica", name="steps"
        )
        self._frozen = ()
        self.built = True

    @property
    def metrics(self):
        return [self.loss_metric, self.accuracy_metric]

    def call(self, images, training=False):
        """Logits of raw images, without augmentation."""
        return self.network(images, training=training)

    def train_step(self, batch):
        if self.complete is not None:
            batch = self.complete(batch)
        # Read before the update counts this step.
        rate = tf.convert_to_tensor(self.optimizer.learning_rate)
        variables = self.network.trainable_variables
        parts = self._gradients_of_parts if self.micro_batch else self._gradients
        gradients, loss, correct = parts(batch, variables)
        still = self._still(variables)  # before the update counts
        if hasattr(self.optimizer, "inner_optimizer"):
            # What overflows in a frozen variable's gradient is no reason to reject the others'.
            gradients = without(still, gradients)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.steps.assign_add(1)
        if self.ema_weights:
            steps = tf.convert_to_tensor(self.steps)
            of_variable = {id(v): each for v, each in zip(variables, still, strict=True)}
            still = [of_variable.get(id(weight)) for weight in self.averaged_weights]
            self.averaging.move(self.ema_weights, self.averaged_weights, steps, still)
        self.loss_metric.update_state(loss)
        self.accuracy_metric.update_state(correct)
        return {**self.get_metrics_result(), "batch_loss": loss, "learning_rate": rate}

    def _still(self, variables) -> list[tf.Tensor | None]:
        """Which variables the coming update leaves as they are: bool tensors, None for never."""
        # A float16 loss scale is around the optimizer that freezes and counts updates.
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if isinstance(optimizer, Freezing):
            return optimizer.still(variables)
        return [None] * len(variables)

    def leave_out_frozen(self, updates: int) -> bool:
        """Do not compute gradients that the optimizer would ignore after so many updates.

        Nor what only they need, such as the way back through a frozen stem. The result is the same,
        to rounding: the optimizer takes no notice of a frozen variable's gradient.

        Returns:
            Whether this has changed: then the next `fit` traces the step anew.
        """
        # A float16 loss scale may reject updates: then steps do not tell their number.
        freezes = isinstance(self.optimizer, Freezing)
        frozen = self.optimizer.frozen(self.network.trainable_variables, updates) if freezes else ()
        changed = any(frozen) and frozen != self._frozen
        if changed:
            self._frozen = frozen
            self.train_function = None
        return changed

    def _gradients(self, batch, variables):
        """Gradients (scaled, where the optimizer scales the loss), mean loss, which are correct."""
        frozen = self._frozen or (False,) * len(variables)
        wanted = [v for v, is_frozen in zip(variables, frozen, strict=True) if not is_frozen]
        images = tf.cast(batch["image"], tf.float32)
        if self.augmentation is not None:
            by_visit = getattr(self.augmentation, "by_visit", False)
            visits = (batch["visit"],) if by_visit else ()
            images = self.augmentation(images, batch["number"], *visits)
        with tf.GradientTape() as tape, sample_numbers(batch["number"]):
            logits = self.network(images, training=True)
            loss = tf.reduce_mean(self.training_loss(batch["label"], logits))
            if penalties := self.network.losses:
                loss += tf.add_n([tf.cast(penalty, tf.float32) for penalty in penalties])
            # Replicas' gradients are summed.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss / replicas if replicas > 1 else loss)
        found = iter(tape.gradient(scaled, wanted))
        gradients = [
            tf.zeros(v.shape) if is_frozen else next(found)
            for v, is_frozen in zip(variables, frozen, strict=True)
        ]
        return gradients, loss, _correct(batch["label"], logits)

    def _gradients_of_parts(self, batch, variables):
        """The same, averaged over the batch's parts, which pass one after another."""
        size = self.micro_batch
        count = tf.shape(batch["label"])[0] // size
        share = 1.0 / tf.cast(count, tf.float32)

        def add(index, gradients, loss, correct):
            first = index * size
            # A slice of a size that XLA knows.
            part = {
                name: tf.slice(
                    values, [first, *[0] * (values.shape.rank - 1)], [size, *values.shape[1:]]
                )
                for name, values in batch.items()
            }
            found, part_loss, part_correct = self._gradients(part, variables)
            gradients = [total + g * share for total, g in zip(gradients, found, strict=True)]
            mean_correct = tf.reduce_mean(part_correct)
            return index + 1, gradients, loss + part_loss * share, correct + mean_correct * share

        zeros = [tf.zeros(variable.shape) for variable in variables]
        _, gradients, loss, correct = tf.while_loop(
            lambda index, *_: index < count,
            add,
            (tf.constant(0), zeros, tf.constant(0.0), tf.constant(0.0)),
            parallel_iterations=1,  # the next part's maps would lie in memory beside this one's
        )
        return gradients, loss, correct

    def test_step(self, batch):
        logits = self.network(tf.cast(batch["image"], tf.float32), training=False)
        weight = batch["weight"]
        self.loss_metric.update_state(self.plain_loss(batch["label"], logits), weight)
        self.accuracy_metric.update_state(_correct(batch["label"], logits), weight)
        return self.get_metrics_result()

    def swap_ema(self) -> None:
        """Exchange the network's weights with their averages; a second call undoes it exactly."""
        for average, weight in zip(self.ema_weights, self.averaged_weights, strict=True):
            held = weight.numpy()
            weight.assign(average.numpy())
            average.assign(held)

    def state(self) -> dict[str, keras.Variable]:
        """Every variable that the rest of a run depends on, by a unique name.

        Network, optimizer, average, steps taken, and the running metrics of the epoch in flight.
        """
        groups = {
            "network": self.network.variables,
            "optimizer": self.optimizer.variables,
            "ema": self.ema_weights,
            "steps": [self.steps],
            "metrics": [v for metric in self.metrics for v in metric.variables],
        }
        # Paths alone are unique only within a group, and Keras allows equal names.
        return {
            f"{group}/{index:04d}/{variable.path}": variable
            for group, variables in groups.items()
            for index, variable in enumerate(variables)
        }


def _correct(labels, logits):
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cast(tf.equal(predicted, tf.cast(labels, tf.int32)), tf.float32)
