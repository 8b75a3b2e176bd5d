"""The transformer: what depends on what, and that searches find the best targets. JAX runs this file too."""

import itertools
import unicodedata

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
        angles = zoo.attention.rotary_angles(keras.ops.arange(start, start + 5, dtype="float32"), 8)
        return _numpy(layer(x, angles, layer.keys_values(x, angles), np.ones((1, 5, 5), bool)))

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


def test_beams_beyond_the_possible_targets_are_empty_and_impossible(model):
    """40 targets are possible, and the likeliest longest ones come first where length is all."""
    wide = zoo.Transformer(**{**model.get_config(), "beams": 45, **_vocabularies(model)})
    wide.set_weights(model.get_weights())
    numbers = wide.generate_beam(LETTERS.numbers(WORDS), [0.0, 1.0, 1e3, 3e38])
    target, score = SOUNDS.texts(_numpy(numbers["target"])), _numpy(numbers["score"])
    assert np.isfinite(score).all() and (np.diff(score) <= 0).all()
    assert [sorted(row[:40]) for row in target] == [sorted(_everything())] * 4
    assert (target[:, 40:] == "").all() and (score[:, 40:] == np.float32(-1e30)).all()
    assert not np.isin(_numpy(numbers["target"])[:, :40], (1, 3)).any() and (_numpy(numbers["target"])[:, 40:] == 0).all()
    longest = [" ".join(tokens) for tokens in itertools.product(SOUNDS.tokens, repeat=3)]
    for row in (2, 3):
        log_prob = _numpy(model.score(WORDS[row : row + 1] * 27, longest))
        assert [target[row, 0], target[row, 26]] == [longest[log_prob.argmax()], longest[log_prob.argmin()]]


def test_what_cannot_follow_is_not_offered(model):
    made = model.next(["ab"], ["B B B"])  # of the greatest length
    assert [*made["token"][0]] == [""] * 4 and [*_numpy(made["probability"])[0]] == [1, 0, 0, 0]
    sure = zoo.Transformer(**{**model.get_config(), **_vocabularies(model)})
    sure.set_weights([1e4 * weight for weight in model.get_weights()])  # all probabilities but one round to 0
    tokens = sure.next(WORDS, ["", "B", "", "AH0"])["token"]
    assert all(sorted(row) == ["", *SOUNDS.tokens] for row in tokens.tolist())


def _vocabularies(model) -> dict:
    return {"source_vocabulary": model.source_vocabulary, "target_vocabulary": model.target_vocabulary}


def test_no_temperature_draws_what_is_never_written(model):
    seeds = np.arange(200)
    drawn = model.generate_sample(LETTERS.numbers(["ab"] * 200), seeds, temperature=3e38)["target"]
    assert not np.isin(_numpy(drawn), (1, 3)).any() and len(np.unique(_numpy(drawn), axis=0)) > 20


def test_smoothed_labels_are_spread_over_what_may_be_written(model):
    """Against the same in NumPy; the third step is the last, at which the end alone may be written."""
    target = SOUNDS.numbers(["B", "AH0 B EY1"])  # (2, 4)
    logits = np.random.default_rng(0).normal(size=(2, 4, SOUNDS.size)).astype("float32")
    log_prob = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = np.zeros(2)
    for row, step in itertools.product(range(2), range(4)):
        may = [2, 4, 5, 6] if step < SOUNDS.length else [2]
        if target[row, step]:
            expected[row] -= 0.9 * log_prob[row, step, target[row, step]] + 0.1 * log_prob[row, step, may].mean()
    weights = np.array([1.0, 3.0], "float32")
    for weight, total in ((None, expected.mean()), (weights, (weights * expected).mean())):
        loss = model.compute_loss({"source": None, "target": target}, y_pred=logits, sample_weight=weight)
        np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_weights_of_rows_count():
    sources, targets = ["ab", "cd", "ef", "ba"] * 8, ["B", "B", "AH0", "EY1 B"] * 8
    trained = []
    for repeated in (False, True):
        keras.utils.set_random_seed(0)
        model = zoo.Transformer(LETTERS, SOUNDS, width=16, depth=1, heads=2, dropout=0.0)
        model.compile(keras.optimizers.SGD(0.1))
        if repeated:
            rows = {"source": sources[:1] * 2 + sources[1:2], "target": targets[:1] * 2 + targets[1:2]}
            model.fit(rows, batch_size=3, verbose=0)
        else:
            rows, weights = {"source": sources[:2], "target": targets[:2]}, np.array([4 / 3, 2 / 3], "float32")
            model.fit(rows, sample_weight=weights, verbose=0)
        trained.append(model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


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


def test_a_letter_and_its_marks_are_one_character():
    letters = zoo.Vocabulary("aeéêệが", 12)
    for text in ("aéa", "ệê", "がが", "e"):
        decomposed = unicodedata.normalize("NFD", text)
        np.testing.assert_array_equal(letters.numbers([decomposed]), letters.numbers([text]))
    assert letters.split("e\u0301\u0302a\u0301") == [*"éa"]  # marks that no token has


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
        *(
            (lambda m, o=option, v=value: m.generate_sample(["ab", "c"], [1, 2], **{o: v}), message)
            for option, value, message in (
                ("temperature", [1.0, np.nan], "finite numbers of at least 0 as temperature. Received: nan in row 1"),
                ("temperature", np.inf, "Received: inf"),
                ("temperature", -0.5, "Received: -0.5"),
                ("temperature", np.array([1e300, 1.0]), "Received: 1e[+]300 in row 0"),  # beyond float32
                ("temperature", [1.0, 1.0, 1.0], "one per row"),
                ("temperature", "hot", "finite numbers"),
                ("top_p", [0.5, 1.5], r"in \[0, 1\] as top_p. Received: 1.5 in row 1"),
                ("top_p", np.nan, "Received: nan"),
                ("top_k", [0, -1], "Received: -1 in row 1"),
                ("top_k", 2**31, "Received: 2147483648"),
                ("top_k", 1.5, "Expected integers"),
            )
        ),
        *(
            (lambda m, v=value: m.generate_beam(["ab", "c"], v), "as length_penalty. Received: .* in row 1")
            for value in ([0.0, np.nan], [0.0, np.inf], [0.0, -1.0])
        ),
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
