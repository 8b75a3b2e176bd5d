"""The measures of generated data, in cases where their values are known."""

import numpy as np
import pytest

from training.evaluation import generation


def test_frechet_distance_between_gaussians():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(50_000, 3)), 2 + 3 * rng.normal(size=(50_000, 3))
    assert generation.frechet_distance(left, left) == pytest.approx(0, abs=1e-6)
    exact = 3 * 2**2 + 3 * (3 - 1) ** 2  # squared difference of means and of standard deviations, by dimension
    assert generation.frechet_distance(left, right) == pytest.approx(exact, rel=0.02)


def test_precision_and_recall_tell_quality_from_variety():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(size=(300, 2)), 20 + rng.normal(size=(300, 2))])
    one_mode = rng.normal(size=(600, 2))
    noise = rng.uniform(-100, 100, (600, 2))
    precision, recall = generation.precision_recall(real, one_mode)
    assert precision > 0.9 and 0.4 < recall < 0.6
    precision, _ = generation.precision_recall(real, noise)
    assert precision < 0.1


def test_copies_lie_nearer_to_the_training_data_than_held_out_examples():
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(500, 4, 4, 1)), rng.normal(size=(200, 4, 4, 1))
    held, copied = generation.copying(train, held_out, train[:200] + 1e-3)
    assert copied < 0.1 * held
    held, new = generation.copying(train, held_out, rng.normal(size=(200, 4, 4, 1)))
    assert new == pytest.approx(held, rel=0.1)


def test_only_data_of_the_judges_own_kind_are_judged():
    assert generation.judge("mnist", (28, 28, 1)).classifier
    assert generation.judge("mnist", (14, 14, 1)) is None
    assert generation.judge("digits", (8, 8, 1)) is None
