"""The linear start of an autoencoder of tables: every column regressed on the others, through k numbers."""

from collections.abc import Iterator

import numpy as np
from keras import ops

from zoo.tables import TableAutoencoder

KEPT = 0.75  # probability with which a cell is seen, as with `zoo.HideCells()`
SHRINKAGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # tried, in units of the inputs' variances
MOST_INPUTS = 1_024  # above that, the regressions take too long
FOLDS, MASKS = 3, 5  # of the rows, and sets of hidden cells for each, by which shrinkages are judged
MOST_JUDGED, WORK = 6_000, 2**31  # most rows, and most rows times inputs²
CERTAIN = 0.01  # least share of the variance that is taken to be unexplained


def start_as_regression(model: TableAutoencoder, x: np.ndarray) -> None:
    """Sets the projections of a model so that it fills in a cell as the ridge regression on the other cells of its row does,
    of which a quarter are hidden at random, in closed form (Chen et al., 2012, "Marginalized denoising autoencoders for domain
    adaptation"), as far as k numbers allow.

    They read the linear paths of the bodies alone: what the layers beside them compute has the weight 0 at first. The shrinkage
    λ of each column, and the spread of its likelihood, are those that cross-validation gives. With more than `MOST_INPUTS`
    inputs nothing is set.

    Args:
        x: cells `(n, C)` of the training split.

    Raises:
        ValueError: bodies without a linear path, or a code with an activation.
    """
    projection, inputs = model.bottleneck.projection, model.encoder.layers[0]
    if not model.has_linear_path or getattr(model.bottleneck, "activation", "linear") != "linear" or not projection.use_bias:
        raise ValueError(
            f"Expected bodies with a linear path, and a linear code with a bias. Received: {type(model.bottleneck).__name__} "
            f"on {model.encoder.name}. Try --body=residual."
        )
    owners = inputs.owners  # (F,)
    if len(owners) > MOST_INPUTS:
        return
    z, seen = _inputs(inputs, x, owners)
    mean = z.sum(axis=0) / np.maximum(seen.sum(axis=0), 1.0)
    z = seen * (z - mean)
    covariance = _covariance(z)
    coefficients, unexplained = _coefficients(covariance, owners, _judged(z, seen, owners))
    spread = np.sqrt(np.bincount(owners, np.diag(covariance)))[owners] + 1e-3  # of its column, by which errors are divided
    encode, decode = _factors(_masked(covariance, owners), coefficients / spread, model.k)
    _set_encoder(projection, encode, mean, owners, x.shape[1])
    _set_head(model, decode * spread, unexplained)


def _inputs(layer, x, owners) -> tuple[np.ndarray, np.ndarray]:
    """The inputs `(n, F)` of cells, without the flags, and which of them are seen."""
    z = ops.convert_to_numpy(layer(ops.convert_to_tensor(x))).astype("float64")
    missing, z = z[:, : x.shape[1]], z[:, x.shape[1] :]
    return z, 1.0 - missing[:, owners]


