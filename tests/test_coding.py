"""What coders are made of: functions that are the same everywhere, the stack, codes on a grid, networks in exact numbers."""

import keras
import numpy as np
import pytest
from scipy.special import expit, ndtr
from scipy.stats import multivariate_normal

import zoo
from zoo.coding import curves, networks
from zoo.coding.codes import Grid, MixturePrior, NormalPrior
from zoo.coding.stack import BIT, Distribution, Stack, costs

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("exp", np.exp),
        ("sigmoid", expit),
        ("tanh", np.tanh),
        ("softplus", lambda x: np.logaddexp(0, x)),
        ("normal_cdf", ndtr),
        ("gelu", lambda x: x * ndtr(x)),
        ("silu", lambda x: x * expit(x)),
        ("sine", lambda x: np.sin(np.pi * x / 2)),
    ],
)
def test_a_curve_is_the_function_within_its_error(name, known):
    curve = getattr(curves, name)
    x = RANDOM.uniform(curve.low, curve.high, 10_000)
    np.testing.assert_allclose(curve(x), known(x), rtol=2e-10, atol=1e-9)
    beyond = np.array([curve.low - 1.0, curve.high + 1.0])
    expected = np.array([curve(np.array([float(curve.low)]))[0], known(beyond[1]) if curve.after else curve([curve.high])[0]])
    np.testing.assert_allclose(curve(beyond), expected, rtol=1e-9, atol=1e-9)


def test_curves_have_the_bits_that_files_were_written_with():
    """Files hold what these numbers led to; another last bit, and they could not be read."""
    x = np.array([-3.7, -0.1, 0.3, 2.9])
    found = {name: [value.hex() for value in getattr(curves, name)(x)] for name in ("exp", "sigmoid", "normal_cdf")}
    assert found == BITS


BITS = {
    "exp": ["0x1.9511fc6801fc1p-6", "0x1.cf46d99c366a9p-1", "0x1.599058c862f0cp+0", "0x1.22c94ca6f5afap+4"],
    "sigmoid": ["0x1.8b4c0ffbccea1p-6", "0x1.e66bdb1ad9d7fp-2", "0x1.261d545e3cb63p-1", "0x1.e54c20d07052dp-1"],
    "normal_cdf": ["0x1.c42514cf8bbf7p-14", "0x1.d7375f15fe88cp-2", "0x1.3c5ee2cc11ad4p-1", "0x1.ff0b71b1e75eap-1"],
}


def _levels(size: int, count: int) -> tuple[Distribution, np.ndarray, np.ndarray]:
    """Numbers from 0 to count − 1, each with probabilities of its own, and the bits that they take."""
    shares = RANDOM.dirichlet(np.full(count, 0.3), size)
    edges = np.cumsum(shares, axis=1)
    numbers = np.array([RANDOM.choice(count, p=row / row.sum()) for row in shares])
    distribution = Distribution(size, 0, count, lambda edge, places: edges[places, edge - 1], ends_first=count > 16)
    return distribution, numbers, -np.log2(shares[np.arange(size), numbers])


@pytest.mark.parametrize("count", [2, 3, 17, 256])
def test_a_stack_gives_back_what_was_pushed_and_takes_the_bits_of_its_probability(count):
    distribution, numbers, bits = _levels(500, count)
    stack = Stack()
    before = stack.bits
    stack.push(distribution, numbers)
    assert stack.bits - before == pytest.approx(bits.sum(), rel=0.01)
    np.testing.assert_allclose(costs(distribution, numbers) / BIT, bits, atol=0.01)
    assert np.array_equal(stack.pop(distribution), numbers)
    stack.require_known()


def test_what_is_popped_from_known_bits_is_a_draw_and_can_be_put_back():
    size, count = 4_000, 3
    shares = np.array([0.6, 0.1, 0.3])
    distribution = Distribution(size, 0, count, lambda edges, places: np.cumsum(shares)[edges - 1])
    stack = Stack(known=size)
    drawn = stack.pop(distribution)
    np.testing.assert_allclose(np.bincount(drawn) / size, shares, atol=0.03)
    words = stack.words()
    again = Stack(words)
    again.push(distribution, drawn)
    again.require_known()
    with pytest.raises(ValueError, match="does not end where it began"):
        Stack(words).require_known()


