"""Data: `source` (TFDS or digits → cached uint8 arrays), `split`, `pipeline` (tf.data)."""
