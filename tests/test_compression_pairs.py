"""Files of pairs of texts: they come back to the bit, or say why not."""

import keras
import numpy as np
import pytest

import zoo
from serving.__main__ import main
from zoo import compression
from zoo.coding import container
from zoo.coding.pairs import Pairs

LETTERS, PHONES = "abcdefgh", ("A", "B", "C", "D")
ROWS = 300  # of two batches


def _model() -> zoo.Transformer:
    vocabularies = zoo.Vocabulary(LETTERS, 8), zoo.Vocabulary(PHONES, 6, " ")
    return zoo.Transformer(*vocabularies, width=8, depth=1, heads=2, hidden=16, seed=0)


@pytest.fixture(scope="module")
def model() -> zoo.Transformer:
    keras.utils.set_random_seed(0)
    return _model()


@pytest.fixture(scope="module")
def pairs() -> dict[str, list[str]]:
    random = np.random.default_rng(0)
    source = ["".join(random.choice([*LETTERS], random.integers(1, 9))) for _ in range(ROWS)]
    return {"source": source, "target": [" ".join(random.choice(PHONES, random.integers(0, 7))) for _ in range(ROWS)]}


@pytest.fixture(scope="module")
def file(model, pairs) -> bytes:
    return zoo.compress(model, pairs, portable=False)


def _same(found: dict[str, np.ndarray], pairs: dict[str, list[str]], rows: slice = slice(None)) -> bool:
    return {name: column.tolist() for name, column in found.items()} == {name: pairs[name][rows] for name in pairs}


def test_pairs_come_back_and_targets_take_what_the_model_says(model, pairs, file):
    assert _same(zoo.decompress(file, model), pairs)
    log_prob = np.array(model.decode(pairs["source"], pairs["target"]), "float64")
    full = np.array([len(target.split()) == 6 for target in pairs["target"]])
    log_prob[full, 6] = 0.0  # after the last token that there may be, the end is certain
    _, stack = Pairs.divided(container.read(file).payload(0))
    ideal = -log_prob.sum() / np.log(2)
    assert 0.75 * ideal < 8 * len(stack) < ideal + 64  # tokens that are never written have no share


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("abc", "A X"),  # no token
        ("abc", "A  B"),  # would come back as A B
        ("abc", " A"),
        ("abc", "A " * 9 + "A"),  # longer than the model writes
        ("abcdefghabcdefgh", "A"),  # longer than it reads
        ("žž (1)", "A B"),
        ("", ""),
        ("abc", "<unk>"),
    ],
)
def test_texts_that_the_model_does_not_have_come_back_too(source, target, model):
    pairs = {"source": ["abc", source, "bc"], "target": ["A B", target, "C"]}
    assert _same(zoo.decompress(zoo.compress(model, pairs, portable=False), model), pairs)


def test_files_of_no_pairs(model):
    none = {"source": [], "target": []}
    assert _same(zoo.decompress(zoo.compress(model, none, portable=False), model), none)


def test_chunks_are_read_alone_and_damage_never_gives_other_texts(model, pairs, monkeypatch):
    monkeypatch.setattr(Pairs, "chunk", 120)
    few = {name: column[:280] for name, column in pairs.items()}
    file = zoo.compress(model, few, portable=False)
    whole = container.read(file)
    assert [entry.rows for entry in whole.entries] == [120, 120, 40]
    broken = bytearray(file)
    broken[whole.entries[0].offset + 9] ^= 1
    assert _same(zoo.decompress(bytes(broken), model, rows=range(250, 270)), few, slice(250, 270))
    with pytest.raises(ValueError, match="chunk 0, which is damaged"):
        zoo.decompress(bytes(broken), model)
    saved = zoo.salvage(bytes(broken), model)
    assert _same(saved.x, few, slice(120, None)) and [*saved.damaged] == [0]
    chunks = [container.Chunk(whole.payload(number), each.rows, each.decoded_crc) for number, each in enumerate(whole.entries)]
    for place in (1, 9, len(chunks[2].payload) - 5):  # of the plain part's length, of that, and of the stack
        forged = bytearray(chunks[2].payload)
        forged[place] ^= 2
        data = container.written(whole.head, [*chunks[:2], chunks[2]._replace(payload=bytes(forged))])
        with pytest.raises(ValueError, match=r"chunk 2, which (cannot be decoded|decodes to other numbers)"):
            zoo.decompress(data, model, rows=range(250, 260))


def test_another_model_or_machine_is_refused(model, file):
    with pytest.raises(ValueError, match=r"Expected the model that the file was written with, .*Received: another"):
        zoo.decompress(file, _model())
    whole = container.read(file)
    other = container.written(whole.head | {"digest": "0" * 16}, [])
    with pytest.raises(ValueError, match=r"computes to the bit as the one that wrote the file.*a probe.*Try there\.$"):
        zoo.decompress(other, model)


@pytest.mark.parametrize(
    ("pairs", "wishes", "message"),
    [
        ({"source": ["a"], "target": ["A"]}, {}, r"Received: portable=True\. Try --portable=false \(portable=False\)"),
        ({"source": ["a"], "target": ["A"]}, {"lossy": True}, "Received: lossy=True, particles=1"),
        ({"source": ["a"], "target": ["A"]}, {"particles": 3}, "Received: lossy=False, particles=3"),
        ({"source": ["a"]}, {"portable": False}, r"Expected texts as source and target\. Received: source\. Try"),
        (["a"], {"portable": False}, r"Received: list\. Try"),
        ({"source": ["a"], "target": []}, {"portable": False}, "1 sources, 0 targets"),
        ({"source": ["a", "b\n"], "target": ["A", "A"]}, {"portable": False}, r"Received: U\+000A in row 1"),
    ],
)
def test_what_cannot_be_compressed_is_refused(pairs, wishes, message, model):
    with pytest.raises(ValueError, match=message):
        compression.compress(model, pairs, **{"portable": not {"lossy", "particles"} & {*wishes}, **wishes})


def test_commands_take_and_give_pairs(model, pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    zoo.save_preset(model, "model")
    lines = [f"{source}\t{target}\n" for source, target in zip(pairs["source"], pairs["target"], strict=True)]
    (tmp_path / "pairs.tsv").write_text("# a comment\n" + "".join(lines))
    assert main(["compress", "model", "pairs.tsv", "pairs.laz"]) == 2
    assert "Try --portable=false" in capsys.readouterr().err
    assert main(["compress", "model", "pairs.tsv", "pairs.laz", "--portable=false"]) == 0
    said = capsys.readouterr().out
    assert "300 rows in" in said and "sources: " in said and " bits each" in said
    assert main(["decompress", "pairs.laz", "again.tsv", "--model=model", "--rows=10:"]) == 0
    assert (tmp_path / "again.tsv").read_text() == "".join(lines[10:])
    assert main(["decompress", "pairs.laz", "again.npy", "--model=model"]) == 2
    assert "Expected the path of a .tsv or .txt file. Received: again.npy" in capsys.readouterr().err