def test_a_stack_that_was_emptied_says_so():
    stack = Stack(known=4)
    stack.pop(_levels(500, 17)[0])
    assert stack.exhausted and not Stack(known=4).exhausted


def _mixture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scales = np.tril(RANDOM.normal(0, 0.3, (3, 4, 4)))
    scales[:, range(4), range(4)] = RANDOM.uniform(0.3, 1.0, (3, 4))
    return np.array([0.5, 0.3, 0.2]), RANDOM.normal(0, 2, (3, 4)), scales


@pytest.mark.parametrize("kind", ["normal", "mixture"])
def test_codes_cost_their_log_probability_on_the_grid(kind):
    grid = Grid(np.array([-4, -5, -4, -3]), 10)
    rows = 300
    if kind == "normal":
        prior, codes = NormalPrior(grid), RANDOM.normal(size=(rows, 4))
        log_prob = multivariate_normal(np.zeros(4)).logpdf
    else:
        proportions, means, scales = _mixture()
        prior = MixturePrior(grid, proportions, means, scales)
        component = RANDOM.choice(3, size=rows, p=proportions)
        codes = means[component] + np.einsum("bij,bj->bi", scales[component], RANDOM.normal(size=(rows, 4)))
        parts = [multivariate_normal(mean, scale @ scale.T) for mean, scale in zip(means, scales, strict=True)]
        log_prob = lambda codes: np.log(sum(p * part.pdf(codes) for p, part in zip(proportions, parts, strict=True)))  # noqa: E731
    cells = np.floor(codes / grid.steps).astype("int64")
    stack = Stack(known=2_000)
    before = stack.bits
    prior.push(stack, cells)
    ideal = -log_prob(grid.middles(cells)).sum() / np.log(2) - rows * np.log2(grid.steps).sum()
    assert stack.bits - before == pytest.approx(ideal, rel=0.01)
    assert np.array_equal(prior.pop(stack, rows), cells)
    stack.require_known()


SHAPE = (8, 8, 1)
BODIES = {
    "dense": lambda: (zoo.dense((32, 16), "gelu", SHAPE), zoo.dense((16, 32), "gelu")),
    "tanh": lambda: (zoo.dense((32,), "tanh", SHAPE), zoo.dense((32,), "silu")),
    "conv": lambda: (zoo.conv(SHAPE, 8, hidden=(16,)), zoo.conv_decoder(SHAPE, 8, hidden=(16,))),
    "odd": lambda: (zoo.conv((9, 11, 1), 4), zoo.conv_decoder((9, 11, 1), 4)),
    "pca": lambda: zoo.bodies.dense_body(SHAPE, width=16, depth=1, start="pca"),
    "residual": lambda: zoo.bodies.residual_body((12,), width=16),
}


@pytest.mark.parametrize("body", BODIES)
def test_the_portable_network_is_the_model_up_to_rounding_and_the_same_in_any_batch_and_order(body):
    keras.utils.set_random_seed(0)
    encoder, decoder = BODIES[body]()
    model = zoo.Autoencoder(encoder, zoo.Gaussian(3), decoder, zoo.Bernoulli())
    for weight in model.weights:  # biases and second convolutions begin at zero
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.05, seed=1))
    x = RANDOM.random((70, *model.shape)).astype("float32")
    portable, native = networks.Portable(model), networks.Native(model)
    outputs = portable.outputs(x)
    mean = outputs[:, :3]
    parameters = portable.parameters(mean)
    np.testing.assert_allclose(outputs, native.outputs(x), atol=2e-3)
    np.testing.assert_allclose(parameters, native.parameters(mean), atol=5e-3)
    assert np.array_equal(portable.outputs(x[69:])[0], outputs[69])
    assert np.array_equal(portable.parameters(mean[::-1])[::-1], parameters)


def test_layers_that_cannot_be_computed_exactly_are_named():
    keras.utils.set_random_seed(0)
    decoder = keras.Sequential([keras.layers.Dense(8), keras.layers.LayerNormalization(name="norm")])
    model = zoo.Autoencoder(zoo.dense((8,), shape=(12,)), zoo.Gaussian(2), decoder, zoo.Bernoulli())
    with pytest.raises(ValueError, match=r"Received: LayerNormalization \(norm\)\. Try portable=False"):
        networks.Portable(model)
