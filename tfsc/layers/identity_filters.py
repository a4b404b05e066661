"""`IdentityFilters`: convolutions that begin by passing their input on."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfsc")
class IdentityFilters(keras.initializers.Initializer):
    """Another initializer, with the first filters replaced by the identity.

    Filter i < min(in, out) is 1 at its centre in channel i and 0 elsewhere: its output is channel i
    of its input (with "same" padding). The others are `rest`'s.

    Args:
        rest: a Keras initializer, or its name.

    Source: `torch.nn.init.dirac_` as cifar10-airbench has it.
    """

    def __init__(self, rest: keras.initializers.Initializer | str):
        self.rest = keras.initializers.get(rest)

    def __call__(self, shape, dtype=None):
        """A kernel [height, width, in, out] with sides that are odd.

        Raises:
            ValueError: for another shape.
        """
        if len(shape) != 4 or shape[0] % 2 == 0 or shape[1] % 2 == 0:
            raise ValueError(
                f"IdentityFilters needs a kernel of odd height and width. Received: shape={shape}"
            )
        values = self.rest(shape, dtype)
        height, width, into, out = shape
        count = min(into, out)
        identity = tf.pad(
            tf.eye(into, count, dtype=values.dtype)[None, None],
            [[height // 2] * 2, [width // 2] * 2, [0, 0], [0, 0]],
        )
        return tf.concat([identity, values[..., count:]], axis=-1)

    def get_config(self):
        return {"rest": keras.initializers.serialize(self.rest)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.initializers.deserialize(config["rest"]))
