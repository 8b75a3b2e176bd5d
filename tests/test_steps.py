"""What a step of training needs on a TPU, on which no test runs: static shapes, and nothing that only a host can compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import MODELS, PREDICTORS
from test_columns import _model, _table

import zoo

ROWS = 4
HOST = ("PyFunc", "EagerPyFunc", "Print", "String", "AsString", "Regex", "Lookup", "Iterator", "Dataset", "ReadFile", "Unique")
OFTEN = ("vae", "table", "transformer")


def transformer() -> zoo.Transformer:
    letters = zoo.Vocabulary(list("abcd"), 5)
    return zoo.Transformer(letters, letters, width=8, depth=1, heads=2)


BUILDERS = {**MODELS, **PREDICTORS, "table": lambda: _model(_table()[1]), "transformer": transformer}


def batch(model: keras.Model) -> tuple:
    """Rows that a model can be trained on, and targets."""
    random = np.random.default_rng(0)
    if isinstance(model, zoo.Transformer):
        return {side: random.integers(3, 7, (ROWS, 6)).astype("int32") for side in ("source", "target")}, None
    x = random.integers(0, 2, (ROWS, *model.shape)).astype("float32")
    return x, np.zeros(ROWS, "int32") if isinstance(model, zoo.Predictor) else None


NAMES = [name if name in OFTEN else pytest.param(name, marks=pytest.mark.exhaustive) for name in BUILDERS]
COMPILED = ["linear", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in BUILDERS if name != "linear")]


def step_of(name: str):
    """A step of training of a model, and the rows that it takes."""
    model = BUILDERS[name]()
    optimizer = keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, jit_compile=False)
    data = tf.nest.map_structure(tf.convert_to_tensor, tuple(part for part in batch(model) if part is not None))
    return tf.function(model.train_step, autograph=False, jit_compile=True), data


@pytest.mark.parametrize("name", NAMES)
def test_a_step_has_static_shapes_and_no_operation_of_the_host(name):
    step, data = step_of(name)
    graph = step.get_concrete_function(data).graph
    dynamic = [op.name for op in graph.get_operations() for output in op.outputs if not output.shape.is_fully_defined()]
    assert not dynamic
    kinds = {op.type for op in graph.get_operations()}
    kinds |= {node.op for function in graph.as_graph_def().library.function for node in function.node_def}
    assert not [kind for kind in kinds if any(word in kind for word in HOST)]


@pytest.mark.parametrize("name", COMPILED)
def test_xla_compiles_a_step_for_this_processor_in_place_of_a_tpu(name):
    step, data = step_of(name)
    assert all(np.isfinite(value) for value in step(data).values())
