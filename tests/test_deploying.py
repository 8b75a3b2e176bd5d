"""The command `deploy`: what it takes for a model, and that it keeps what others have changed."""

import json
import os
import pathlib
import shutil

import pytest

from serving.__main__ import main


@pytest.fixture
def models(tmp_path) -> pathlib.Path:
    """Two models, which are as much of a SavedModel as the command looks at."""
    for version in ("a/1", "a/2", "b/1"):
        folder = tmp_path / "models" / version
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text(version)
        (folder / "variables" / "variables.index").write_text("")
    (tmp_path / "models" / "a" / "3").mkdir()  # is being written
    return tmp_path / "models"


@pytest.fixture
def deploy(tmp_path, capsys):
    """Deploys into one folder; returns exit code, output and errors."""

    def run(*arguments: str | pathlib.Path) -> tuple[int, str, str]:
        code = main(["deploy", *map(str, arguments), "--to=compose", f"--output={tmp_path / 'out'}"])
        return code, *capsys.readouterr()

    return run


def _contents(folder: pathlib.Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_models_are_named_as_their_folders_or_as_wanted(models, deploy, tmp_path, monkeypatch):
    monkeypatch.chdir(models / "b")
    for arguments, expected in (
        ([models], {"a/2", "b/1"}),
        ([models / "a", f"c={models / 'b'}"], {"a/2", "c/1"}),
        (["."], {"b/1"}),
        ([models, models / "a"], {"a/2", "b/1"}),
    ):
        code, said, _ = deploy(*arguments)
        assert code == 0 and str(tmp_path / "out" / "README.md") in said
        copied = tmp_path / "out" / "models"
        assert {path.relative_to(copied).as_posix() for path in copied.glob("*/*")} == expected
        config = (tmp_path / "out" / "config" / "models.config").read_text()
        assert all(f'base_path: "/models/{version[0]}"' in config for version in expected)
        shutil.rmtree(tmp_path / "out")


def test_wrong_input_is_refused_in_one_line_and_nothing_is_written(models, deploy, tmp_path):
    shutil.copytree(models / "a", tmp_path / "other" / "a")
    shutil.copytree(models / "a", tmp_path / "odd" / "a=b: c")
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ([tmp_path / "nosuch"], "no folder"),
        ([tmp_path / "empty"], "Expected MODEL/VERSION/saved_model.pb under the directory. Received: nothing"),
        ([tmp_path], "Received: empty, models, odd, other in"),
        ([models / "a" / "2"], f"Try the folder above, {models / 'a'}"),
        ([models / "a" / "2" / "saved_model.pb"], "a file"),
        ([f"x={models}"], f"with versions in a. Try {models / 'a'}"),
        ([models, tmp_path / "other"], "Received: a for"),
        ([models / "a", f"a={models / 'b'}"], "Try NAME=PATH for one of them."),
        ([tmp_path / "odd" / "a=b: c"], "in the name of a model. Received: 'a=b: c'. Try NAME="),
        ([models, "--name=Digits"], "Received: 'Digits'. Try --name=models."),
        ([models, "--image=a b"], "Received: 'a b'. Try --image=REGISTRY/models."),
        ([models, "--cpus=0"], "Received: --cpus=0."),
    ):
        code, said, error = deploy(*arguments)
        assert code == 2 and not said and len(error.splitlines()) == 1, error
        assert words in error, error
        assert not (tmp_path / "out").exists()


def test_again_without_a_change_nothing_is_written(models, deploy, tmp_path):
    deploy(models)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.name != ".deployed.json"}
    code, said, _ = deploy(models)
    assert code == 0 and said.startswith("Nothing has changed in ")
    assert {path: path.stat().st_mtime_ns for path in times if path != tmp_path / "out"}.items() <= times.items()


