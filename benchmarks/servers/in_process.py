"""Rows a second without a server, 32 at a time: PATH of a SavedModel. Prints those of its signature called from Python, and
those of the embedded server's own way to run it."""

import pathlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from peers.peers import WIDTH

from serving.models.batcher import Limits
from serving.models.servable import Servable
from serving.quiet import tensorflow as tf

ROWS, CALLS = 32, 4000

x = np.random.default_rng(0).random((ROWS, WIDTH), "float32")
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
servable = Servable(pathlib.Path(sys.argv[1]), ThreadPoolExecutor(1), Limits())
batcher = servable.endpoint("").batcher
for call in (lambda: signature(x=tf.constant(x))["x"].numpy(), lambda: batcher.run([x])):
    call()
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    print(ROWS * CALLS / (time.perf_counter() - start))
