"""The evidence lower bound of presets on their test splits: `python benchmarks/elbo.py vae_mnist vae_mnist_k2`.

Prints those figures of the model cards that depend on draws from the posterior. It takes about a minute on two cores;
with `--nll`, which adds −log p(x) by importance sampling, several times that.
"""

import argparse

import zoo
from training import EXPERIMENTS, kinds
from training.evaluation import arrays as evaluation


def main(names: list[str], nll: bool) -> None:
    judge = evaluation.likelihood if nll else evaluation.elbo
    for name in names:
        experiment, model = EXPERIMENTS[name], zoo.load(name)
        figures = judge(model, kinds.open_data(experiment), experiment)
        for key, value in figures.items():
            print(f"{name:<16}{key:<40}{value:>12.5g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["vae_mnist", "vae_mnist_k2"], help="presets")
    parser.add_argument("--nll", action="store_true", help="estimate −log p(x) too")
    main(**vars(parser.parse_args()))
