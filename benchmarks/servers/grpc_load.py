"""Rows a second over gRPC: ADDRESS MODEL ROWS CALLS SECONDS, with so many calls on their way at a time. Prints one number."""

import sys
import threading
import time

import grpc
import numpy as np
from peers.peers import WIDTH
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from serving.quiet import tensorflow as tf

address, model, (rows, calls, seconds) = sys.argv[1], sys.argv[2], map(int, sys.argv[3:6])
request = PredictRequest()
request.model_spec.name = model
request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.random.default_rng(0).random((rows, WIDTH), "float32")))
message = request.SerializeToString()  # once: it is the server that is measured
options = [("grpc.max_receive_message_length", -1)]
answered = []


def ask() -> None:
    with grpc.insecure_channel(address, options) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        predict(message)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            predict(message)
            count += 1
        answered.append(count)


threads = [threading.Thread(target=ask) for _ in range(calls)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(answered) * rows / seconds)
