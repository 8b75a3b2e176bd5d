"""The transformer: what may depend on what, and that the searches find what they say. JAX runs this file too."""

import itertools

import keras
import numpy as np
import pytest

import zoo

LETTERS = zoo.Vocabulary("abcdefgh", 6)
SOUNDS = zoo.Vocabulary(["AH0", "B", "EY1"], 3, " ")
WORDS = ["ab", "hedge", "c", "baggab"]


@pytest.fixture(scope="module")
def model() -> zoo.Transformer:
    keras.utils.set_random_seed(1)
    model = zoo.Transformer(LETTERS, SOUNDS, width=32, depth=2, decoder_depth=2, heads=2, beams=40, choices=4)
    for variable in model.trainable_variables:  # far from uniform, so that nothing is likeliest by chance
        variable.assign(2 * keras.ops.convert_to_numpy(variable))
    return model


def _numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def _everything() -> list[str]:
    """Every target that the vocabulary of sounds allows."""
    return [" ".join(tokens) for length in range(4) for tokens in itertools.product(SOUNDS.tokens, repeat=length)]


def test_padding_changes_nothing(model):
    source, target = LETTERS.numbers(WORDS), SOUNDS.numbers(["B", "AH0 B", "", "EY1 EY1 B"])
    alone = [_numpy(model.score(source[i : i + 1, : len(w) + 1], target[i : i + 1])) for i, w in enumerate(WORDS)]
    np.testing.assert_allclose(_numpy(model.score(source, target)), np.concatenate(alone), atol=1e-4)
    wider = np.pad(source, ((0, 0), (0, 5)))
    np.testing.assert_allclose(_numpy(model.encode(source)), _numpy(model.encode(wider)), atol=1e-5)
    np.testing.assert_array_equal(_numpy(model.encode_states(source))[2, 2:], 0)


def test_a_token_is_judged_by_those_before_it_alone(model):
    source = LETTERS.numbers(["hedge"])
    first, second = (_numpy(model({"source": source, "target": SOUNDS.numbers([text])})) for text in ("B EY1 B", "B EY1 AH0"))
    np.testing.assert_allclose(first[:, :3], second[:, :3], atol=1e-6)
    assert np.abs(first[:, 3] - second[:, 3]).max() > 1e-3
    other = _numpy(model({"source": LETTERS.numbers(["hedgf"]), "target": SOUNDS.numbers(["B EY1 B"])}))
    assert np.abs(first - other).min(axis=-1).max() > 1e-6


def test_attention_to_itself_knows_distances_alone():
    layer = zoo.attention.Attention(2)
    layer.build((None, None, 16))
    x = np.random.default_rng(0).normal(size=(1, 5, 16)).astype("float32")

    def answer(start):
        turns = zoo.attention.turns(keras.ops.arange(start, start + 5, dtype="float32"), 8)
        return _numpy(layer(x, turns, layer.memory(x, turns), np.ones((1, 1, 5, 5), bool)))

    np.testing.assert_allclose(answer(0), answer(17), atol=1e-4)
    assert np.abs(answer(0) - answer(0)[:, ::-1]).max() > 1e-3


def test_probabilities_sum_to_one_over_all_targets(model):
    targets = _everything()
    scores = _numpy(model.score(["hedge"] * len(targets), targets))
    missing = 1 - np.exp(scores).sum()  # is of longer targets, and of the tokens that are never written
    assert 0 <= missing < 1
    log_prob = _numpy(model.decode(["hedge"] * len(targets), targets))
    np.testing.assert_allclose(log_prob.sum(axis=1), scores, atol=1e-4)
    assert np.all(log_prob <= 0) and log_prob.shape == (40, 4)


def test_greedy_takes_the_likeliest_token_at_every_step(model):
    made = model.generate(WORDS)
    for word, target in zip(WORDS, made["target"], strict=True):
        tokens = target.split()
        for stop in range(len(tokens) + 1 if len(tokens) < SOUNDS.length else SOUNDS.length):
            following = model.next([word], [" ".join(tokens[:stop])])["token"][0, 0]
            assert following == (tokens[stop] if stop < len(tokens) else "")
    np.testing.assert_allclose(_numpy(made["score"]), _numpy(model.score(WORDS, list(made["target"]))), atol=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 0.7, [0.0, 0.5, 1.0, 2.0]])
def test_a_wide_beam_finds_the_best_of_all_targets(model, penalty):
    targets = _everything()
    lengths = np.array([len(text.split()) + 1 for text in targets])
    made = model.generate_beam(WORDS, penalty)
    for i, word in enumerate(WORDS):
        alpha = penalty[i] if isinstance(penalty, list) else penalty
        scores = _numpy(model.score([word] * len(targets), targets)) / ((5 + lengths) / 6) ** alpha
        order = np.argsort(-scores, kind="stable")
        np.testing.assert_allclose(_numpy(made["score"])[i], scores[order], rtol=1e-4, atol=1e-3)
        assert list(made["target"][i][:5]) == [targets[j] for j in order[:5]]


def test_draws_follow_the_model_and_the_seed(model):
    count = 3000
    options = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    made = model.generate_sample(["hedge"] * count, np.arange(count), **options)
    again = model.generate_sample(["hedge"] * 10, np.arange(10), **options)
    assert list(made["target"][:10]) == list(again["target"])
    np.testing.assert_allclose(
        _numpy(made["score"])[:9], _numpy(model.score(["hedge"] * 9, list(made["target"][:9]))), atol=1e-4
    )
    following = model.next(["hedge"], [""])
    for token, probability in zip(following["token"][0], _numpy(following["probability"])[0], strict=True):
        share = np.mean([text.split()[:1] == ([token] if token else []) for text in made["target"]])
        assert abs(share - probability) < 4 * (probability * (1 - probability) / count) ** 0.5 + 1e-3


