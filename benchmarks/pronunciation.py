"""English spelling to pronunciation: the preset `g2p_cmudict` against g2p_en, measured in one process.

    python benchmarks/pronunciation.py --folder pronunciation-benchmark

Measures words per second and errors on the words of the test split, of the exported graph (greedy search, batches of 256 words
sorted by length) and of g2p_en (one word at a time, the only way that it offers); and the time of decoding with a key-value
cache, against decoding that recomputes all positions in every step. g2p_en gets its own virtual environment in the folder; its
training data contained these words, from an older dictionary. All measurements alternate and are repeated; medians are printed.
Linux only. `benchmarks/servers/words.py` compares the servers.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import training  # noqa: F401 - first: it imports TensorFlow quietly

import numpy as np  # isort: skip
import tensorflow as tf  # isort: skip

import zoo
from serving.export import export
from serving.models.batcher import Limits
from serving.models.servable import Servable
from training.data import pairs
from training.data.cmudict import without_stress
from training.evaluation import pairs as sequences
from zoo import search
from zoo.vocabulary import END

sys.path.insert(0, str(pathlib.Path(__file__).parent / "servers"))
from peers.peers import HERE, PEERS, environment

NAME, BATCH = "g2p_cmudict", 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("pronunciation-benchmark"))
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    model = zoo.load(NAME)
    models = options.folder / "models"
    path = max((models / NAME).glob("[0-9]*"), key=lambda path: int(path.name), default=None) or export(model, models, NAME)
    python = environment(PEERS["fastapi"]._replace(name="g2p_en"), options.folder / "environments")
    words(path, python, options.repeats)
    cache(model, options.repeats)


def words(path: pathlib.Path, python: str, repeats: int) -> None:
    """Words per second, and errors, of the exported graph and of g2p_en."""
    references = pairs.load("cmudict/random").test.references()
    sources = sorted((word for word in references if word.isalpha()), key=len)  # g2p_en accepts only letters
    endpoint = Servable(path, ThreadPoolExecutor(1), Limits()).endpoint("generate")
    parts = [np.array(sources[start : start + BATCH], object) for start in range(0, len(sources), BATCH)]

    def graph() -> tuple[float, list[str]]:
        start = time.perf_counter()
        targets = [text.decode() for part in parts for text in endpoint.run({"source": part})["target"]]
        return len(sources) / (time.perf_counter() - start), targets

    def g2p_en() -> tuple[float, list[str]]:
        done = subprocess.run(
            [python, HERE / "g2p_en_server.py"], input="\n".join(sources), capture_output=True, text=True, check=True
        )
        answer = json.loads(done.stdout)
        return len(sources) / answer["seconds"], answer["phones"]

    graph()  # warm-up
    rates, answers = _medians({"exported graph": graph, "g2p_en": g2p_en}, repeats, "words/s")
    print(f"  {rates['exported graph'] / rates['g2p_en']:.1f} times as many")
    listed = [[without_stress(text) for text in references[word]] for word in sources]
    for name, targets in answers.items():
        metrics = sequences.rates(name, listed, [[without_stress(text)] for text in targets], " ")
        wrong, edits = (100 * metrics[f"{name}/{key}_error_rate"] for key in ("sequence", "token"))
        print(f"{name}: {wrong:.1f} % of the words wrong, {edits:.2f} % of the phones, greedy, without stress")


def cache(model: zoo.Transformer, repeats: int) -> None:
    """Seconds to decode 28 tokens and an end for 256 words, with the key-value cache and with all positions recomputed."""
    words_of_8 = [word for word in pairs.load("cmudict/random").test.source.tolist() if len(word) == 8]
    source = tf.constant(model.source_vocabulary.numbers(words_of_8[:BATCH]))

    def cached():
        step, *others = model._stepper(source)

        def endless(token, t, cache):
            logits, cache = step(token, t, cache)
            return _without_end(logits), cache

        return search.greedy(endless, *others)[0]

    def recomputed():
        states, present = model._states(source)

        def endless(token, t, cache):
            ((tokens,),) = cache  # the tokens so far, in place of keys and values
            tokens = search._put(tokens[..., 0, 0], token, t, tokens.shape[1])
            shifted = tf.pad(tokens[:, 1:], [[0, 0], [0, 1]])  # the model prepends the start token itself
            return _without_end(model._decode(states, present, shifted)[:, t]), ((tokens[..., None, None],),)

        empty = tf.zeros((len(source), 0, 1, 1), tf.int32)
        return search.greedy(endless, ((empty,),), len(source), model.target_vocabulary.length + 1)[0]

    functions = {"with the cache": _timed(cached), "recomputed": _timed(recomputed)}
    times, tokens = _medians(functions, repeats, "s for 29 steps", ".3f")
    same = 100 * np.mean(tokens["with the cache"] == tokens["recomputed"])
    print(f"  {times['recomputed'] / times['with the cache']:.1f} times as fast; {same:.1f} % of the tokens are the same")


def _timed(function: Callable[[], tf.Tensor]) -> Callable[[], tuple[float, np.ndarray]]:
    """A function that returns the seconds that a compiled function takes, and its result."""
    function = tf.function(function, autograph=False)
    function()

    def measure():
        start = time.perf_counter()
        result = function().numpy()
        return time.perf_counter() - start, result

    return measure


def _medians(measures: dict[str, Callable], repeats: int, unit: str, form: str = ",.0f") -> tuple[dict, dict]:
    """The medians of the measured figures, taken in turn, and the last result of each."""
    rows = [{name: measure() for name, measure in measures.items()} for _ in range(repeats)]
    medians = {name: statistics.median(row[name][0] for row in rows) for name in measures}
    for name, median in medians.items():
        spread = [row[name][0] for row in rows]
        print(f"{name}: {median:{form}} {unit} ({min(spread):{form}} … {max(spread):{form}})", flush=True)
    return medians, {name: rows[-1][name][1] for name in measures}


def _without_end(logits: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.range(logits.shape[-1]) == END, search.LOG_ZERO, logits)


if __name__ == "__main__":
    main()
