"""Runs of the zoo on tables, by the command line, and what has been measured of them."""

import argparse
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import judge
import pandas as pd

from training import files
from training.run import Run


class Store:
    """What has been measured, by table, kept in a file. A benchmark that was stopped goes on."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.rows: dict[str, dict] = files.read_json(path) if path.exists() else {}

    def measure(self, name: str, function: Callable[[], dict], again: bool = False) -> None:
        """Keeps what a function finds of a table, unless something is known of it already."""
        if again or name not in self.rows:
            self._keep(name, function())

    def add(self, name: str, key: str, function: Callable) -> None:
        """Keeps one thing more that a function finds of a table, unless it is known already."""
        if key not in self.rows[name]:
            self._keep(name, self.rows[name] | {key: function()})

    def _keep(self, name: str, row: dict) -> None:
        self.rows = (files.read_json(self.path) if self.path.exists() else {}) | {name: row}
        files.write_json(self.path, self.rows)


def parser(part: str, description: str, tables: str | None = None) -> argparse.ArgumentParser:
    """The options that all parts have."""
    found = argparse.ArgumentParser(
        f"python benchmarks/tables {part}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/tables"), help="of tables and results")
    found.add_argument("--tables", default=tables, help=f"names, by commas (default: {tables or 'all'})")
    found.add_argument("--name", default="zoo", help="under which runs and results are kept (default: zoo)")
    found.add_argument("--minutes", type=float, default=1.0, help="of each training (default: 1)")
    found.add_argument("--again", action="store_true", help="measure again what has been measured")
    found.add_argument("--summary", action="store_true", help="only print what has been measured")
    return found


def workdir(options: argparse.Namespace, name: str) -> pathlib.Path:
    """The folder of a table's run."""
    return options.folder / options.name / name


def train(options: argparse.Namespace, name: str, run: str = "", settings: Iterable[str] = ()) -> dict:
    """Trains on a table: exit code, the last line that was written if it is not 0, and the wall time of the command.

    Args:
        run: name of its folder, that of the table unless given.
        settings: if any are to be given.
    """
    folder = options.folder / options.name / (run or name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    dataset, began = f"--dataset={judge.path(options.folder, name, 'train')}", time.perf_counter()
    arguments = ["train", dataset, f"--minutes={options.minutes:g}", f"--workdir={folder}", "--restart", *settings]
    found = _command(folder.with_suffix(".log"), "training", *arguments)
    return found | {"seconds": time.perf_counter() - began}


def trained(options: argparse.Namespace, name: str) -> pathlib.Path:
    """The folder of a table's run, which is trained unless it is there."""
    run = workdir(options, name)
    if not Run(run).model.exists():
        train(options, name)
    return run


def ask(run: pathlib.Path, verb: str, rows: pathlib.Path, output: pathlib.Path) -> dict:
    """Asks a run about a file: exit code, and the last line that was written if it is not 0."""
    log = run.parent / f"{run.name}.{verb}.log"
    return _command(log, "training", "predict", run, "--input", rows, "--verb", verb, "--output", output)


def asked(run: pathlib.Path, verb: str, rows: pathlib.Path) -> pd.DataFrame:
    """What a run answers about a file.

    Raises:
        RuntimeError: it does not.
    """
    output = run.parent / f"{run.name}.{verb}.csv"
    done = ask(run, verb, rows, output)
    if done["exit"]:
        raise RuntimeError(f"Expected an answer of {run}. Received: {done['error']}. Try {verb} by itself.")
    return pd.read_csv(output)


def generated(run: pathlib.Path, count: int) -> pathlib.Path:
    """A file of so many new rows of a run's model.

    Raises:
        RuntimeError: there are none.
    """
    output = run.parent / f"{run.name}.generated.csv"
    log = run.parent / f"{run.name}.generate.log"
    done = _command(log, "training", "generate", run, f"--count={count}", "--output", output)
    if done["exit"]:
        raise RuntimeError(f"Expected rows of {run}. Received: {done['error']}. Try generate by itself.")
    return output


def _command(log: pathlib.Path, module: str, *arguments: object) -> dict:
    with open(log, "w", encoding="utf-8") as file:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"exit": code} | ({"error": lines[-1][:500] if lines else ""} if code else {})
