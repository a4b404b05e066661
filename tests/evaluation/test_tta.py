"""Test-time augmentation by hand, on models that return the image itself as logits."""

import numpy as np

from tfsc.evaluation.tta import tta_logits
from tfsc.exports.exported_model import ExportedModel


def _pixels(shape):
    """A model whose logits are the pixels: averaged logits are then the average of the views."""
    return ExportedModel(
        lambda images: images.reshape(len(images), -1).astype(np.float32), shape, None, None, None
    )


def test_six_views_by_hand():
    image = np.array([[1, 2, 4, 8], [16, 32, 64, 128]], np.uint8)[None, :, :, None]
    columns = tta_logits(_pixels((2, 4, 1)), image)
    assert columns["plain"][0].tolist() == [1, 2, 4, 8, 16, 32, 64, 128]
    assert columns["flip-TTA"][0].tolist() == [4.5, 3, 3, 4.5, 72, 48, 48, 72]
    # The padded rows are the 2nd, 1st, 2nd, 1st; so both shifts exchange the rows:
    # down and right [32,16,32,64 | 2,1,2,4], up and left [32,64,128,64 | 2,4,8,4].
    shifted = np.array([192, 240, 240, 192, 12, 15, 15, 12]) / 4
    expected = (columns["flip-TTA"][0] + shifted) / 2
    assert columns["6-view TTA"][0].tolist() == expected.tolist()
    assert expected[:2].tolist() == [26.25, 31.5]


def test_the_views_and_their_weights():
    """Σ weight·view over the six views, each pixel looked up by itself."""
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 2), np.uint8)

    def view(shift, mirrored):
        found = np.empty(images.shape)
        for row, column in np.ndindex(4, 5):
            # Index −1 reflects to 1, index n to n − 2.
            r, c = (
                (size - 1) - abs((size - 1) - abs(at + shift))
                for at, size in ((row, 4), (column, 5))
            )
            found[:, row, 4 - column if mirrored else column] = images[:, r, c]
        return found

    weights = {
        (shift, mirrored): (0.25 if shift == 0 else 0.125)
        for shift in (0, -1, 1)
        for mirrored in (False, True)
    }
    assert len(weights) == 6 and sum(weights.values()) == 1
    expected = sum(weight * view(*which) for which, weight in weights.items())
    six = tta_logits(_pixels((4, 5, 2)), images)["6-view TTA"]
    np.testing.assert_allclose(six, expected.reshape(3, -1), rtol=1e-6)


def test_an_image_of_one_colour_has_the_same_logits_in_every_column():
    images = np.full((2, 3, 3, 1), 200, np.uint8)
    for logits in tta_logits(_pixels((3, 3, 1)), images).values():
        assert (logits == 200).all()  # the weights sum to 1


def test_images_pass_in_batches_of_500_and_in_order():
    sizes = []

    def logits(images):
        sizes.append(len(images))
        return images.reshape(len(images), -1).astype(np.float32)

    images = np.arange(1100).astype(np.uint8).reshape(1100, 1, 1, 1)
    columns = tta_logits(ExportedModel(logits, (1, 1, 1), None, None, None), images)
    assert sizes == [500, 500, 100] * 6
    for found in columns.values():  # a single pixel has only itself to reflect
        np.testing.assert_array_equal(found[:, 0], images[:, 0, 0, 0])
