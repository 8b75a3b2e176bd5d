"""What a step of training needs to run on a TPU, on which no test runs: static shapes, and nothing that only a host can compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import MODELS, PREDICTORS, SHAPE
from test_columns import _model as table

import zoo

ROWS = 4
HOST = ("PyFunc", "EagerPyFunc", "Print", "String", "AsString", "Regex", "Lookup", "Iterator", "Dataset", "ReadFile", "Unique")
COMPILED = ("conv", "transformer")


def transformer() -> zoo.Transformer:
    letters = zoo.Vocabulary(list("abcd"), 5)
    return zoo.Transformer(letters, letters, width=8, depth=1, heads=2)


BUILDERS = {**MODELS, **PREDICTORS, "table": lambda: table(_table()[1]), "transformer": transformer}
NAMES = [pytest.param(name, id=name) for name in BUILDERS]


def batch(model: keras.Model) -> tuple:
    """Rows that a model can be trained on, and targets."""
    random = np.random.default_rng(0)
    if isinstance(model, zoo.Transformer):
        return {side: random.integers(3, 7, (ROWS, 6)).astype("int32") for side in ("source", "target")}, None
    x = random.integers(0, 2, (ROWS, *model.shape)).astype("float32")
    return x, np.zeros(ROWS, "int32") if isinstance(model, zoo.Predictor) else None


@pytest.mark.parametrize("name", NAMES)
def test_a_step_has_static_shapes_and_no_operation_of_the_host(name):
    model = BUILDERS[name]()
    optimizer = keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, jit_compile=False)
    data = tf.nest.map_structure(tf.convert_to_tensor, tuple(part for part in batch(model) if part is not None))
    step = tf.function(model.train_step, autograph=False, jit_compile=True)
    graph = step.get_concrete_function(data).graph
    dynamic = [op.name for op in graph.get_operations() for output in op.outputs if not output.shape.is_fully_defined()]
    assert not dynamic
    kinds = {op.type for op in graph.get_operations()}
    kinds |= {node.op for function in graph.as_graph_def().library.function for node in function.node_def}
    assert not [kind for kind in kinds if any(word in kind for word in HOST)]
    if name in COMPILED:  # by XLA for this processor, as a stand-in for the compiler for TPUs
        assert all(np.isfinite(value) for value in step(data).values())
