"""Training: the `Learner`, checkpoints, callbacks, and `run`, which joins them."""
