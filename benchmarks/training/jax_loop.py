"""The same network in a training loop by hand in JAX: an epoch is one compiled `lax.scan` over rows that lie in memory.

Of texts, whose batches differ in length, a step is compiled, for lengths that are multiples of eight.
"""

import functools

import jax
import jax.numpy as jnp
import jax_networks
import numpy as np
import workload


def adam(state, gradients, rate: float = 1e-3, first: float = 0.9, second: float = 0.999):
    values, means, squares, step = state
    step = step + 1
    means = jax.tree.map(lambda m, g: first * m + (1 - first) * g, means, gradients)
    squares = jax.tree.map(lambda v, g: second * v + (1 - second) * g * g, squares, gradients)
    rate = rate * jnp.sqrt(1 - second**step) / (1 - first**step)
    values = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), values, means, squares)
    return values, means, squares, step


def main() -> None:
    work, random = workload.given(), np.random.default_rng(0)
    texts = work.network == "transformer"
    columns = tuple(work.array(name) for name in (("source", "target") if texts else ("x",)))
    values = jax_networks.parameters(work.network, tuple(int(column.max()) + 1 for column in columns) if texts else (0, 0))
    state = (values, *(jax.tree.map(jnp.zeros_like, values) for _ in range(2)), jnp.float32(0))
    gradients = jax.value_and_grad(jax_networks.loss(work.network, jnp.dtype(work.precision)))

    def step(state, batch, key):
        found, slopes = gradients(state[0], batch, key)
        return adam(state, slopes), found

    epoch = _over_texts if texts else _over_rows
    run = epoch(step, columns, work.batch_size)
    clock = workload.Clock(len(columns[0]) // work.batch_size * work.batch_size)
    for number in range(work.epochs):
        state = jax.block_until_ready(run(state, random, jax.random.key(number)))
        clock.tick()
    clock.print()


def _over_rows(step, columns, batch_size):
    x = jnp.asarray(columns[0])

    @functools.partial(jax.jit, donate_argnums=0)
    def scanned(state, x, rows, key):
        keys = jax.random.split(key, len(rows))
        return jax.lax.scan(lambda state, each: step(state, x[each[0]], each[1]), state, (rows, keys))[0]

    return lambda state, random, key: scanned(state, x, workload.batches(random, len(x), batch_size), key)


def _over_texts(step, columns, batch_size):
    lengths = [np.count_nonzero(column, axis=1) for column in columns]
    columns = [np.pad(column, ((0, 0), (0, 8))) for column in columns]
    stepped = jax.jit(step, donate_argnums=0)

    def run(state, random, key):
        for number, rows in enumerate(workload.pooled(random, tuple(lengths[::-1]), batch_size)):
            widths = (-(-int(length[rows].max()) // 8) * 8 for length in lengths)
            batch = tuple(column[rows, :width] for column, width in zip(columns, widths, strict=True))
            state, _ = stepped(state, batch, jax.random.fold_in(key, number))
        return state

    return run


main()
