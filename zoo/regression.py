"""The linear start of an autoencoder of tables: every column regressed on the others, through k numbers."""

import numpy as np
from keras import ops

from zoo.columns import Columns
from zoo.tables import TableAutoencoder

KEPT = 0.75  # probability with which a cell is seen, as with `zoo.HideCells()`
SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 1.0)  # tried, in units of the inputs' variances


def start_as_regression(model: TableAutoencoder, x: np.ndarray, held_out: np.ndarray) -> None:
    """Sets the projections of a model so that it fills in a cell as the ridge regression on the other cells of its row does,
    of which a quarter are hidden at random, in closed form (Chen et al., 2012, "Marginalized denoising autoencoders for domain
    adaptation"), as far as k numbers allow.

    They read the linear paths of the bodies alone: what the layers beside them compute has the weight 0 at first.

    Args:
        x: cells `(n, C)` of the training split.
        held_out: other cells, by whose loss λ of the ridge regression is chosen among `SHRINKAGES`.

    Raises:
        ValueError: bodies without a linear path, or a code with an activation.
    """
    projection = model.bottleneck.projection
    if not model.has_linear_path or getattr(model.bottleneck, "activation", "linear") != "linear" or not projection.use_bias:
        raise ValueError(
            f"Expected bodies with a linear path, and a linear code with a bias. Received: {type(model.bottleneck).__name__} on "
            f"{model.encoder.name}. Try --body=residual."
        )
    held_out, losses = ops.convert_to_tensor(held_out), []
    for shrinkage in SHRINKAGES:
        _start(model, x, shrinkage)
        losses.append(-float(ops.mean(model(held_out, training=False)["objective"])))
    _start(model, x, SHRINKAGES[int(np.argmin(losses))])


def _start(model: TableAutoencoder, x: np.ndarray, shrinkage: float) -> None:
    projection, inputs = model.bottleneck.projection, model.encoder.layers[0]
    z = ops.convert_to_numpy(inputs(ops.convert_to_tensor(x))).astype("float64")
    owners, links = _blocks(inputs.groups), _links(inputs.groups)
    missing, z = z[:, : x.shape[1]], z[:, x.shape[1] :]
    seen = 1.0 - missing[:, owners]  # (n, F)
    mean = z.sum(axis=0) / np.maximum(seen.sum(axis=0), 1.0)
    z = seen * (z - mean)
    covariance = z.T @ z / len(z)
    same = owners[:, None] == owners
    masked = covariance * np.where(same, KEPT, KEPT**2) + shrinkage * np.diag(np.maximum(np.diag(covariance), 1e-3))
    spread = np.sqrt(np.bincount(owners, np.diag(covariance))[owners])  # of the input's column, by which its errors are divided
    encode, decode = _factors(masked, _regression(masked, owners) / np.maximum(spread, 1e-3), model.k)
    decode = decode * spread @ links  # (k, P)
    kernel, bias = (np.zeros(weight.shape, "float32") for weight in projection.weights)
    flags = np.zeros((x.shape[1], model.k))
    np.add.at(flags, owners, mean[:, None] * encode)  # a missing cell counts as the mean
    kernel[: len(flags) + len(encode), : model.k] = np.concatenate([flags, encode])
    bias[: model.k] = -mean @ encode
    bias[model.k :] = -3.0  # codes that are drawn are drawn close to their means
    projection.set_weights([kernel, bias])
    kernel, bias = (np.array(weight) for weight in model.head.get_weights())
    kernel[:] = 0.0
    kernel[: model.k] = decode
    model.head.set_weights([kernel, bias])


def _blocks(groups: list[tuple[np.ndarray, Columns]]) -> np.ndarray:
    """The column that each input is of, `(F,)`."""
    return np.concatenate([np.repeat(places, group.width // group.size) for places, group in groups])


def _links(groups: list[tuple[np.ndarray, Columns]]) -> np.ndarray:
    """The derivatives of all parameters by all inputs, `(F, P)`."""
    blocks = [block for _, group in groups for block in group.links()]
    links, row, column = np.zeros(np.sum([block.shape for block in blocks], axis=0)), 0, 0
    for block in blocks:
        links[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return links


def _regression(covariance: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Coefficients `(F, F)` with which each column's inputs are expected from those of the other columns: for the block j of
    the precision P they are −P_·j P_jj⁻¹."""
    precision, coefficients = np.linalg.inv(covariance), np.zeros(covariance.shape)
    for owner in np.unique(owners):
        own = owners == owner
        coefficients[np.ix_(~own, own)] = -precision[np.ix_(~own, own)] @ np.linalg.inv(precision[np.ix_(own, own)]) / KEPT
    return coefficients


def _factors(covariance: np.ndarray, coefficients: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best factors `(F, k)` and `(k, P)` of coefficients of inputs with this covariance; codes have variance 1."""
    root = np.linalg.cholesky(covariance)
    left, values, right = np.linalg.svd(root.T @ coefficients, full_matrices=False)
    encode, decode = np.zeros((len(root), k)), np.zeros((k, coefficients.shape[1]))
    rank = min(k, len(values))
    encode[:, :rank], decode[:rank] = np.linalg.solve(root.T, left[:, :rank]), values[:rank, None] * right[:rank]
    return encode, decode
