"""The latent space: traversals, the plane, paths between codes, neighbours."""

import numpy as np
import pytest

import zoo
from training.evaluation import latents


@pytest.fixture(scope="module")
def pca(digits) -> zoo.Autoencoder:
    return zoo.pca(digits, 2)


@pytest.fixture(scope="module")
def codes(pca, digits) -> np.ndarray:
    return np.asarray(pca.encode(digits))


def test_a_traversal_moves_one_dimension(pca, codes):
    decoded = latents.traverse(pca, codes, steps=5)
    assert decoded.shape == (2, 5, 8, 8, 1)
    moved = np.asarray(pca.encode(decoded.reshape(-1, 8, 8, 1))).reshape(2, 5, 2)
    for j in (0, 1):
        np.testing.assert_allclose(moved[j, :, j], np.quantile(codes[:, j], np.linspace(0.01, 0.99, 5)), atol=1e-4)
        assert np.ptp(moved[j, :, 1 - j]) < 1e-4


def test_the_other_dimensions_of_a_traversal_are_held_at_their_mean(pca, codes):
    moved = np.asarray(pca.encode(latents.traverse(pca, codes, steps=3).reshape(-1, 8, 8, 1))).reshape(2, 3, 2)
    np.testing.assert_allclose([moved[0, :, 1], moved[1, :, 0]], np.tile(codes.mean(axis=0)[::-1, None], 3), atol=1e-4)


def test_the_length_of_a_way_is_that_of_its_steps():
    corner = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(latents.length(np.stack([corner, np.zeros((3, 2))])), [7, 0])


def test_the_plane_is_at_quantiles_of_the_codes_or_of_the_prior(pca, codes):
    grid = latents.manifold(pca, codes, steps=4)
    at = np.asarray(pca.encode(grid.reshape(-1, 8, 8, 1))).reshape(4, 4, 2)
    shares = [0.2, 0.4, 0.6, 0.8]
    np.testing.assert_allclose(at[0, :, 0], np.quantile(codes[:, 0], shares), atol=1e-4)
    np.testing.assert_allclose(at[::-1, 0, 1], np.quantile(codes[:, 1], shares), atol=1e-4)  # rows from the top
    vae = zoo.Autoencoder(zoo.linear((6,)), zoo.Gaussian(2), zoo.linear(), zoo.SquaredError())
    grid = latents.manifold(vae, codes, steps=3)
    middle = np.asarray(vae.decode(np.zeros((1, 2))))
    np.testing.assert_allclose(grid[1, 1], middle[0], atol=1e-5)


def test_the_geodesic_goes_around_where_the_straight_line_leaves_the_data():
    """Codes on three quarters of a circle, decoded as they are: the way along the arc is short in steps between neighbours."""
    angles = np.linspace(0, 1.5 * np.pi, 400)
    codes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    model = zoo.Autoencoder(zoo.linear((2,)), zoo.Deterministic(2), zoo.linear(), zoo.SquaredError(), overcomplete=True)
    model.head.set_weights([np.eye(2), np.zeros(2)])
    way = latents.geodesic(model, codes, codes[0], codes[-1], 20)
    np.testing.assert_allclose(way[[0, -1]], codes[[0, -1]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1, atol=0.01)
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert steps.max() < 1.2 * steps.min()  # at equal lengths
    straight = latents.straight_line(codes[0], codes[-1], 20)
    assert np.linalg.norm(straight, axis=1).min() < 0.75


def test_between_two_islands_the_line_is_straight():
    codes = np.concatenate([np.random.default_rng(0).normal(size=(50, 2)), 100 + np.random.default_rng(1).normal(size=(50, 2))])
    model = zoo.Autoencoder(zoo.linear((2,)), zoo.Deterministic(2), zoo.linear(), zoo.SquaredError(), overcomplete=True)
    way = latents.geodesic(model, codes, codes[0], codes[-1], 5)
    np.testing.assert_allclose(way, latents.straight_line(codes[0], codes[-1], 5))


def test_nearest_neighbours(codes):
    rows = latents.nearest(codes, codes[:3], 4)
    np.testing.assert_array_equal(rows[:, 0], [0, 1, 2])
    distances = np.linalg.norm(codes[rows] - codes[:3, None], axis=2)
    assert (np.diff(distances, axis=1) >= 0).all()
