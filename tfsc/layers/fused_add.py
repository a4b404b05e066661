"""`FusedAdd`: a sum that a convolution before it computes."""

import keras

from tfsc.layers import fusion


@keras.saving.register_keras_serializable("tfsc")
class FusedAdd(keras.layers.Add):
    """`keras.layers.Add` of a residual and a branch, one operation with the branch's last one.

        y = residual + branch

    Where the branch's last layer is a `FusedPointwiseConv2D` that layer's operation adds the
    residual, before it rounds. Elsewhere it is Keras' layer.
    """

    def call(self, inputs):
        residual, branch = inputs
        product = fusion.noted(branch, fusion.Sum)
        if product is None or residual.dtype != branch.dtype:
            return super().call(inputs)
        return product.plus(fusion.taken(residual))
