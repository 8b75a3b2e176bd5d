"""The evidence lower bound of presets on their test splits: `python benchmarks/elbo.py vae_mnist vae_mnist_k2`.

Prints those figures of the model cards that depend on draws from the posterior. It takes about a minute on two cores.
"""

import sys

import zoo
from training import EXPERIMENTS, kinds
from training.evaluation import arrays as evaluation


def main(names: list[str]) -> None:
    for name in names:
        experiment, model = EXPERIMENTS[name], zoo.load(name)
        figures = evaluation.elbo(model, kinds.open_data(experiment), experiment)
        for key, value in figures.items():
            print(f"{name:<16}{key:<40}{value:>12.5g}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["vae_mnist", "vae_mnist_k2"])
