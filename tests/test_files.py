"""Writing files: completely or not at all, with several writers, failures, and kills at any time."""

import os
import pathlib
import subprocess
import sys
import threading

import pytest
from conftest import ROOT

from zoo import files


def _names(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_writers_of_one_path_do_not_interfere(tmp_path):
    path = tmp_path / "figures.json"

    def slow(beside):
        beside.write_text("slow")
        files.write(path, lambda other: other.write_text("quick"))
        assert path.read_text() == "quick"

    files.write(path, slow)
    assert path.read_text() == "slow" and _names(tmp_path) == ["figures.json"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old")

    def failing(beside):
        beside.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError) as error:
        files.write(path, failing)
    assert error.value.filename == str(path) and path.read_text() == "old" and _names(tmp_path) == ["figures.json"]


def test_links_stay_links_and_only_files_are_replaced(tmp_path):
    (tmp_path / "link").symlink_to("target")
    files.write(tmp_path / "link", lambda beside: beside.write_text("new"))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "new"
    for path, kind in ((tmp_path, "a folder"), (pathlib.Path(os.devnull), "a device")):
        with pytest.raises(ValueError, match=f"Received: {path}, {kind}"):
            files.write(path, lambda beside: beside.write_text("new"))
    with pytest.raises(OSError, match=str(tmp_path / "target" / "x")):  # in the caller's words
        files.write(tmp_path / "target" / "x", lambda beside: beside.write_text("new"))


@pytest.mark.parametrize("address", ["gs://bucket/a", pathlib.Path("s3://bucket/a")])
def test_addresses_are_no_paths(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"Expected a path on this machine. Received: {address}. Try a folder in which"):
        files.write(address, lambda beside: beside.write_text("new"))
    files.write("a:/b", lambda beside: beside.write_text("new"))
    assert _names(tmp_path) == ["a:"]


def test_what_killed_writers_left_is_removed_after_a_day(tmp_path):
    for name, age in (("old", 2 * files.LEFT), ("young", files.LEFT / 2)):
        left = tmp_path / f"{files.WRITING}{name}"
        left.mkdir()
        os.utime(left, (left.stat().st_mtime - age,) * 2)
    files.write(tmp_path / "a", lambda beside: beside.write_text("new"))
    assert _names(tmp_path) == [f"{files.WRITING}young", "a"]


def _folder(path: pathlib.Path, text: str) -> pathlib.Path:
    path.mkdir(parents=True)
    (path / "text").write_text(text)
    return path


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_kill_at_any_step_leaves_the_old_folder_or_the_new(step, there, tmp_path):
    folder, new = tmp_path / "mine", _folder(tmp_path / "beside" / "mine", "new")
    if there:
        _folder(folder, "old")
    code = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
import files
left, rename = [int(sys.argv[2])], os.rename
def counted(*paths):
    if not left[0]:
        os._exit(9)
    left[0] -= 1
    rename(*paths)
os.rename = counted
files.replace_folder(pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4]))
"""
    done = subprocess.run([sys.executable, "-c", code, ROOT / "zoo", str(step), new, folder])
    assert done.returncode == (9 if step < 2 else 0)
    standing = files.standing(folder)
    if step < 2 and not there:
        assert not standing.exists()
    else:
        assert (standing / "text").read_text() == ("old" if step < 2 else "new")
    files.replace_folder(_folder(tmp_path / "again" / "mine", "newest"), folder)
    assert (folder / "text").read_text() == "newest" and files.standing(folder) == folder
    assert not list(tmp_path.glob(f"{files.REPLACED}*/*"))


def test_a_folder_that_cannot_be_replaced_is_put_back(tmp_path, monkeypatch):
    folder, new, rename = _folder(tmp_path / "mine", "old"), _folder(tmp_path / "beside" / "mine", "new"), os.rename

    def failing(source, target):
        if source == new:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        files.replace_folder(new, folder)
    assert (folder / "text").read_text() == "old" and _names(tmp_path) == ["beside", "mine"]


def test_many_writers_of_one_folder_all_succeed(tmp_path):
    folder, failures = _folder(tmp_path / "mine", "0"), []

    def write(number):
        try:
            for turn in range(20):
                with files.beside(folder) as new:
                    files.replace_folder(_folder(new, f"{number} {turn}"), folder)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (folder / "text").read_text().endswith(" 19") and _names(tmp_path) == ["mine"]


def test_the_current_folder_stays_current(tmp_path, monkeypatch):
    folder = _folder(tmp_path / "mine", "old")
    monkeypatch.chdir(folder)
    files.replace_folder(_folder(tmp_path / "beside" / "mine", "new"), files.resolved("."))
    assert pathlib.Path("text").read_text() == "new"


def test_a_damaged_file_is_named():
    message = r"^Expected a list. Received: a.json \(KeyError, 'x'\). Try b.$"
    with pytest.raises(ValueError, match=message), files.reading("a.json", "a list", "b"):
        raise KeyError("x")
