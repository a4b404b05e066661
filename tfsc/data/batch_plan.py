"""`BatchPlan`: which steps belong to which epoch when the batch may grow from epoch to epoch."""

import bisect
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Epochs with one batch size.

    Attributes:
        epoch, step, sample: number (from 0) of its first epoch, step and sample.
        batch_size: examples in each step.
        steps_per_epoch: full batches in an epoch.
    """

    epoch: int
    step: int
    sample: int
    batch_size: int
    steps_per_epoch: int


class BatchPlan:
    """The steps of a run over `count` examples.

    Each epoch has ⌊count / batch size⌋ steps. Samples are numbered through the run: the number of
    an example's place in its batch, plus that of the batch's first sample.

    Args:
        count: training examples.
        sizes: pairs (first epoch, batch size), the first of epoch 0, epochs increasing.

    Attributes:
        stages: one a batch size.

    Raises:
        ValueError: if a batch size is not from 1 to `count`, or the epochs are out of order.

    Source: Smith, Kindermans, Ying and Le, "Don't decay the learning rate, increase the batch
    size", 2018.
    """

    def __init__(self, count: int, sizes: tuple[tuple[int, int], ...]):
        epochs = [epoch for epoch, _ in sizes]
        if not sizes or epochs[0] != 0 or epochs != sorted(set(epochs)):
            raise ValueError(f"sizes must start at epoch 0, epochs increasing. Received: {sizes}")
        self.count, self.stages = count, []
        step = sample = 0
        for (epoch, size), following in zip(sizes, [*epochs[1:], None], strict=True):
            if not 1 <= size <= count:
                raise ValueError(f"batch_size must be from 1 to {count}. Received: {size}")
            stage = Stage(epoch, step, sample, size, count // size)
            self.stages.append(stage)
            if following is not None:
                steps = (following - epoch) * stage.steps_per_epoch
                step, sample = step + steps, sample + steps * size

    def at_epoch(self, epoch: int) -> Stage:
        """The stage that holds an epoch."""
        return self.stages[bisect.bisect([stage.epoch for stage in self.stages], epoch) - 1]

    def at_step(self, step: int) -> Stage:
        """The stage that holds a step."""
        return self.stages[bisect.bisect([stage.step for stage in self.stages], step) - 1]

    def first_step(self, epoch: int) -> int:
        """Of an epoch."""
        stage = self.at_epoch(epoch)
        return stage.step + (epoch - stage.epoch) * stage.steps_per_epoch

    def epochs(self, step: int) -> float:
        """Epochs done before a step, fractional."""
        stage = self.at_step(step)
        return stage.epoch + (step - stage.step) / stage.steps_per_epoch

    def step_after(self, epochs: float) -> int:
        """The first step that so many epochs have gone before; rounded where that is none."""
        whole = int(epochs)
        return self.first_step(whole) + round(
            (epochs - whole) * self.at_epoch(whole).steps_per_epoch
        )
