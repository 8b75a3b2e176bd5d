"""The models of the zoo on JAX: the files about them are run anew in a process with that backend."""

import os
import subprocess
import sys

from conftest import ROOT

# On JAX each of these takes up to 40 s to compile: searches, which are compared with one another on TensorFlow, and what is
# written for the transformer's other parts; of the models those of which there are others alike; what NumPy refuses anyway.
SEARCHES = ("padding_changes", "draws_follow", "likeliest_alone", "no_temperature", "greedy", "beams_beyond", "wide_beam")
PARTS = ("backwards", "judged_by_those", "attention_maps", "sum_to_one_over", "cannot_follow", "decomposition", "distances")
MODELS = (
    "single_layer",
    "dense_bernoulli",
    "overcomplete",
    "own_bodies",
    "vectors",
    "test_contract and (linear or dense)",
    "importance_weighted and not loss_falls",
)
NUMBERS = ("numbers_of_any_type", "numbers_in_numbers_out", "bad_input", "of_all_levels_sum", "classes_are_those_of_their_rows")
LEFT_OUT = (*SEARCHES, *PARTS, *MODELS, *NUMBERS)
# Most of the time goes into compiling what then runs for a moment.
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
FILES = ("contract", "autoencoder", "likelihoods", "noise", "linear", "predictor", "transformer")


def test_the_model_tests_pass_on_jax():
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in FILES]
    chosen = f"not ({' or '.join(LEFT_OUT)})"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", chosen, *files]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": QUICKLY}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
