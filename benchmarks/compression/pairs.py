"""Compression of pairs of texts: the test words of cmudict and their pronunciations, by `g2p_cmudict`, beside codecs of bytes.

    python benchmarks/compression/pairs.py [--rows=10000]

Sizes of the targets alone, the pronunciations, and those of whole files, with the words and everything else in them but the
model. Codecs of bytes get the same texts, a line each.
"""

import argparse
import itertools
import lzma
import time

import zstandard

import training  # noqa: F401 - first: it imports TensorFlow quietly
import zoo
from training.data import pairs
from zoo.coding import container
from zoo.coding.pairs import Pairs

NAME = "g2p_cmudict"
BYTES = {
    "zstd -19": zstandard.ZstdCompressor(level=19).compress,
    "lzma -9": lambda data: lzma.compress(data, preset=9),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()
    model = zoo.load(NAME)
    rows = [*itertools.islice(pairs.load("cmudict/random").test.pairs(), options.rows)]
    source, target = zip(*rows, strict=True)
    print("| | bits a target | bits a pair, whole file | pairs/s in | pairs/s out |\n|---|---|---|---|---|")
    for name, codec in BYTES.items():
        alone, both = (_lines(target), _lines(map("\t".join, rows)))
        print(f"| {name} | {8 * len(codec(alone)) / len(rows):.2f} | {8 * len(codec(both)) / len(rows):.2f} | | |")
    began = time.perf_counter()
    data = zoo.compress(model, {"source": source, "target": target}, NAME, portable=False)
    written = time.perf_counter()
    again = zoo.decompress(data, model)
    read = time.perf_counter()
    assert [*zip(again["source"].tolist(), again["target"].tolist(), strict=True)] == rows
    file = container.read(data)
    stacks = sum(len(Pairs.divided(file.payload(number))[1]) for number in range(len(file.entries)))
    sizes = f"{8 * stacks / len(rows):.2f} | {8 * len(data) / len(rows):.2f}"
    speeds = f"{len(rows) / (written - began):,.0f} | {len(rows) / (read - written):,.0f}"
    print(f"| `{NAME}` | {sizes} | {speeds} |\n\n{len(rows):,} pairs, of which the file has {len(data):,} bytes.")


def _lines(texts) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


if __name__ == "__main__":
    main()