def test_a_draw_from_the_likeliest_alone_is_greedy(model):
    likeliest = list(model.generate(WORDS)["target"])
    seeds = np.arange(4)
    for limits in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-6}):
        assert list(model.generate_sample(WORDS, seeds, **limits)["target"]) == likeliest
    mixed = model.generate_sample(WORDS, seeds, np.array([0.0, 5.0, 0.0, 5.0], "float32"))["target"]
    assert [mixed[0], mixed[2]] == [likeliest[0], likeliest[2]]


def test_attention_maps_cover_the_texts(model):
    maps = _numpy(model.attend(["ab", "hedge"], ["B", "AH0 B"]))
    assert maps.shape == (2, 2, 4, 7)
    np.testing.assert_allclose(maps.sum(axis=-1), [[[1, 1, 0, 0]] * 2, [[1, 1, 1, 0]] * 2], atol=1e-5)
    np.testing.assert_array_equal(maps[0, :, :, 3:], 0)


def test_answers_have_the_declared_shapes_and_kinds(model):
    values = {
        "source": WORDS, "target": ["B", "", "AH0 EY1", "B"], "length_penalty": 0.5, "seed": np.arange(4), "temperature": 0.5,
        "top_k": 2, "top_p": 0.9,
    }  # fmt: skip
    for verb, (inputs, outputs) in model.signatures().items():
        answer = getattr(model, verb)(*(values[name] for name in inputs))
        answer = answer if isinstance(answer, dict) else dict.fromkeys(outputs, answer)
        assert list(answer) == list(outputs)
        for name, tensor in outputs.items():
            assert np.shape(answer[name]) == (4, *tensor.shape[1:]), (verb, name)
            kind = "U" if tensor.dtype == "string" else np.dtype(tensor.dtype).kind
            assert np.asarray(answer[name]).dtype.kind == kind


def test_numbers_in_numbers_out(model):
    numbers = model.generate(LETTERS.numbers(WORDS))
    assert list(SOUNDS.texts(_numpy(numbers["target"]))) == list(model.generate(WORDS)["target"])


def test_config_and_weights_come_back(model, tmp_path):
    model.save(tmp_path / "model.keras")
    zoo.save_preset(model, tmp_path / "preset")
    for loaded in (keras.saving.load_model(tmp_path / "model.keras"), zoo.load(tmp_path / "preset")):
        assert loaded.get_config() == model.get_config()
        np.testing.assert_array_equal(_numpy(loaded.encode(WORDS)), _numpy(model.encode(WORDS)))


def test_it_learns_to_write_backwards():
    keras.utils.set_random_seed(0)
    letters = zoo.Vocabulary("abcdef", 5)
    random = np.random.default_rng(0)
    words = sorted({"".join(random.choice([*"abcdef"], random.integers(2, 6))) for _ in range(2000)})
    random.shuffle(words)
    train, test = words[100:], words[:100]
    model = zoo.Transformer(letters, letters, width=48, depth=2, heads=4, dropout=0.0)
    assert model.autoencoder and "reconstruct" in model.signatures()
    model.compile(keras.optimizers.Adam(3e-3))
    history = model.fit(
        {"source": train, "target": [word[::-1] for word in train]}, epochs=25, batch_size=64, verbose=0
    ).history
    assert history["cross_entropy"][-1] < 0.1 * history["cross_entropy"][0]
    assert np.mean(model.reconstruct(test)["target"] == [word[::-1] for word in test]) > 0.9


def test_characters_are_read_by_their_decomposition():
    letters = zoo.Vocabulary("abcdefghijklmnopqrstuvwxyzß'", 12)
    assert [letters.spelling(c) for c in "éÉﬁßẞ'"] == ["e", "e", "fi", "ß", "ss", "'"]
    assert letters.spelling("&") == "&" and letters.spelling("́") == ""
    numbers = letters.numbers(["Zoë&"])
    assert list(letters.texts(numbers)) == ["zoe<unk>"]
    model = zoo.Transformer(letters, letters, width=16, depth=1, heads=2)
    assert list(_numpy(model.generate(["Zoë", "z&&"])["unknown"])) == [0, 2]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda m: m.generate([""]), "at least one token"),
        (lambda m: m.generate(["abcdefg"]), "at most 6 tokens. Received: 7"),
        (lambda m: m.score(["ab"], ["B B B B"]), "at most 3 tokens"),
        (lambda m: m.generate("ab"), "sequence of strings"),
        (lambda m: m.generate(np.zeros(3, "int32")), "shape"),
        (lambda m: m.generate_sample(["ab"], [0.5]), "integers"),
        (lambda m: zoo.Transformer(LETTERS, SOUNDS, width=30, heads=4), "multiple of the heads"),
        (lambda m: zoo.Vocabulary(["ab", "c"], 5), "distinct characters"),
        (lambda m: zoo.Vocabulary("aba", 5), "distinct characters"),
        (lambda m: zoo.Vocabulary(["a b"], 5, " "), "words"),
        (lambda m: zoo.Vocabulary("ab", 0), "length"),
    ],
)
def test_bad_input_gets_a_clear_error(model, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(model)
