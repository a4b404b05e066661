"""tfsc: a super-convergence laboratory for CIFAR-sized image classifiers (TensorFlow, Keras)."""

__version__ = "0.1.0"