def _judged(z: np.ndarray, seen: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The share of each column's variance that regressions of each shrinkage leave unexplained in rows to which they are not
    fitted, `(shrinkages, C)`."""
    random = np.random.default_rng(0)
    rows = random.permutation(len(z))[: min(MOST_JUDGED, WORK // z.shape[1] ** 2)]
    errors, whole = np.zeros((len(SHRINKAGES), len(owners))), 1e-9 + np.sum(np.square(z[rows]), axis=0)
    for fold in range(FOLDS):
        others, own = np.delete(rows, slice(fold, None, FOLDS)), np.tile(rows[fold::FOLDS], MASKS)
        given = z[own] * (random.random((len(own), owners.max() + 1)) < KEPT)[:, owners]
        for place, found in enumerate(_regressions(_covariance(z[others]), owners)):
            errors[place] += np.sum(seen[own] * np.square(z[own] - given @ found), axis=0) / MASKS
    whole = np.bincount(owners, whole)
    return np.stack([np.bincount(owners, each) for each in errors]) / whole


def _coefficients(covariance: np.ndarray, owners: np.ndarray, judged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients `(F, F)` with which each column's inputs are expected from those of the others, each column with the best
    shrinkage, and 0 where the mean is better; and the share of its variance that is then unexplained, `(C,)`."""
    coefficients, best = np.zeros(covariance.shape), np.argmin(judged, axis=0)
    lowest = judged[best, np.arange(len(best))]
    for place, found in enumerate(_regressions(covariance, owners)):
        chosen = ((best == place) & (lowest < 1.0))[owners]
        coefficients[:, chosen] = found[:, chosen]
    return coefficients, np.clip(lowest, CERTAIN, 1.0)


def _regressions(covariance: np.ndarray, owners: np.ndarray) -> Iterator[np.ndarray]:
    """The coefficients `(F, F)` of each shrinkage."""
    scales = np.diag(np.maximum(np.diag(covariance), 1e-3))
    for shrinkage in SHRINKAGES:
        yield _regression(_masked(covariance, owners) + shrinkage * scales, owners)


def _covariance(z: np.ndarray) -> np.ndarray:
    return z.T @ z / max(len(z), 1)


def _masked(covariance: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """The covariance of inputs of which each column is 0 with the probability 1 − KEPT."""
    return covariance * np.where(owners[:, None] == owners, KEPT, KEPT**2) + 1e-6 * np.eye(len(owners))


def _regression(covariance: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Of each column's inputs, the coefficients of those of the other columns: for the block j of the precision P,
    −P_·j P_jj⁻¹."""
    precision, coefficients = np.linalg.inv(covariance), np.zeros(covariance.shape)
    for owner in np.unique(owners):
        own = owners == owner
        coefficients[np.ix_(~own, own)] = -precision[np.ix_(~own, own)] @ np.linalg.inv(precision[np.ix_(own, own)]) / KEPT
    return coefficients


def _factors(covariance: np.ndarray, coefficients: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best factors `(F, k)` and `(k, F)` of coefficients of inputs with this covariance; codes have variance 1."""
    root = np.linalg.cholesky(covariance)
    left, values, right = np.linalg.svd(root.T @ coefficients, full_matrices=False)
    encode, decode = np.zeros((len(root), k)), np.zeros((k, coefficients.shape[1]))
    rank = min(k, len(values))
    encode[:, :rank], decode[:rank] = np.linalg.solve(root.T, left[:, :rank]), values[:rank, None] * right[:rank]
    return encode, decode


def _set_encoder(projection, encode, mean, owners, columns) -> None:
    k = encode.shape[1]
    kernel, bias = (np.zeros(weight.shape, "float32") for weight in projection.weights)
    flags = np.zeros((columns, k))
    np.add.at(flags, owners, mean[:, None] * encode)  # a missing cell counts as the mean
    kernel[: columns + len(encode), :k] = np.concatenate([flags, encode])
    bias[:k] = -mean @ encode
    bias[k:] = -3.0  # codes that are drawn are drawn close to their means
    projection.set_weights([kernel, bias])


def _set_head(model, decode, unexplained) -> None:
    """The head, given how the inputs follow from codes, `(k, F)`, and what is not explained of each column, `(C,)`."""
    kernel, bias = (np.zeros(weight.shape, "float32") for weight in model.head.get_weights())
    first_input = first = 0
    for places, group in model.likelihood.groups:
        bias[first : first + group.parameters] = group.start(unexplained[places])
        for block in group.links(unexplained[places]):  # (inputs, parameters) of a column
            inputs, parameters = block.shape
            kernel[: len(decode), first : first + parameters] = decode[:, first_input : first_input + inputs] @ block
            first_input, first = first_input + inputs, first + parameters
    model.head.set_weights([kernel, bias])
