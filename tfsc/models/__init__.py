"""Architectures: one a file, functional Keras models from raw 0–255 images to float32 logits."""
