"""Rows of TFDS's files, parsed in blocks."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from training.data import records

KEYS = {"x": "image", "id": "tfds_id", "label": "label"}


class Sizes(tfds.core.GeneratorBasedBuilder):
    """Pictures in three files."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(2, 2, 1)), "label": tfds.features.ClassLabel(num_classes=3)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(600):
            yield number, {"image": np.full((2, 2, 1), number % 251, "uint8"), "label": number % 3}


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    builder = Sizes(data_dir=tmp_path_factory.mktemp("tfds"))
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return builder


@pytest.mark.parametrize("split", ["train", "train[150:450]"])
def test_blocks_are_those_of_tfds(builder, split):
    assert len(builder.info.splits["train"].filepaths) == 3
    assert records._are_plain(builder, ["image", "label"])
    found, expected = ([*read(builder, split, KEYS).as_numpy_iterator()] for read in (records.blocks, records._one_by_one))
    for block, other in zip(found, expected, strict=True):
        assert all(np.array_equal(block[key], other[key]) and block[key].dtype == other[key].dtype for key in KEYS)
