"""`class_order`: a model's classes and a set's, compared by name."""

import re

from tfsc.errors import ExportError


def class_order(
    model: tuple[str, ...], dataset: tuple[str, ...], export: str, name: str
) -> list[int] | None:
    """Which output of the model is each class of the set; None if they are in the same order.

    Case, and spaces, hyphens and underscores between words, make no difference, as long as each
    list tells its own classes apart without them.

    Args:
        model: the names of the model's outputs.
        dataset: those of the set's labels.
        export, name: of the model and of the set, for errors.

    Raises:
        ExportError: if one has a class that the other has not.
    """
    if len(model) != len(dataset):
        raise ExportError(
            f"--export={export}: names {len(model)} classes, --dataset={name} has {len(dataset)}"
        )
    mine, theirs = [_plain(word) for word in model], [_plain(word) for word in dataset]
    if len(set(mine)) < len(mine) or len(set(theirs)) < len(theirs):
        mine, theirs = list(model), list(dataset)
    if mine == theirs:
        return None
    if set(mine) == set(theirs) and len(set(mine)) == len(mine):
        return [mine.index(word) for word in theirs]
    number = next(i for i, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1])
    raise ExportError(
        f"--export={export}: its class {number} is '{model[number]}', that of --dataset={name} is "
        f"'{dataset[number]}', and neither list is the other in another order; "
        "--class_names=ignore takes them for the same, one by one"
    )


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]+", " ", word).strip().casefold()
