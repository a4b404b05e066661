"""tfsc: a super-convergence laboratory for CIFAR-sized image classifiers (TensorFlow, Keras).

    from tfsc import schedules, optimizers, augment, models, layers

Each part has its public classes and functions as attributes, which are imported when they are first
used: `import tfsc` alone imports neither TensorFlow nor Keras.
"""

from tfsc.lazy import attributes

__version__ = "0.2.0"

PARTS = ("augment", "averages", "inputs", "layers", "losses", "models", "optimizers", "schedules")

__all__ = ["__version__", *PARTS]

__getattr__, __dir__ = attributes(__name__, modules=PARTS)
