"""Synthetic rows by the TVAE of the package `ctgan`.

python tvae.py TRAIN.csv ROWS.csv FIGURES.json K WIDTH EPOCHS COUNT

It has its defaults but for K, the size of a code, WIDTH, of both layers of the encoder and of the decoder, and EPOCHS. COUNT
rows are drawn. The figures are `seconds` of the whole of `fit`, of which `preparing` are those of fitting and applying the
transformation of the columns.
"""

import json
import sys
import time

import pandas as pd
import torch
from ctgan import TVAE
from ctgan.data_transformer import DataTransformer

SEED = 0


def main(train: str, rows: str, figures: str, k: str, width: str, epochs: str, count: str) -> None:
    torch.manual_seed(SEED)
    table = pd.read_csv(train)
    texts = [name for name in table if table[name].dtype.kind not in "if"]
    widths = (int(width), int(width))
    preparing = []
    for method in ("fit", "transform"):
        setattr(DataTransformer, method, timed(getattr(DataTransformer, method), preparing))
    began = time.perf_counter()
    model = TVAE(embedding_dim=int(k), compress_dims=widths, decompress_dims=widths, epochs=int(epochs))
    model.fit(table, texts)
    seconds = time.perf_counter() - began
    if int(count):
        model.sample(int(count)).to_csv(rows, index=False)
    with open(figures, "w") as file:
        json.dump({"seconds": seconds, "preparing": sum(preparing), "rows": len(table)}, file)


def timed(function, seconds: list[float]):
    def wrapped(*arguments, **named):
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            seconds.append(time.perf_counter() - began)

    return wrapped


if __name__ == "__main__":
    main(*sys.argv[1:])
