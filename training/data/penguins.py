"""The Palmer penguins as a TFDS data set, prepared from the package `palmerpenguins` on first use
(`pip install latent-zoo[penguins]`)."""

import csv
import importlib.util
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year")
TEXTS = ("species", "island", "sex")


class Penguins(tfds.core.GeneratorBasedBuilder):
    """344 penguins of three species on islands of the Palmer Archipelago, Antarctica: measures, sex and year; some are missing,
    as NaN or an empty text. Horst, Hill and Gorman, 2020; CC-0.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        texts = {name: tfds.features.Text() for name in TEXTS}
        numbers = {name: tfds.features.Scalar(np.float64) for name in NUMBERS}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(texts | numbers),
            homepage="https://allisonhorst.github.io/palmerpenguins/",
            description=__doc__,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {"train": self._generate_examples(_file())}

    def _generate_examples(self, path: pathlib.Path) -> Iterator[tuple[int, dict[str, object]]]:
        with open(path, encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                cells = {name: "" if cell == "NA" else cell for name, cell in row.items()}
                yield number, {name: float(cells[name] or "nan") if name in NUMBERS else cells[name] for name in row}


def _file() -> pathlib.Path:
    """The file of the package, which is not imported: it would import pandas."""
    spec = importlib.util.find_spec("palmerpenguins")
    if spec is None:
        raise ValueError(
            "Expected the package palmerpenguins, which holds the data. Received: not installed. "
            "Try pip install palmerpenguins."
        )
    return pathlib.Path(spec.submodule_search_locations[0], "data", "penguins.csv")
