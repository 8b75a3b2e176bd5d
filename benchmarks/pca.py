"""PCA in closed form: `LinearAutoencoder.solve` against the solvers of scikit-learn, measured in one process.

    TFDS_DATA_DIR=… python benchmarks/pca.py            # MNIST, k = 32
    python benchmarks/pca.py --dataset=digits --k=8     # no download

The solvers are measured in turn. Prints the median time of each, how many times faster `solve` is, and the subspace error of
`solve`: the sine of the largest angle between its subspace and that of a float64 decomposition.
"""

import argparse
import statistics
import time

import training  # first: it imports TensorFlow quietly

import numpy as np  # isort: skip
import scipy.linalg
from sklearn.decomposition import PCA, IncrementalPCA

import zoo

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--dataset", default="mnist")
parser.add_argument("--k", type=int, default=32)
parser.add_argument("--repeats", type=int, default=5)
options = parser.parse_args()

x = training.load(options.dataset).train.arrays["x"]
flat = x.reshape(len(x), -1)
model = zoo.linear_autoencoder(x.shape[1:], options.k)
contenders = {
    "zoo solve": lambda: model.solve(x),
    "scikit-learn PCA, covariance_eigh": lambda: PCA(options.k, svd_solver="covariance_eigh").fit(flat),
    "scikit-learn IncrementalPCA": lambda: IncrementalPCA(options.k, batch_size=2048).fit(flat),
}
times: dict[str, list[float]] = {name: [] for name in contenders}
for _ in range(options.repeats):
    for name, fit in contenders.items():
        start = time.perf_counter()
        fit()
        times[name].append(time.perf_counter() - start)

medians = {name: statistics.median(values) for name, values in times.items()}
print(f"{options.dataset}, {flat.shape[0]:,} × {flat.shape[1]:,}, k = {options.k}, median of {options.repeats}")
for name, median in medians.items():
    print(f"  {name:<36}{median:8.3f} s   solve is {median / medians['zoo solve']:.2g} times as fast")

centred = flat.astype("float64") - flat.mean(axis=0, dtype="float64")
exact = np.linalg.eigh(centred.T @ centred)[1][:, -options.k :]
solved = model.bottleneck.projection.get_weights()[0].astype("float64")
print(f"  subspace error of solve: {np.sin(scipy.linalg.subspace_angles(solved, exact)).max():.1e}")
