"""The models of the zoo on JAX: their test files are run again in a process with that backend, and those for it alone."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

# On JAX each of these takes up to 40 s to compile: searches, which are compared with each other on TensorFlow; tests of other
# parts of the transformer; and models that are similar to others.
SEARCHES = ("padding_changes", "draws_follow", "likeliest_alone", "no_temperature", "greedy", "beams_beyond", "wide_beam")
PARTS = ("backwards", "judged_by_those", "attention_maps", "sum_to_one_over", "cannot_follow", "decomposition", "distances")
MODELS = ("single_layer", "dense_bernoulli", "overcomplete", "own_bodies", "vectors")
LEFT_OUT = (*SEARCHES, *PARTS, *MODELS, "numbers_of_any_type")
# Not in every run of the tests: what NumPy refuses anyway, and what other tests check with the same parts.
REPEATED = (
    *("bad_input", "refused", "numbers_in_numbers_out", "low_precision", "of_all_levels_sum", "several_numbers"),
    *(
        "classes_are_those_of_their_rows",
        "teaches_nothing",
        "declared_shapes_and_types and regressor",
        "test_every_row and shape1",
    ),
    *("test_contract and (linear or dense)", "importance_weighted", "loss_falls and conv"),
    *("8_bit_integers_are_scaled", "far_out", "declared_shapes_and_kinds", "weights_of_rows_count"),
)
# Most of the time is spent on compiling functions that then run only briefly.
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
FILES = ("contract", "autoencoder", "likelihoods", "noise", "linear", "predictor", "transformer", "sharding")
DEVICES = "--xla_force_host_platform_device_count=2"


@pytest.mark.parametrize("left_out", [(*LEFT_OUT, *REPEATED), pytest.param(LEFT_OUT, marks=pytest.mark.exhaustive)])
def test_the_model_tests_pass_on_jax(left_out):
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in FILES]
    chosen = f"not ({' or '.join(left_out)})"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", chosen, *files]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": f"{QUICKLY} {DEVICES}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
