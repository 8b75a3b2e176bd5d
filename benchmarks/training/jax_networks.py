"""The networks by hand in JAX: parameters in trees of arrays, and the loss as a function of them."""

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import workload

PAD, START = 0, 1


def parameters(network: str, sizes: tuple[int, int] = (0, 0)):
    """Initial parameters; `sizes` are those of the vocabularies."""
    keys = _keys(jax.random.key(0))
    if network == "dense":
        return [_dense(keys, *pair) for pair in zip(workload.WIDTHS, workload.WIDTHS[1:], strict=False)]
    return _transformer(keys, *sizes) if network == "transformer" else _conv(keys, network)


def loss(network: str, dtype):
    """The function from parameters, a batch and a key to the mean loss, computed in a dtype."""
    call = {"dense": _dense_loss, "transformer": _transformer_loss}.get(network, _conv_loss)

    def computed(values, batch, key):
        cast = jax.tree.map(lambda value: value.astype(dtype), values)
        return call(cast, batch, key, dtype, network)

    return computed


def _keys(key) -> Iterator:
    while True:
        key, now = jax.random.split(key)
        yield now


def _dense(keys, before: int, after: int) -> dict:
    reach = math.sqrt(6 / (before + after))
    return {"w": jax.random.uniform(next(keys), (before, after), minval=-reach, maxval=reach), "b": jnp.zeros(after)}


def _apply(layer: dict, x):
    return x @ layer["w"] + layer["b"]


def _dense_loss(layers, x, key, dtype, network):
    x = x.reshape(len(x), -1)
    found = x.astype(dtype)
    for number, layer in enumerate(layers):
        found = _apply(layer, found)
        found = jax.nn.gelu(found, approximate=False) if number in workload.BENDS else found
    return _squared_error(x, found)


def _squared_error(x, found):
    return jnp.square(jax.nn.sigmoid(found.astype("float32")) - x).sum(-1).mean()


def _kernel(keys, before: int, after: int) -> dict:
    start = jax.random.normal(next(keys), (3, 3, before, after)) * math.sqrt(2 / (9 * before))
    return {"w": start, "b": jnp.zeros(after)}


def _convolved(layer, x, stride: int = 1):
    settings = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    return jax.lax.conv_general_dilated(x, layer["w"], (stride, stride), **settings) + layer["b"]


def _residual(layers, x):
    return jax.nn.relu(x + _convolved(layers[1], jax.nn.relu(_convolved(layers[0], x))))


def _conv(keys, network: str) -> dict:
    k = workload.CODES[network]
    return {
        "down": [_kernel(keys, 1, 32), _kernel(keys, 32, 64)],
        "blocks": [[_kernel(keys, c, c), _kernel(keys, c, c)] for c in (32, 64, 64, 32)],
        "dense": [_dense(keys, 3136, 256), _dense(keys, 256, 2 * k if network == "vae" else k), _dense(keys, k, 256)],
        "grow": _dense(keys, 256, 3136),
        "narrow": [_kernel(keys, 64, 32), _kernel(keys, 32, 16)],
        "smooth": [_kernel(keys, 32, 32), _kernel(keys, 16, 16)],
        "head": _kernel(keys, 16, 1),
    }


def _encoded(values, x):
    for layer, block in zip(values["down"], values["blocks"], strict=False):
        x = _residual(block, jax.nn.relu(_convolved(layer, x, 2)))
    return _apply(values["dense"][1], jax.nn.relu(_apply(values["dense"][0], x.reshape(len(x), -1))))


def _decoded(values, code):
    x = jax.nn.relu(_apply(values["grow"], jax.nn.relu(_apply(values["dense"][2], code)))).reshape(-1, 7, 7, 64)
    for block, narrow, smooth in zip(values["blocks"][2:], values["narrow"], values["smooth"], strict=True):
        x = jax.nn.relu(_convolved(narrow, _residual(block, x)))
        x = jax.nn.relu(_convolved(smooth, x.repeat(2, 1).repeat(2, 2)))
    return _convolved(values["head"], x).reshape(len(x), -1)


