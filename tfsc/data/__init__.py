"""Data: `source` (a name → cached uint8 arrays), `split`, `pipeline` (tf.data)."""