def test_a_new_version_comes_beside_the_old_one(models, deploy, tmp_path):
    deploy(models / "a")
    (models / "a" / "3" / "saved_model.pb").write_text("a/3")
    code, said, _ = deploy(models / "a")
    assert code == 0 and "a, version 3" in said
    assert sorted(os.listdir(tmp_path / "out" / "models" / "a")) == ["2", "3"]


def test_files_that_were_changed_stay_unless_forced(models, deploy, tmp_path):
    deploy(models)
    folder = tmp_path / "out"
    (folder / "compose.yaml").write_text("mine")
    (folder / "config" / "batching.config").unlink()
    before = _contents(folder)
    code, _, error = deploy(models, "--cpus=3")  # another text for both, and for the Dockerfile
    assert code == 2 and f"Expected files in {folder} to be as this command wrote them." in error
    assert "Received: compose.yaml, changed or written by others. Try another --output, or --force" in error
    assert _contents(folder) == before
    code, said, _ = deploy(models, "--cpus=3", "--force")
    assert code == 0 and "Overwritten, though they had been changed: compose.yaml." in said
    after = _contents(folder)
    assert 'cpus: "3"' in after["compose.yaml"] and "num_batch_threads { value: 3 }" in after["config/batching.config"]
    assert set(after) == {*before, "config/batching.config"}
    assert deploy(models, "--cpus=4")[0] == 0  # what was forced is the command's own again


def test_files_that_were_changed_stay_where_there_is_nothing_else_to_write(models, deploy, tmp_path):
    """Settings are not lost, nor in the way, when a new version comes."""
    deploy(models / "a")
    settings = [tmp_path / "out" / file for file in ("config/batching.config", "compose.yaml", "config/models.config")]
    for file in settings:
        file.write_text(f"# mine\n{file.read_text()}")
    (models / "a" / "3" / "saved_model.pb").write_text("a/3")
    code, said, _ = deploy(models / "a")
    assert code == 0 and "Kept as they have been changed: config/batching.config, config/models.config, compose.yaml." in said
    assert (tmp_path / "out" / "models" / "a" / "3").is_dir() and all(
        file.read_text().startswith("# mine") for file in settings
    )
    code, said, _ = deploy(models / "a", "--force")
    assert code == 0 and not any(file.read_text().startswith("# mine") for file in settings)


def test_files_of_others_stay_unless_forced(models, deploy, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "out" / "notes").write_text("mine")
    code, _, error = deploy(models)
    assert code == 2 and "Received: Dockerfile, changed or written by others" in error
    assert _contents(tmp_path / "out") == {"Dockerfile": "FROM scratch", "notes": "mine"}
    assert deploy(models, "--force")[0] == 0 and (tmp_path / "out" / "notes").read_text() == "mine"


def test_a_version_that_a_server_may_have_loaded_is_not_replaced(models, deploy, tmp_path):
    deploy(models / "a")
    deployed = tmp_path / "out" / "models" / "a" / "2"
    (models / "a" / "2" / "saved_model.pb").write_text("trained again")
    code, _, error = deploy(models / "a")
    assert code == 2 and "Received: models/a/2, changed" in error and "Try a version of a higher number" in error
    assert (deployed / "saved_model.pb").read_text() == "a/2"
    (deployed / "left").write_text("")
    code, said, _ = deploy(models / "a", "--force")
    assert code == 0 and "changed: models/a/2." in said
    assert (deployed / "saved_model.pb").read_text() == "trained again" and not (deployed / "left").exists()


def test_a_failure_leaves_no_half_written_file(models, deploy, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "models").write_text("a file where a folder belongs")
    code, _, error = deploy(models)
    assert code == 2 and len(error.splitlines()) == 1
    written = (
        json.loads((tmp_path / "out" / ".deployed.json").read_text()) if (tmp_path / "out" / ".deployed.json").exists() else {}
    )
    assert not written and not list(tmp_path.glob("out/.writing-*"))
    (tmp_path / "out" / "models").unlink()
    assert deploy(models)[0] == 0  # the files that were written are as they are to be