def _conv_loss(values, x, key, dtype, network):
    if network == "conv":
        return _squared_error(x.reshape(len(x), -1), _decoded(values, _encoded(values, x.astype(dtype))))
    pixels, noise = jax.random.split(key)
    x = (jax.random.uniform(pixels, x.shape) < x).astype("float32")
    mean, log_variance = jnp.split(_encoded(values, x.astype(dtype)).astype("float32"), 2, -1)
    code = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(noise, mean.shape)
    logits, x = _decoded(values, code.astype(dtype)).astype("float32"), x.reshape(len(x), -1)
    cost = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance).sum(-1)
    return ((jax.nn.softplus(logits) - x * logits).sum(-1) + cost).mean()


def _transformer(keys, sources: int, targets: int) -> dict:
    width, depth, decoders, _, hidden, _ = workload.BODY

    def attention():
        names = {"query": width, "key_value": 2 * width, "output": width}
        return {name: _dense(keys, width, units)["w"] for name, units in names.items()} | {"norm": jnp.ones(width)}

    def block(cross: bool):
        network = {"up": _dense(keys, width, hidden), "down": _dense(keys, hidden, width), "norm": jnp.ones(width)}
        return {"self": attention(), "network": network} | ({"cross": attention()} if cross else {})

    return {
        "source": jax.random.normal(next(keys), (sources, width)) * width**-0.5,
        "target": jax.random.normal(next(keys), (targets, width)) * width**-0.5,
        "encoder": [block(False) for _ in range(depth)],
        "decoder": [block(True) for _ in range(decoders)],
        "norms": [jnp.ones(width), jnp.ones(width)],
    }


def _normed(scale, x):
    return x * jax.lax.rsqrt(jnp.square(x.astype("float32")).mean(-1, keepdims=True) + 1e-7).astype(x.dtype) * scale


def _rotated(x):
    """Pairs of numbers of x `(B, T, heads, size)`, rotated by angles that grow with their position."""
    size = x.shape[-1]
    angles = jnp.arange(x.shape[1])[:, None] * 10_000.0 ** -(jnp.arange(0, size, 2) / size)
    cosine, sine = (wave(angles)[:, None].astype(x.dtype) for wave in (jnp.cos, jnp.sin))
    left, right = jnp.split(x, 2, -1)
    return jnp.concatenate([left * cosine - right * sine, left * sine + right * cosine], -1)


def _attended(layer, x, source, mask):
    heads = workload.BODY[3]
    query, key, value = (
        each.reshape(*each.shape[:2], heads, -1)
        for each in (x @ layer["query"], *jnp.split(source @ layer["key_value"], 2, -1))
    )
    found = jax.nn.dot_product_attention(_rotated(query), _rotated(key), value, mask=mask)
    return found.reshape(x.shape) @ layer["output"]


def _transformer_loss(values, tokens, key, dtype, network):
    source, target = tokens
    keys, rate, width = _keys(key), workload.BODY[5], workload.BODY[0]

    def drop(x):
        return jnp.where(jax.random.bernoulli(next(keys), 1 - rate, x.shape), x / (1 - rate), 0).astype(x.dtype)

    def block(layers, x, mask, states=None, source_mask=None):
        normed = _normed(layers["self"]["norm"], x)
        x = x + drop(_attended(layers["self"], normed, normed, mask))
        if states is not None:
            x = x + drop(_attended(layers["cross"], _normed(layers["cross"]["norm"], x), states, source_mask))
        network = layers["network"]
        inner = jax.nn.relu(_apply(network["up"], _normed(network["norm"], x)))
        return x + drop(_apply(network["down"], inner))

    mask, length = (source != PAD)[:, None, None], target.shape[1]
    states = drop(values["source"][source] * width**0.5)
    for layers in values["encoder"]:
        states = block(layers, states, mask)
    states, causal = _normed(values["norms"][0], states), jnp.tril(jnp.ones((length, length), bool))[None, None]
    shifted = jnp.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=START)
    x = drop(values["target"][shifted] * width**0.5)
    for layers in values["decoder"]:
        x = block(layers, x, causal, states, mask)
    log_prob = jax.nn.log_softmax((_normed(values["norms"][1], x) @ values["target"].T).astype("float32"))
    wanted = 0.9 * jnp.take_along_axis(log_prob, target[..., None], -1)[..., 0] + 0.1 * log_prob.mean(-1)
    return -jnp.where(target != PAD, wanted, 0).sum(-1).mean()
