"""scikit-learn's handwritten digits as a TFDS data set, prepared from the package on first use."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

TEST_SHARE = 0.2
SPLIT_SEED = 0


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 images of 8×8 pixels, ten classes; values in [0, 1], in steps of 1/16.

    The packaged data are not split; a fifth of them, drawn with a fixed seed, is the test split.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.float32),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            description=__doc__,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        from sklearn.datasets import load_digits  # only to prepare the data

        digits = load_digits()
        order = np.random.default_rng(SPLIT_SEED).permutation(len(digits.target))
        held_out = int(TEST_SHARE * len(order))
        parts = {"train": order[held_out:], "test": order[:held_out]}
        return {name: self._generate_examples(digits.images[rows], digits.target[rows], rows) for name, rows in parts.items()}

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, numbers: np.ndarray
    ) -> Iterator[tuple[int, dict[str, object]]]:
        for image, label, number in zip(images, labels, numbers, strict=True):
            yield int(number), {"image": (image[..., None] / 16).astype("float32"), "label": int(label)}
