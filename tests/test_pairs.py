"""Pairs of texts: splits without leaks, batches, and a run from a file to a served model."""

import itertools

import keras
import numpy as np
import pytest
from resuming import assert_two_parts_are_one_whole

import training
import zoo
from training.__main__ import main
from training.data import pairs
from training.data.cmudict import Cmudict
from training.data.spelling import misspelt, stem
from training.evaluation import pairs as sequences
from training.tuning import tune


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Words of the letters a to e and what they are in capitals, backwards."""
    path = tmp_path_factory.mktemp("pairs") / "backwards.tsv"
    words = ["".join(letters) for length in (2, 3, 4) for letters in itertools.product("abcde", repeat=length)]
    path.write_text("".join(f"{word}\t{' '.join(word[::-1].upper())}\n" for word in words), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def experiment(file):
    return training.EXPERIMENTS["g2p_cmudict"].override(
        dataset=f"pairs:{file}", width=16, depth=1, heads=2, epochs=2, batch_size=32
    )


def test_no_word_and_no_family_of_words_is_in_two_splits(tmp_path):
    examples = Cmudict(config="stem", data_dir=tmp_path)._split_generators(None)  # as they are before they are written
    rows = {name: [row["word"] for _, row in split] for name, split in examples.items()}
    assert sum(map(len, rows.values())) == 135_164
    words = {name: set(column) for name, column in rows.items()}
    _assert_assigned(words)
    every = set.union(*words.values())
    stems = {name: {stem(word, every) for word in part} for name, part in words.items()}
    assert not stems["train"] & stems["test"]


def test_random_splits_separate_families_of_words():
    data = pairs.load("cmudict/random")
    words = {name: set(split.source) for name, split in data.splits.items()}
    assert sum(split.size for split in data.splits.values()) == 135_164  # of 135,166 lines two are there twice
    assert (data.source_vocabulary.length, data.target_vocabulary.length, data.target_vocabulary.size) == (28, 28, 73)
    assert data.reduced("HH AH0 L OW1") == "HH AH L OW"
    _assert_assigned(words)
    every = set.union(*words.values())
    stems = {name: {stem(word, every) for word in words[name]} for name in ("train", "test")}
    assert len(stems["train"] & stems["test"]) > 1000


def _assert_assigned(words: dict[str, set[str]]) -> None:
    every = set.union(*words.values())
    assert len(every) == sum(map(len, words.values())) == 126_052
    assert all(0.04 < len(words[name]) / len(every) < 0.06 for name in ("validation", "test"))


def test_families_of_words():
    words = {"walk", "walks", "walk's", "walked", "city", "cities", "make", "making", "stop", "stopped", "glass", "is"}
    stems = [
        stem(word, words) for word in ("walks", "walk's", "walked", "cities", "making", "stopped", "glass", "is", "making's")
    ]
    assert stems == ["walk", "walk", "walk", "city", "make", "stop", "glass", "is", "make"]


def test_a_misspelling_is_never_the_word():
    made = [misspelt("letter", np.random.default_rng(seed)) for seed in range(300)]
    assert "letter" not in made and len(set(made)) > 50
    assert {len(word) for word in made} == {4, 5, 6, 7, 8}


def test_batches_come_back_and_hold_similar_lengths(file):
    split = pairs.load(f"pairs:{file}").train
    steps = split.size // 32
    first, again = ([*split.training(32, steps, range(2), seed=3).as_numpy_iterator()] for _ in range(2))
    later = [*split.training(32, steps, range(1, 2), seed=3).as_numpy_iterator()]
    assert len(first) == 2 * steps
    for one, other in [*zip(first, again, strict=True), *zip(first[steps:], later, strict=True)]:
        np.testing.assert_array_equal(one["source"], other["source"])
        np.testing.assert_array_equal(one["target"], other["target"])
    assert np.mean([np.mean(batch["source"] == 0) for batch in first]) < 0.05
    seen = {tuple(row[row > 0]) for batch in first[:steps] for row in batch["source"]}
    assert len(seen) == 32 * steps
    assert sum(len(batch["source"]) for batch in split.inputs(50)) == split.size


def test_vocabularies_are_of_the_training_split(file):
    data = pairs.load(f"pairs:{file}")
    assert (data.source_vocabulary.tokens, data.target_vocabulary.tokens) == (tuple("abcde"), tuple("ABCDE"))
    assert (data.source_vocabulary.separator, data.target_vocabulary.separator) == ("", " ")
    assert data.reduced is None and not set(data.train.source) & set(data.test.source)


def test_lengths_are_of_the_training_split_and_longer_pairs_count_as_wrong(tmp_path, capsys):
    rows = [f"ab{'a' * (i % 3)}{i % 7}\tA B" for i in range(200)] + [f"ffi{i}\tA" for i in range(10)]
    longer = ["ﬃﬃ\tA", "ab\tA B A"]  # a ligature is read as three letters
    for name, extra in (("train", []), ("validation", ["ﬃ\tA"]), ("test", [*longer, "ﬃ\tA"])):
        (tmp_path / f"{name}.tsv").write_text("\n".join([*rows[:50], *rows[200:], *extra]), encoding="utf-8")
    data = pairs.load(f"pairs:{tmp_path}")
    assert (data.source_vocabulary.length, data.target_vocabulary.length) == (5, 2)
    assert list(data.source_vocabulary.texts(data.test.tokens("source")[-1:])) == ["ffi"]
    printed = capsys.readouterr().err
    assert "2 of 63 pairs of the test split are longer" in printed and "tokens), such as 'ﬃﬃ', and count as wrong" in printed
    assert [f"{source}\t{target}" for source, target in data.test.longer] == longer and data.test.size == 61
    assert pairs.write(data, tmp_path / "again") and pairs.load(f"pairs:{tmp_path / 'again'}").test.longer
    model = zoo.Transformer(data.source_vocabulary, data.target_vocabulary, width=16, depth=1, heads=2)
    metrics, arrays = sequences.evaluate(model, data)
    references = data.test.references()
    assert set(references) - set(arrays["test_ids"].tolist()) == {"ﬃﬃ"} and references["ab"] == ["A B A"]
    right = [row[0] in references[source] for source, row in zip(arrays["test_ids"], arrays["test_answers"], strict=True)]
    assert metrics["beam/sequence_error_rate"] == pytest.approx(1 - sum(right) / len(references))


WORDS = {"".join(word): " ".join(word).upper() for word in itertools.product("abcde", repeat=3)}


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda text: text.encode(), None),
        (lambda text: b"\xef\xbb\xbf" + text.encode(), None),
        (lambda text: text.encode("utf-16"), None),
        (lambda text: b"\xfe\xff" + text.encode("utf-16-be"), None),
        (lambda text: text.encode("utf-32"), None),
        (lambda text: text.replace("\n", "\r\n").encode(), None),
        (lambda text: text.replace("\n", "\r").encode(), None),
        (lambda text: text.rstrip("\n").encode(), None),
        (lambda text: text.replace("\n", "\t\n").encode(), None),
        (lambda text: text.replace("\n", "\t\t\n\n").encode(), None),
        (lambda text: text.replace("\n", "\n# A remark\n;;; another,\twith a tab\n \t \n").encode(), None),
        (lambda text: text.replace(" ", "\xa0").encode(), None),
        (lambda text: text.replace("\n", "\u2009\n").replace("\t", " \t  ").replace("A ", "A   ").encode(), None),
        (lambda text: (text + "aaa(1)\tB B B\naaa(2)\tB B A\n").encode(), None),
        (lambda text: (text + "zzz(1)\tB\n").encode(), r"Expected 'zzz' in .* Received: only 'zzz\(1\)', in line 126"),
        (lambda text: text.replace("aab", "aé").encode("cp1252"), "byte 0xe9 in line 2 of .*, byte 2 of .*iconv"),
        (lambda text: text.encode("utf-16")[:-1], "UTF-16-LE.*truncated"),
        (lambda text: text.encode("utf-16-le"), "U[+]0000.*in line 1 .*iconv -f utf-16"),
        *((lambda text, c=code: text.replace("aab", f"a{chr(c)}b").encode(), f"U[+]{code:04X}, .* in line 2 of .*column 2")
          for code in (0x0, 0xB, 0xC, 0x1C, 0x7F, 0x85, 0xAD, 0x200B, 0x200E, 0x2028, 0x2029, 0x2060, 0xFEFF, 0xFFFD, 0xFFFE)),
        (lambda text: text.replace("aab", "a\ud800").encode("utf-8", "surrogatepass"), "byte 0xed in line 2"),
    ],
)  # fmt: skip
def test_a_file_is_read_as_what_it_says_or_refused(encode, message, tmp_path):
    path = tmp_path / "words.tsv"
    path.write_bytes(encode("".join(f"{source}\t{target}\n" for source, target in WORDS.items())))
    if message:
        with pytest.raises(ValueError, match=message):
            pairs.load(f"pairs:{path}")
        return
    data = pairs.load(f"pairs:{path}")
    read = {row for split in data.splits.values() for row in split.pairs()}
    assert read - {("aaa", "B B B"), ("aaa", "B B A")} == set(WORDS.items())
    assert (data.source_vocabulary.tokens, data.target_vocabulary.tokens) == (tuple("abcde"), tuple("ABCDE"))


def test_one_word_in_two_normal_forms_is_one(tmp_path):
    path, accented = tmp_path / "words.tsv", "".join(f"é{word}\tA\ne\u0301{word}\tB\n" for word in WORDS)
    path.write_text(accented, encoding="utf-8")
    data = pairs.load(f"pairs:{path}")
    assert data.source_vocabulary.tokens == tuple("abcdeé")
    assert all(sorted(targets) == ["A", "B"] for split in data.splits.values() for targets in split.references().values())


def test_no_vocabulary_has_invisible_letters():
    for code in (0x0, 0x9, 0xA, 0x85, 0xAD, 0x200B, 0x2028, 0xFEFF, 0xFFFD):
        with pytest.raises(ValueError, match=rf"visible characters. Received: U[+]{code:04X}"):
            zoo.Vocabulary.of([f"a{chr(code)}b"])
    assert "\u200d" in zoo.Vocabulary.of(["👩\u200d🚀", "می\u200cروم"]).tokens


def test_words_and_characters_have_no_vocabulary_in_common(tmp_path):
    path = tmp_path / "spelt.tsv"
    path.write_text("".join(f"{' '.join(word)}\t{''.join(word)}\n" for word in itertools.product("abc", repeat=5)))
    data = pairs.load(f"pairs:{path}")
    assert (data.source_vocabulary.separator, data.target_vocabulary.separator) == (" ", "")
    assert not (data.train.tokens("target") == zoo.vocabulary.UNKNOWN).any()


def test_a_split_is_published_and_read_again(file, tmp_path, capsys):
    assert main(["split", "g2p_cmudict", f"--dataset=pairs:{file}", "--output", str(tmp_path / "split")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "split")
    data, again = pairs.load(f"pairs:{file}"), pairs.load(f"pairs:{tmp_path / 'split'}")
    for name, split in data.splits.items():
        assert split.source.tolist() == again.splits[name].source.tolist()
        assert split.target.tolist() == again.splits[name].target.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\n" * 99, "at least 100 lines"),
        ("a\tb\n" * 99 + "a b\n", "in line 100"),
        ("a\tb\n" * 99 + " \tb\n", "in line 100"),
        ("a\tb\tc\n" + "a\tb\n" * 99, "in line 1 "),
        (b"\xff\xfe\t\x00", "UTF-8"),
    ],
)
def test_a_file_of_something_else_is_refused(content, message, tmp_path):
    path = tmp_path / "file.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        pairs.load(f"pairs:{path}")


@pytest.mark.parametrize("dataset", ["digits", "pairs:nowhere.tsv"])
def test_data_that_are_not_pairs_are_refused(dataset):
    with pytest.raises(ValueError, match=r"pairs of texts|UTF-8"):
        pairs.load(dataset)


def test_rates_count_any_listed_target():
    listed = [["A B", "A C C"], ["B"], ["A A A"]]
    given = [["A C C", "A B"], ["A", "B"], ["A B C D", "B"]]
    metrics = sequences.rates("beam", listed, given, " ")
    assert metrics["beam/sequence_error_rate"] == pytest.approx(2 / 3)
    assert metrics["beam/token_error_rate"] == pytest.approx((0 + 1 + 3) / (3 + 1 + 3))
    assert (metrics["beam/coverage_1"], metrics["beam/coverage_2"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_training_is_resumed_bit_for_bit(experiment, tmp_path):
    assert_two_parts_are_one_whole(experiment, pairs.load(experiment.dataset), 1, tmp_path)


def test_the_best_of_a_search_over_pairs_is_a_complete_run(experiment, tmp_path, capsys):
    choices = {"width": "16", "depth": "1", "learning_rate": "0.003,0.004"}
    run = tune(experiment, choices, tmp_path / "best", tuner="random", trials=1)
    assert run.finished and run.experiment().learning_rate in (0.003, 0.004)
    assert "best of 1 trial: validation sequence error" in capsys.readouterr().out
    assert {path.stem for path in run.report.parent.glob("*.png")} == {
        "learning_curve",
        "error_by_length",
        "coverage",
        "attention",
    }
    metrics = training.files.read_json(run.metrics)
    assert {"greedy/sequence_error_rate", "beam/token_error_rate", "beam/coverage_5", "test/score"} <= set(metrics)
    model = run.load_model()
    assert {layer.compute_dtype for layer in model.encoder} == {"float32"} and isinstance(model, zoo.Transformer)
    with np.load(run.codes) as codes:
        assert codes["test_codes"].shape == (len(codes["test_ids"]), 16)
    assert main(["preset", str(run.folder), "--output", str(tmp_path / "presets")]) == 0
    preset = tmp_path / "presets" / experiment.name
    assert list(zoo.load(preset).generate(["abc"])["target"]) == list(model.generate(["abc"])["target"])
    assert list(zoo.sample(preset)) == ["source", "target"] and "beam/token_error_rate" in zoo.card(preset)


def test_one_language_has_an_autoencoder_and_its_baselines(tmp_path):
    words = ["".join(letters) for letters in itertools.product("abc", repeat=5)]
    path = tmp_path / "words.tsv"
    path.write_text("".join(f"{misspelt(word, np.random.default_rng(i))}\t{word}\n" for i, word in enumerate(words)))
    data = pairs.load(f"pairs:{path}")
    keras.utils.set_random_seed(0)
    model = zoo.Transformer(data.source_vocabulary, data.target_vocabulary, width=16, depth=1, heads=2)
    metrics, _ = sequences.evaluate(model, data)
    assert model.autoencoder and metrics["unchanged/sequence_error_rate"] == 1
    assert 0.05 < metrics["nearest/sequence_error_rate"] < 1
