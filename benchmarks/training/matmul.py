"""The dense network's products of matrices alone, by `tf.linalg.matmul`: prints the examples a second that they would allow.

A step of training has three of each layer: for the outputs, for the gradient of the weights, and, but for the first layer, for
that of the inputs. Six floating-point operations per weight and example, four for the first layer, are the FLOPs of a step, so
rates of examples compare as FLOP/s do. The argument is that of a contender.
"""

import time

import numpy as np
import workload

from serving.quiet import tensorflow as tf

SECONDS = 3
PAIRS = list(zip(workload.WIDTHS, workload.WIDTHS[1:], strict=False))
FLOPS = sum((4 if number == 0 else 6) * before * after for number, (before, after) in enumerate(PAIRS))  # per example


def main() -> None:
    work, random = workload.given(), np.random.default_rng(0)

    def drawn(*shape: int) -> tf.Tensor:
        return tf.cast(random.random(shape, "float32"), work.precision)

    layers = [(drawn(work.batch_size, m), drawn(m, n), drawn(work.batch_size, n)) for m, n in PAIRS]
    clock = workload.Clock(0)
    for _ in range(work.epochs):
        steps, since = 0, time.perf_counter()
        while time.perf_counter() - since < SECONDS:
            _multiply(layers)
            steps += 1
        clock.rates.append(steps * work.batch_size / (time.perf_counter() - since))
    clock.rates = clock.rates[1:]
    clock.print()


def _multiply(layers: list) -> None:
    for number, (x, weights, slope) in enumerate(layers):
        tf.linalg.matmul(x, weights)
        tf.linalg.matmul(x, slope, transpose_a=True)
        last = tf.linalg.matmul(slope, weights, transpose_b=True) if number else x
    last.numpy()


if __name__ == "__main__":
    main()
