"""Time per example and memory of the zoo's training on streams of random images of several sizes.

    python benchmarks/training/sizes.py --counts 10000,100000,1000000

The time is that of the median epoch after the first. Every size is a process of its own, whose rows are drawn while they are
read, never in memory and not on disk. XLA compiles the steps of each, as it does by default where there are 1,000 of them.
10,000,000 examples take a quarter of an hour.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import workload

SHAPE = (28, 28, 1)
BLOCK = 1000
ENOUGH = 100_000  # examples for a measurement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="10000,100000,1000000")
    parser.add_argument("--one", type=int, help="measures one size, and prints its figures in JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one)))
        return
    for count in options.counts.split(","):
        done = subprocess.run([sys.executable, __file__, "--one", count], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"Expected figures of {count} examples. Received: {done.stderr.strip()[-1000:]}. Try --one.")
        microseconds, memory = json.loads(done.stdout.splitlines()[-1])
        print(f"{int(count):,} examples: {microseconds:.1f} µs each, at most {memory:.2f} GiB", flush=True)


def measured(count: int) -> tuple[float, float]:
    """Microseconds per example, and the most memory of the process, in GiB."""
    import training
    from serving.quiet import tensorflow as tf
    from training import kinds, options
    from training.data.splits import Data, Split
    from training.fitting import callbacks, loop
    from zoo.schema import Feature

    blocks = tf.data.Dataset.range(-(-count // BLOCK)).map(_block(tf, count), num_parallel_calls=tf.data.AUTOTUNE)
    test = np.random.default_rng(0).random((BLOCK, *SHAPE), "float32")
    arrays = {"x": test, "id": np.arange(BLOCK).astype(str)}
    data = Data("random", {"x": Feature.of(SHAPE, (0, 1))}, Split(count, stream=blocks), None, Split(BLOCK, arrays=arrays))
    name, settings = workload.NETWORKS["dense"]
    epochs = 1 + -(-ENOUGH // count)
    experiment = options.experiment(
        name, {key: str(value) for key, value in {**settings, "epochs": epochs, "xla": "on"}.items()}
    )
    clock = workload.Clock(count)

    class Timed(callbacks.Checkpoint):
        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            super().on_epoch_end(epoch, logs)
            clock.tick()

    loop.Checkpoint = Timed
    with tempfile.TemporaryDirectory() as folder:
        loop.fit(kinds.of(experiment).build(experiment, data), data, experiment, training.Run(folder))
    return 1e6 / statistics.median(clock.rates), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _block(tf, count: int):
    def block(number):
        rows = tf.cast(tf.minimum(tf.constant(BLOCK, tf.int64), count - BLOCK * number), tf.int32)
        x = tf.random.stateless_uniform((rows, *SHAPE), tf.stack([number, 0]))
        return {
            "x": tf.ensure_shape(x, (None, *SHAPE)),
            "id": tf.strings.as_string(BLOCK * number + tf.range(rows, dtype=tf.int64)),
        }

    return block


if __name__ == "__main__":
    main()
