"""How well a run with nothing given but the file fills in hidden cells, table by table.

Each table is trained, and its test rows are filled in, by the command line, in processes of their own. What was measured is
kept in `zoo.json` beside the tables: a benchmark that was stopped goes on. PCA of equal k is what the run itself says of it, on
test rows of its own; the other peers are in `peers.json`.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.tables import judge, peers, selection, served, zoo_columns
from training import files

PCA, BASELINE = "PCA", "mean, mode"
MUST = {BASELINE: 95, PCA: 95, "KNN": 90, "BayesianRidge": 80, "ExtraTrees": 50}  # % of the tables


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.tables imputation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/tables"), help="of tables and results")
    parser.add_argument("--tables", help="names, by commas (default: all)")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each training (default: 1)")
    parser.add_argument("--name", default="zoo", help="under which runs and results are kept (default: zoo)")
    parser.add_argument("--again", action="store_true", help="measure again what has been measured")
    parser.add_argument("--served", action="store_true", help="also ask the export about one row, over REST")
    parser.add_argument("--summary", action="store_true", help="only print what has been measured")
    options = parser.parse_args(arguments)
    names = selection.write(options.folder)
    names = options.tables.split(",") if options.tables else names
    measured = Store(options.folder / f"{options.name}.json")
    for name in [] if options.summary else names:
        judge.split(options.folder, name)
        measured.measure(
            name, lambda name=name: train(options.folder, name, options.folder / options.name, options.minutes), options.again
        )
        if options.served:
            measured.add(
                name, "served", lambda name=name: served.answers(options.folder, name, options.folder / options.name / name)
            )
        print(_line(options.folder, name, measured.rows[name]), flush=True)
    rows = {name: measured.rows[name] for name in names if name in measured.rows}
    print(table(options.folder, rows))


class Store:
    """What has been measured, by table, kept in a file."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.rows: dict[str, dict] = files.read_json(path) if path.exists() else {}

    def measure(self, name: str, function: Callable[[], dict], again: bool = False) -> None:
        if again or name not in self.rows:
            self._keep(name, function())

    def add(self, name: str, key: str, function: Callable) -> None:
        if key not in self.rows[name]:
            self._keep(name, self.rows[name] | {key: function()})

    def _keep(self, name: str, row: dict) -> None:
        self.rows = (files.read_json(self.path) if self.path.exists() else {}) | {name: row}
        files.write_json(self.path, self.rows)


def train(folder: pathlib.Path, name: str, runs: pathlib.Path, minutes: float) -> dict:
    """Trains on a table in a folder of its own in `runs`, fills in its test rows, and judges that."""
    workdir = runs / name
    runs.mkdir(exist_ok=True)
    began = time.perf_counter()
    dataset = f"--dataset={judge.path(folder, name, 'train')}"
    found = _run(["train", dataset, f"--minutes={minutes:g}", f"--workdir={workdir}", "--restart"], runs / f"{name}.log")
    found["seconds"] = time.perf_counter() - began
    metrics = workdir / "metrics.json"
    if metrics.exists():
        metrics = files.read_json(metrics)
        found |= {"own": metrics["imputation/score"], PCA: metrics["pca/imputation"]}
        found |= fill(folder, name, workdir)
    return found


def fill(folder: pathlib.Path, name: str, workdir: pathlib.Path) -> dict:
    """Fills in the hidden cells of a table by a run, and judges that."""
    hidden, filled, log = judge.path(folder, name, "hidden"), workdir / "filled.csv", workdir / "fill.log"
    command = ["predict", workdir, "--input", hidden, "--verb", "reconstruct", "--output", filled]
    done = _run(command, log)
    if done["exit"]:
        done = _run([workdir, hidden, filled], log, "benchmarks.tables.fill")
    if done["exit"]:
        return {"fill": done}
    columns = zoo_columns.inferred(folder, name)
    judged = judge.Judge(folder, name, columns.dates)
    try:
        errors = judged.errors(judge.read_as(filled, judged.train[columns.kept], columns.dates), columns.kept)
    except (ValueError, KeyError) as error:
        return {"fill": {"exit": 0, "error": str(error)}}
    return {"errors": errors, "score": judge.score(errors)}


def _run(arguments: list, log: pathlib.Path, module: str = "training") -> dict:
    """The exit code of a command of `training` and, unless it is 0, the last line that it wrote."""
    with open(log, "w", encoding="utf-8") as file:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"exit": code} | ({"error": lines[-1][:500] if lines else ""} if code else {})


def compared(row: dict, of_peers: dict) -> dict[str, tuple[float, float]]:
    """The score of a table and that of each peer, by the columns that both have filled in; of a peer that of its better
    encoding."""
    found = {BASELINE: (row["score"], 1.0), PCA: (row["own"], row[PCA])}
    for peer in peers.PEERS:
        scores = []
        for each in of_peers.get(peer, {}).values():
            both = [name for name in row["errors"] if name in each["errors"]]
            pair = [judge.score({name: errors[name] for name in both}) for errors in (row["errors"], each["errors"])]
            scores.append((pair[0], pair[1]))
        if scores:
            found[peer] = min(scores, key=lambda pair: pair[1])
    return found


def _line(folder: pathlib.Path, name: str, row: dict) -> str:
    if "score" not in row:
        return f"| {name} | exit {row['exit']}, {row.get('error') or row.get('fill', {}).get('error')} |"
    pairs = compared(row, peers.read(folder).get(name, {}))
    cells = [f"{row['score']:.3f}", f"{row['own']:.3f}"]
    cells += [f"{pairs[each][1]:.3f}" if each in pairs else "" for each in MUST if each != BASELINE]
    return f"| {name} | {' | '.join(cells)} | {row['seconds']:.0f} | {row['exit']} | {_served(row)} |"


def _served(row: dict) -> str:
    return "" if "served" not in row else row["served"].get("error", "yes")


def table(folder: pathlib.Path, rows: dict[str, dict]) -> str:
    """A line for each table, and the shares of the tables in which the zoo is better than each of the others."""
    of_peers = peers.read(folder)
    lines = [f"| table | zoo | zoo, own test rows | {' | '.join([*MUST][1:])} | seconds | exit | served |"]
    lines += ["|---|" + "---|" * (len(MUST) + 4), *(_line(folder, name, row) for name, row in rows.items()), ""]
    pairs = [compared(row, of_peers.get(name, {})) for name, row in rows.items() if "score" in row]
    for other, must in MUST.items():
        known = [pair[other] for pair in pairs if other in pair]
        better = sum(own < theirs for own, theirs in known)
        share = 100 * better / max(len(known), 1)
        lines.append(f"better than {other}: {better} of {len(known)} tables, {share:.0f} % (must: {must} %)")
    seconds = [row["seconds"] for row in rows.values()]
    lines.append(f"median {statistics.median(seconds):.0f} s, longest {max(seconds):.0f} s" if seconds else "nothing measured")
    failed = {name: row for name, row in rows.items() if row["exit"] or "score" not in row or "error" in row.get("served", {})}
    lines.append(f"failed: {len(failed)} of {len(rows)} {', '.join(failed)}")
    return "\n".join(lines)
