"""x / 2 + 2, the model of TensorFlow Serving's own documentation, as TensorFlow 1 and TensorFlow 2 save it.

python tests/half_plus_two.py DIR writes half_plus_two/1, half_plus_two/2 (x / 2 + 3) and half_plus_two_tf2/1.
"""

import pathlib
import sys

from serving.quiet import tensorflow as tf

v1 = tf.compat.v1


def write(directory: pathlib.Path) -> pathlib.Path:
    """Both forms and both versions under `directory`, which it returns."""
    write_tf1(directory / "half_plus_two" / "1", plus=2.0)
    write_tf1(directory / "half_plus_two" / "2", plus=3.0)
    write_tf2(directory / "half_plus_two_tf2" / "1")
    return directory


def write_tf1(path: pathlib.Path, plus: float = 2.0) -> None:
    """A graph and a session's variables; besides numbers it takes serialized examples, to classify and to regress."""
    with tf.Graph().as_default(), v1.Session() as session:
        half, added = v1.Variable(0.5, name="a"), v1.Variable(plus, name="b")
        examples = v1.placeholder(tf.string, [None], name="tf_example")
        parsed = v1.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        x = tf.identity(parsed["x"], name="x")
        y = tf.add(half * x, added, name="y")
        info = v1.saved_model.build_tensor_info
        methods = {
            "serving_default": ({"x": x}, {"y": y}, "predict"),
            "regress_x_to_y": ({"inputs": examples}, {"outputs": y}, "regress"),
            "classify_x_to_y": ({"inputs": examples}, {"scores": y}, "classify"),
        }
        signatures = {
            name: v1.saved_model.build_signature_def(
                {key: info(tensor) for key, tensor in inputs.items()},
                {key: info(tensor) for key, tensor in outputs.items()},
                f"tensorflow/serving/{method}",
            )
            for name, (inputs, outputs, method) in methods.items()
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def write_tf2(path: pathlib.Path) -> None:
    """A module with functions: one input and output of numbers, several of them, and the other types that JSON has."""
    module = tf.Module()
    module.half, module.added = tf.Variable(0.5), tf.Variable(2.0)

    def spec(dtype, name):
        return tf.TensorSpec([None], dtype, name)

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def predict(x):
        return {"y": module.half * x + module.added}

    @tf.function(input_signature=[spec(tf.float32, "x"), spec(tf.int32, "n")])
    def several(x, n):
        return {"y": module.half * x + module.added, "m": n + 1}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def reconstruct(x):
        return {"x": x, "half": module.half * x, "whole": tf.cast(x, tf.int32)}

    @tf.function(input_signature=[spec(tf.string, "text")])
    def echo(text):
        return {"text": text, "text_bytes": text}

    @tf.function(input_signature=[spec(tf.bool, "flag")])
    def negate(flag):
        return {"flag": tf.logical_not(flag)}

    @tf.function(input_signature=[spec(tf.float32, "x")])
    def total(x):
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[spec(tf.string, "text")])
    def join(text):
        return {"text": tf.strings.reduce_join(text)}

    @tf.function(input_signature=[spec(tf.int32, "n")])
    def strict(n):
        with tf.control_dependencies([tf.debugging.assert_non_negative(n, "negative")]):
            return {"n": tf.identity(n)}

    @tf.function(input_signature=[spec(tf.int32, "iterations")])
    def slow(iterations):
        def turn(i, x):
            return i + 1, x * 1.0000001 + 1.0

        last = tf.while_loop(lambda i, x: i < tf.reduce_max(iterations), turn, (0, tf.zeros([200_000])))[1]
        return {"x": last[: tf.shape(iterations)[0]]}

    signatures = {
        "serving_default": predict,
        "several": several,
        "reconstruct": reconstruct,
        "echo": echo,
        "negate": negate,
        "total": total,
        "join": join,
        "strict": strict,
        "slow": slow,
    }
    tf.saved_model.save(module, str(path), signatures=signatures)


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
