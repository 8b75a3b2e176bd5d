"""The latent space: traversals, interpolations and neighbours of codes."""

import keras
import numpy as np
from scipy.sparse.csgraph import dijkstra
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

import zoo

NODES = 2_000  # codes of data in the graph of a geodesic, approximately
NEIGHBOURS = 8  # of each node in this graph


def traverse(model: zoo.Autoencoder, codes: np.ndarray, steps: int = 11) -> np.ndarray:
    """Decoded examples `(k, steps, *shape)` for which one dimension at a time moves through `steps` of its quantiles in codes
    `(n, k)`, while the other dimensions stay at their means."""
    values = np.quantile(codes, np.linspace(0.01, 0.99, steps), axis=0).T  # (k, steps)
    moved = np.tile(codes.mean(axis=0), (model.k, steps, 1))  # (k, steps, k)
    for j in range(model.k):
        moved[j, :, j] = values[j]
    return decode(model, moved)


def length(decoded: np.ndarray) -> np.ndarray:
    """The lengths `(paths,)` of paths of decoded examples `(paths, steps, *shape)`: sums of Euclidean distances."""
    steps = np.diff(decoded.reshape(*decoded.shape[:2], -1).astype("float64"), axis=1)
    return np.linalg.norm(steps, axis=2).sum(axis=1)


def manifold(model: zoo.Autoencoder, codes: np.ndarray, steps: int = 20) -> np.ndarray:
    """A decoded grid `(steps, steps, *shape)` of two-dimensional codes, the top row first.

    The grid lines are quantiles: of a standard normal distribution if codes are drawn (Kingma and Welling, 2014, figure 4),
    otherwise of each dimension of the codes `(n, 2)`.
    """
    shares = np.linspace(0, 1, steps + 2)[1:-1]
    lines = np.tile(norm.ppf(shares), (2, 1)) if model.bottleneck.drawn else np.quantile(codes, shares, axis=0).T  # (2, steps)
    across, up = np.meshgrid(lines[0], lines[1][::-1])
    return decode(model, np.stack([across, up], axis=-1))


def straight_line(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Codes `(steps, k)` evenly spaced from one code `(k,)` to another, both ends included."""
    share = np.linspace(0, 1, steps)[:, None]
    return (1 - share) * start + share * end


def geodesic(model: zoo.Autoencoder, codes: np.ndarray, start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Codes `(steps, k)` on the path from one code to another, through codes of data, that changes the decoded example least.

    It is the shortest path in a graph of neighbouring codes, whose edges are as long as the distance of the decoded examples
    (Chen, Ferroni, Klushyn, Paraschos, Bayer and van der Smagt, 2019), sampled at equal distances. The path follows the edges
    of the graph: if data are sparse, as in many dimensions, the straight line may be shorter, as `length` shows.

    Args:
        codes: of data, `(n, k)`; the path may pass through them.
    """
    nodes = np.concatenate([[start, end], codes[:: max(1, len(codes) // NODES)]])
    decoded = decode(model, nodes).reshape(len(nodes), -1)
    graph = kneighbors_graph(nodes, min(NEIGHBOURS, len(nodes) - 1)).tocoo()
    lengths = np.linalg.norm(decoded[graph.row] - decoded[graph.col], axis=1)
    graph.data = np.maximum(lengths, 1e-9)  # a length of 0 would mean no edge
    distance, before = dijkstra(graph.tocsr(), directed=False, indices=0, return_predecessors=True)
    if not np.isfinite(distance[1]):
        return straight_line(start, end, steps)  # there is no path: the graph is not connected
    path = [1]
    while path[-1] != 0:
        path.append(before[path[-1]])
    path = path[::-1]
    at = np.linspace(0, distance[1], steps)
    return np.stack([np.interp(at, distance[path], nodes[path, j]) for j in range(nodes.shape[1])], axis=1)


def nearest(codes: np.ndarray, queries: np.ndarray, count: int) -> np.ndarray:
    """The numbers `(m, count)` of the codes `(n, k)` that are nearest to each query `(m, k)`, the nearest first."""
    return NearestNeighbors(n_neighbors=count, algorithm="brute").fit(codes).kneighbors(queries, return_distance=False)


def decode(model: zoo.Autoencoder, codes: np.ndarray) -> np.ndarray:
    """Decodes codes `(…, k)` to examples `(…, *shape)`."""
    flat = codes.reshape(-1, model.k).astype("float32")
    decoded = [keras.ops.convert_to_numpy(model.decode(flat[i : i + 1000])) for i in range(0, len(flat), 1000)]
    return np.concatenate(decoded).reshape(*codes.shape[:-1], *model.shape)
