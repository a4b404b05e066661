"""Learning-rate schedules: `language` is the text (no TensorFlow), the others are Keras classes."""
