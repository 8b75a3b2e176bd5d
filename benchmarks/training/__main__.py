"""Examples a second of the zoo's training against the same networks in other hands, all on this machine and in one run.

    python benchmarks/training --folder training-benchmark
    python benchmarks/training --folder training-benchmark --float32

Against plain Keras (`fit` on NumPy arrays), a loop by hand in PyTorch, pythae's trainer and a compiled loop in JAX: the same
network, rows, batch size and precision, epochs after the first, in turn, several times; medians are printed and kept in
figures.json. PyTorch and pythae have a virtual environment of their own in the folder. The precision is the one that the zoo
chooses on this machine. With --float32, all compute in float32 and with AVX2 alone: a stand-in for a processor without bfloat16
(oneDNN, which TensorFlow and PyTorch use, is told so by ONEDNN_MAX_CPU_ISA=AVX2, the others likewise). pythae has no
transformer. JAX is left out where convolutions are in bfloat16, in which an epoch of it takes minutes on processors.

Rows are MNIST's where TFDS_DATA_DIR has it, else enlarged digits; texts are random.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import machine
import matmul
import rows
import workload

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tables"))
from environments import environment  # noqa: E402

SIZES = {"dense": 60_000, "conv": 12_800, "vae": 12_800, "transformer": 18_000}  # examples of an epoch
BATCH = {"dense": 128, "conv": 128, "vae": 128, "transformer": 256}
CONTENDERS = {  # script, and what its environment holds, unless it is this one
    "zoo": ("zoo_train.py", None),
    "Keras fit": ("keras_fit.py", None),
    "PyTorch": ("peers/torch_loop.py", "pythae.txt"),
    "pythae": ("peers/pythae_trainer.py", "pythae.txt"),
    "JAX": ("jax_loop.py", None),
}
PRODUCTS = "matrix products alone"  # of the dense network, by tf.linalg.matmul: the roof, no contender
SCRIPTS = CONTENDERS | {PRODUCTS: ("matmul.py", None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("training-benchmark"))
    parser.add_argument("--networks", default=",".join(SIZES), help="names, by commas")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="names, by commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="the first, which is not measured, included")
    parser.add_argument("--float32", action="store_true", help="float32 and AVX2 only, as on a processor without bfloat16")
    options = parser.parse_args()
    print(machine.described(), "as AVX2 alone, in float32" if options.float32 else "", flush=True)
    figures = {"machine": machine.described()}
    for network in options.networks.split(","):
        figures[network] = compare(network, options)
        name = "figures-float32.json" if options.float32 else "figures.json"
        (options.folder / name).write_text(json.dumps(figures, indent=1))


def compare(network: str, options: argparse.Namespace) -> dict[str, float]:
    """The median rate of each contender, in examples/s."""
    folder = rows.write(network, SIZES[network], options.folder.resolve())
    work = workload.Workload(network, str(folder), options.epochs, BATCH[network], precision(network, options.float32))
    without = {"transformer": ["pythae"]}.get(network, []) + (
        ["JAX"] if work.precision == "bfloat16" and network in workload.CODES else []
    )
    names = [name for name in options.contenders.split(",") if name not in without]
    rates = {name: [] for name in [*names, *([PRODUCTS] if network == "dense" else [])]}
    for _ in range(options.repeats):
        for name in rates:
            rates[name] += measured(name, work, options)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, found in rates.items():
        print(f"{network}, {work.precision}, {name}: {medians[name]:,.0f} ({min(found):,.0f} … {max(found):,.0f})", flush=True)
    if "zoo" in medians and PRODUCTS in medians:
        share, flops = medians["zoo"] / medians[PRODUCTS], matmul.FLOPS * medians["zoo"] / 1e9
        print(f"  {flops:.0f} GFLOP/s, {100 * share:.0f} % of those of tf.linalg.matmul", flush=True)
    if "zoo" in medians and len(names) > 1:
        best = max((name for name in names if name != "zoo"), key=medians.get)
        print(f"  {medians['zoo'] / medians[best]:.2f} × {best}", flush=True)
    return medians


def measured(name: str, work: workload.Workload, options: argparse.Namespace) -> list[float]:
    """The rates of one process."""
    script, requirements = SCRIPTS[name]
    python = environment(HERE / "peers" / requirements, options.folder) if requirements else sys.executable
    variables = os.environ | {"PYTHONPATH": str(HERE.parents[1])} | (machine.without_bfloat16() if options.float32 else {})
    command = [python, HERE / script, json.dumps(work)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    if done.returncode:
        raise RuntimeError(f"Expected {script} to measure. Received: {done.stderr.strip()[-1500:]}. Try it by itself.")
    return json.loads(done.stdout.splitlines()[-1])


def precision(network: str, float32: bool) -> str:
    """The precision of a comparison, which is the zoo's choice."""
    from training import options
    from training.fitting import strategies

    chosen = "float32" if float32 else strategies.precision(options.experiment(workload.NETWORKS[network][0], {}))
    return {"mixed_bfloat16": "bfloat16"}.get(chosen, chosen)


if __name__ == "__main__":
    main()
