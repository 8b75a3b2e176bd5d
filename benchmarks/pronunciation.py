"""English spelling to pronunciation: the preset `g2p_cmudict` beside g2p_en, in one run.

    python benchmarks/pronunciation.py --folder pronunciation-benchmark

Words a second of the exported graph (greedy, 256 words at a time, sorted by length) and of g2p_en (one after another, as it
takes them), on the words of the test split; how often both are wrong; and decoding with a key-value cache against decoding
that computes all positions anew at every step. g2p_en gets a virtual environment of its own in the folder. It was trained on
these words too, with an older dictionary. What is compared is measured in turn, several times; medians are printed. Linux
only. `benchmarks/servers/words.py` compares the servers.
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
    """Words a second, and errors, of the exported graph and of g2p_en."""
    references = pairs.load("cmudict/random").test.references()
    sources = sorted((word for word in references if word.isalpha()), key=len)  # g2p_en knows letters alone
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

    graph()
    found = {"exported graph": graph, "g2p_en": g2p_en}
    rates, answers = _medians(found, repeats, "words/s")
    print(f"  {rates['exported graph'] / rates['g2p_en']:.1f} times as many")
    listed = [[without_stress(text) for text in references[word]] for word in sources]
    for name, targets in answers.items():
        metrics = sequences.rates(name, listed, [[without_stress(text)] for text in targets], " ")
        wrong, edits = (100 * metrics[f"{name}/{key}_error_rate"] for key in ("sequence", "token"))
        print(f"{name}: {wrong:.1f} % of the words wrong, {edits:.2f} % of the phones, greedy, without stress")


def cache(model: zoo.Transformer, repeats: int) -> None:
    """Seconds of 28 tokens and an end for 256 words, with the key-value cache and with all positions computed anew."""
    eights = [word for word in pairs.load("cmudict/random").test.source.tolist() if len(word) == 8]
    source = tf.constant(model.source_vocabulary.numbers(eights[:BATCH]))

    def cached():
        step, *others = model._stepper(source)

        def endless(token, t, cache):
            logits, cache = step(token, t, cache)
            return _without_end(logits), cache

        return search.greedy(endless, *others)[0]

    def anew():
        states, present = model._states(source)

        def endless(token, t, cache):
            ((tokens,),) = cache  # all that was written, in the place of keys and values
            tokens = search._put(tokens[..., 0, 0], token, t, tokens.shape[1])
            shifted = tf.pad(tokens[:, 1:], [[0, 0], [0, 1]])  # the model puts the start before it again
            return _without_end(model._decode(states, present, shifted)[:, t]), ((tokens[..., None, None],),)

        empty = tf.zeros((len(source), 0, 1, 1), tf.int32)
        return search.greedy(endless, ((empty,),), len(source), model.target_vocabulary.length + 1)[0]

    def timed(function: Callable) -> Callable[[], tuple[float, np.ndarray]]:
        function = tf.function(function, autograph=False)
        function()

        def seconds():
            start = time.perf_counter()
            tokens = function().numpy()
            return time.perf_counter() - start, tokens

        return seconds

    times, tokens = _medians({"with the cache": timed(cached), "computed anew": timed(anew)}, repeats, "s for 29 steps", ".3f")
    same = 100 * np.mean(tokens["with the cache"] == tokens["computed anew"])
    print(f"  {times['computed anew'] / times['with the cache']:.1f} times as fast; {same:.1f} % of the tokens are the same")


def _medians(measures: dict[str, Callable], repeats: int, unit: str, form: str = ",.0f") -> tuple[dict, dict]:
    """The median figure of each, measured in turn, and what each gave last beside its figure."""
    found = [{name: measure() for name, measure in measures.items()} for _ in range(repeats)]
    medians = {name: statistics.median(row[name][0] for row in found) for name in measures}
    for name, median in medians.items():
        spread = [row[name][0] for row in found]
        print(f"{name}: {median:{form}} {unit} ({min(spread):{form}} … {max(spread):{form}})", flush=True)
    return medians, {name: found[-1][name][1] for name in measures}


def _without_end(logits: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.range(logits.shape[-1]) == END, search.LOG_ZERO, logits)


if __name__ == "__main__":
    main()
