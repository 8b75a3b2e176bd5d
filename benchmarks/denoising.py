"""Denoising MNIST: the peak signal-to-noise ratio of a denoising autoencoder, of the same model trained without noise, and of
a Gaussian blur with the best width for each level of noise.

    TFDS_DATA_DIR=… python benchmarks/denoising.py

Trains `denoising_mnist_k64`, with and without noise, unless both are in `runs/`.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

import training
from training import kinds

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5)
WIDTHS = np.arange(0.3, 1.6, 0.1)  # of the blur, in pixels


def main() -> None:
    experiment = training.EXPERIMENTS["denoising_mnist_k64"]
    denoising = training.train(experiment, "runs/denoising_mnist_k64").load_model()
    noiseless = training.train(experiment.override(corruption="none"), "runs/denoising_mnist_k64_plain").load_model()
    data = kinds.open_data(experiment)
    x = data.test.arrays["x"]
    rng = np.random.default_rng(0)
    tuned = data.train.arrays["x"][:1000]  # the blur's width is chosen on training images
    print("| PSNR, dB, at noise | " + " | ".join(map(str, LEVELS)) + " |\n|---|" + "---|" * len(LEVELS))
    rows = {"noisy input": [], "Gaussian blur": [], "plain autoencoder": [], "denoising autoencoder": []}
    for level in LEVELS:
        noisy = (x + level * rng.normal(size=x.shape)).astype("float32")
        trial = tuned + level * rng.normal(size=tuned.shape)
        width = max(WIDTHS, key=lambda width: psnr(tuned, _blurred(trial, width)))
        rows["noisy input"].append(psnr(x, noisy))
        rows["Gaussian blur"].append(psnr(x, _blurred(noisy, width)))
        rows["plain autoencoder"].append(psnr(x, np.asarray(noiseless.reconstruct(noisy))))
        rows["denoising autoencoder"].append(psnr(x, np.asarray(denoising.reconstruct(noisy))))
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")


def psnr(x: np.ndarray, restored: np.ndarray) -> float:
    """10 log₁₀(1 / mean squared error) in dB, for values in [0, 1]; the mean is over all pixels of all images."""
    return float(-10 * np.log10(np.mean(np.square(x - restored))))


def _blurred(x: np.ndarray, width: float) -> np.ndarray:
    return gaussian_filter(x, (0, width, width, 0))


if __name__ == "__main__":
    main()
