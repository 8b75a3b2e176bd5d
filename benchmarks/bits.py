"""Compression of MNIST: vector-quantized codes against rounded codes of `conv_mnist_k16` with the same number of bits.

    TFDS_DATA_DIR=… python benchmarks/bits.py

Trains `vqvae_mnist` and `conv_mnist_k16` unless they are in `runs/`. Every code dimension gets the same number of bits, and is
rounded to equal steps between its lowest and highest value in the training split.
"""

import numpy as np

import training
from training import kinds
from training.evaluation import arrays as evaluation

LEVELS = (1, 2, 3, 4, 5, 6, 8)  # bits per dimension


def main() -> None:
    quantized = training.train("vqvae_mnist", "runs/vqvae_mnist").load_model()
    conv = training.train("conv_mnist_k16", "runs/conv_mnist_k16").load_model()
    data = kinds.open_data(training.EXPERIMENTS["conv_mnist_k16"])
    x = data.test.arrays["x"]
    train, test = (evaluation.encode(conv, split)["codes"] for split in (data.train, data.test))
    print("| | bits | squared error |\n|---|---|---|")
    error = evaluation.squared_error(quantized, data.test)
    print(f"| `vqvae_mnist` | {quantized.bottleneck.bits:.0f} | {error:.3f} |")
    for bits in LEVELS:
        decoded = np.concatenate([np.asarray(conv.decode(part)) for part in np.array_split(_rounded(train, test, bits), 10)])
        print(f"| `conv_mnist_k16`, {bits} bit{'s' * (bits > 1)} per dimension | {conv.k * bits} | {_error(x, decoded):.3f} |")
    print(f"| `conv_mnist_k16`, not rounded | {conv.k * 32} | {evaluation.squared_error(conv, data.test):.3f} |")


def _rounded(train: np.ndarray, codes: np.ndarray, bits: int) -> np.ndarray:
    low, high = train.min(axis=0), train.max(axis=0)
    steps = 2**bits
    cell = np.clip(np.floor((codes - low) / (high - low) * steps), 0, steps - 1)
    return (low + (cell + 0.5) / steps * (high - low)).astype("float32")


def _error(x: np.ndarray, decoded: np.ndarray) -> float:
    return float(np.square(x - decoded).reshape(len(x), -1).sum(axis=1).mean())


if __name__ == "__main__":
    main()
