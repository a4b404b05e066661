"""Training: the `Learner`, precision, checkpoints, callbacks, and `run`, which joins them."""
