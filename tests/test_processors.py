"""Names of processors, and the precision that suits a device."""

import platform

import pytest

import training
from training import files, kinds
from training.experiments import config
from training.fitting import processors, strategies
from training.fitting.strategies import Accelerator
from training.run import Run

AVX2, AVX512, AMX = "avx avx2", "avx avx2 avx512f avx512_bf16", "avx avx2 avx512f avx512_bf16 amx_tile amx_bf16"


@pytest.mark.parametrize(
    ("model", "flags", "name"),
    [
        ("AMD EPYC", AVX2, "AMD EPYC, AVX2"),
        ("AMD EPYC 9B14", AVX512, "AMD EPYC 9B14, AVX-512"),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", AMX, "Intel Xeon Platinum 8481C @ 2.70GHz, AMX"),
        ("Neoverse-V1", "asimd bf16", "Neoverse-V1"),
    ],
)
def test_a_processor_has_a_name(model, flags, name, processor):
    processor(model, flags)
    assert processors.name() == name


@pytest.mark.parametrize("system", ["Linux", "Darwin", "Windows"])
def test_a_processor_that_tells_nothing_has_a_name_too(system, processor, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: system)
    assert len(processors.name()) > 2 and processors.flags() == frozenset()


@pytest.mark.parametrize(
    ("accelerators", "backend", "flags", "environment", "gains"),
    [
        ([], "tensorflow", AMX, {}, True),
        ([], "tensorflow", AMX, {"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        ([], "tensorflow", AVX512, {}, False),
        ([], "tensorflow", AVX2, {}, False),
        ([], "tensorflow", "asimd bf16", {}, False),
        ([], "tensorflow", "", {}, False),
        ([], "jax", AMX, {}, False),
        ([Accelerator("TPU", "TPU v2")], "jax", "", {}, True),
        ([Accelerator("GPU", "NVIDIA H100", (9, 0))] * 2, "tensorflow", AVX2, {}, True),
        ([Accelerator("GPU", "NVIDIA A100", (8, 0))], "jax", AVX2, {}, True),
        ([Accelerator("GPU", "Tesla T4", (7, 5))], "tensorflow", AMX, {}, False),
        ([Accelerator("GPU", "A100", (8, 0)), Accelerator("GPU", "T4", (7, 5))], "tensorflow", AMX, {}, False),
        ([Accelerator("GPU", "of a maker that has no such number")], "tensorflow", AMX, {}, False),
    ],
)
def test_bfloat16_where_it_is_known_to_be_faster(accelerators, backend, flags, environment, gains):
    assert strategies.gains_by_bfloat16(accelerators, backend, flags.split(), environment) is gains


def test_the_capability_of_a_gpu():
    assert [strategies._capability(text) for text in ("8.0", "12.1", "gfx90a", "")] == [(8, 0), (12, 1), (0, 0), (0, 0)]


@pytest.mark.parametrize("flags", [AVX2, AMX])
def test_precision_is_the_devices_unless_it_is_given(flags, processor):
    processor("AMD EPYC", flags)
    fast = "mixed_bfloat16" if flags == AMX else "float32"
    names = ("dense_digits_k8", "conv_mnist_k16", "g2p_cmudict")
    experiments = {name: training.EXPERIMENTS[name] for name in names}
    found = {name: strategies.precision(experiment) for name, experiment in experiments.items()}
    assert found == {"dense_digits_k8": "float32", "conv_mnist_k16": fast, "g2p_cmudict": fast}
    for given in ("float32", "mixed_bfloat16"):
        assert {strategies.precision(each.override(precision=given)) for each in experiments.values()} == {given}
    assert strategies.precision(training.EXPERIMENTS["pca_digits_k8"]) == "float32"


def test_no_experiment_fixes_a_precision():
    assert {experiment.get("training.precision", "auto") for experiment in training.EXPERIMENTS.values()} == {"auto"}


@pytest.mark.parametrize(("flags", "policy"), [(AVX2, "float32"), (AMX, "mixed_bfloat16")])
def test_a_model_computes_in_the_precision_of_its_device(flags, policy, small, processor):
    processor("AMD EPYC", flags)
    experiment = small.override({"body": "conv", "width": "4", "depth": "1", "hidden": "8"})
    data = training.load("digits")
    model = kinds.build(experiment, data)
    assert model.encoder.dtype_policy.name == policy
    assert kinds.of(experiment).in_float32(model, experiment, data).encoder.dtype_policy.name == "float32"


def test_costs_say_what_training_ran_on(run):
    costs = files.read_json(run.costs)
    assert costs["precision"] == "float32" and costs["processor"] == processors.name()
    assert run.computed == f"{strategies.device()}, {processors.name()}, float32"


def test_a_run_keeps_the_precision_that_it_began_with(small, processor, tmp_path):
    auto = small.override(body="conv")
    run = Run(tmp_path / "run")
    assert run.precision is None
    for flags in (AMX, AVX2):
        processor("AMD EPYC", flags)
        run.begin(auto, strategies.precision(auto))
    assert run.precision == "mixed_bfloat16" and run.experiment() == auto
    run.expect(auto)
    run.expect(auto.override(precision="mixed_bfloat16"))
    with pytest.raises(ValueError, match="precision is 'auto', not 'float32'"):
        run.expect(auto.override(precision="float32"))


def test_a_run_that_was_begun_when_experiments_fixed_their_precision_goes_on(small, tmp_path):
    run = Run(tmp_path / "run")
    fixed = small.override(body="conv", precision="mixed_bfloat16")
    files.write_json(run.config, config.as_dict(fixed))
    files.write_json(run.versions, {"python": "3.11"})
    files.write_json(run.costs, {"seconds": 1.0, "weights": 1, "device": "2 CPU cores"})
    run.expect(fixed.override(precision="auto"))
    assert run.precision == "mixed_bfloat16" and run.computed == "2 CPU cores, mixed_bfloat16"
