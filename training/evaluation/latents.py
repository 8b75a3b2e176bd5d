"""The latent space: what its codes decode to, and which lie together."""

import keras
import numpy as np
from scipy.sparse.csgraph import dijkstra
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

import zoo

NODES = 2_000  # codes that a geodesic may pass
NEIGHBOURS = 8  # of each, that it may go on to


def traverse(model: zoo.Autoencoder, codes: np.ndarray, steps: int = 11) -> np.ndarray:
    """Every code dimension moved through `steps` quantiles of its own among codes `(n, k)`, the others held at their mean;
    decoded, `(k, steps, *shape)`."""
    values = np.quantile(codes, np.linspace(0.01, 0.99, steps), axis=0).T  # (k, steps)
    moved = np.tile(codes.mean(axis=0), (model.k, steps, 1))  # (k, steps, k)
    for j in range(model.k):
        moved[j, :, j] = values[j]
    return decode(model, moved)


def length(decoded: np.ndarray) -> np.ndarray:
    """How far decoded examples move along ways `(ways, steps, *shape)`: Euclidean distances, summed step by step, `(ways,)`."""
    steps = np.diff(decoded.reshape(*decoded.shape[:2], -1).astype("float64"), axis=1)
    return np.linalg.norm(steps, axis=2).sum(axis=1)


def manifold(model: zoo.Autoencoder, codes: np.ndarray, steps: int = 20) -> np.ndarray:
    """The plane of two-dimensional codes as a grid, decoded, `(steps, steps, *shape)`, rows from the top.

    Grid lines are quantiles: of the standard normal prior where there is one (Kingma and Welling, 2014, figure 4), else of
    each dimension of the codes `(n, 2)`.
    """
    shares = np.linspace(0, 1, steps + 2)[1:-1]
    lines = np.tile(norm.ppf(shares), (2, 1)) if model.bottleneck.prior else np.quantile(codes, shares, axis=0).T  # (2, steps)
    across, up = np.meshgrid(lines[0], lines[1][::-1])
    return decode(model, np.stack([across, up], axis=-1))


def straight_line(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Codes `(steps, k)` evenly spaced from one code `(k,)` to another, both included."""
    share = np.linspace(0, 1, steps)[:, None]
    return (1 - share) * start + share * end


def geodesic(model: zoo.Autoencoder, codes: np.ndarray, start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Codes `(steps, k)` on the way from one code to another, through codes of data, that changes the decoded data least.

    The way is the shortest path in a graph of neighbouring codes whose edges are as long as the decoded examples are apart
    (Chen, Ferroni, Klushyn, Paraschos, Bayer and van der Smagt, 2019), read off at equal lengths. It has the corners of the
    graph: where data are sparse, as in many dimensions, the straight line may well be shorter (`length` tells).

    Args:
        codes: those of data, `(n, k)`, which the path may pass.
    """
    nodes = np.concatenate([[start, end], codes[:: max(1, len(codes) // NODES)]])
    decoded = decode(model, nodes).reshape(len(nodes), -1)
    graph = kneighbors_graph(nodes, min(NEIGHBOURS, len(nodes) - 1)).tocoo()
    lengths = np.linalg.norm(decoded[graph.row] - decoded[graph.col], axis=1)
    graph.data = np.maximum(lengths, 1e-9)  # 0 would be no edge
    distance, before = dijkstra(graph.tocsr(), directed=False, indices=0, return_predecessors=True)
    if not np.isfinite(distance[1]):
        return straight_line(start, end, steps)  # in two islands of the graph
    path = [1]
    while path[-1] != 0:
        path.append(before[path[-1]])
    path = path[::-1]
    at = np.linspace(0, distance[1], steps)
    return np.stack([np.interp(at, distance[path], nodes[path, j]) for j in range(nodes.shape[1])], axis=1)


def nearest(codes: np.ndarray, queries: np.ndarray, count: int) -> np.ndarray:
    """Rows of the codes `(n, k)` nearest to each query `(m, k)`, the nearest first, `(m, count)`."""
    return NearestNeighbors(n_neighbors=count, algorithm="brute").fit(codes).kneighbors(queries, return_distance=False)


def decode(model: zoo.Autoencoder, codes: np.ndarray) -> np.ndarray:
    """Codes `(…, k)` to data `(…, *shape)`."""
    flat = codes.reshape(-1, model.k).astype("float32")
    decoded = [keras.ops.convert_to_numpy(model.decode(flat[i : i + 1000])) for i in range(0, len(flat), 1000)]
    return np.concatenate(decoded).reshape(*codes.shape[:-1], *model.shape)
