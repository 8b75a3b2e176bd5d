"""How well a run with nothing given but the file fills in hidden cells, table by table.

Each table is trained, and its test rows are filled in, by the command line, in processes of their own. What was measured is
kept in `zoo.json` beside the tables: a benchmark that was stopped goes on. PCA of equal k is what the run itself says of it, on
test rows of its own; the other peers are in `peers.json`.
"""

import argparse
import functools
import pathlib
import statistics

import judge
import peers
import selection
import served
import zoo_columns
import zoo_runs

from training import files

PCA, BASELINE = "PCA", "mean, mode"
MUST = {BASELINE: 95, PCA: 95, "KNN": 90, "BayesianRidge": 80, "ExtraTrees": 50}  # % of the tables


def main(arguments: list[str] | None = None) -> None:
    parser = zoo_runs.parser("imputation", __doc__)
    parser.add_argument("--served", action="store_true", help="also ask the export about one row, over REST")
    options = parser.parse_args(arguments)
    names = selection.write(options.folder)
    names = options.tables.split(",") if options.tables else names
    measured = zoo_runs.Store(options.folder / f"{options.name}.json")
    for name in [] if options.summary else names:
        judge.split(options.folder, name)
        measured.measure(name, functools.partial(measure, options, name), options.again)
        if options.served:
            measured.add(name, "served", functools.partial(served.answers, options, name))
        print(_line(options.folder, name, measured.rows[name]), flush=True)
    print(table(options.folder, {name: measured.rows[name] for name in names if name in measured.rows}))


def measure(options: argparse.Namespace, name: str) -> dict:
    """Trains on a table, fills in its test rows, and judges that."""
    found = zoo_runs.train(options, name)
    metrics = zoo_runs.workdir(options, name) / "metrics.json"
    if metrics.exists():
        metrics = files.read_json(metrics)
        found |= {"own": metrics["imputation/score"], PCA: metrics["pca/imputation"]}
        found |= fill(options, name)
    return found


def fill(options: argparse.Namespace, name: str) -> dict:
    """Fills in the hidden cells of a table by its run, and judges that."""
    run = zoo_runs.workdir(options, name)
    output = run.parent / f"{name}.filled.csv"
    done = zoo_runs.ask(run, "reconstruct", judge.path(options.folder, name, "hidden"), output)
    if done["exit"]:
        return {"fill": done}
    columns = zoo_columns.inferred(options.folder, name)
    judged = judge.Judge(options.folder, name, columns.dates)
    try:
        filled = judge.read_as(output, judged.train[columns.kept], columns.dates)
        errors = judged.errors(filled, columns.kept)
    except (ValueError, KeyError) as error:
        return {"fill": {"exit": 0, "error": f"{type(error).__name__}: {error}"}}
    return {"errors": errors, "score": judge.score(errors)}


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
    served = row.get("served")
    if served is None:
        return ""
    return served.get("error", "without the columns left out" if "refused" in served else "yes")


def table(folder: pathlib.Path, rows: dict[str, dict]) -> str:
    """A line for each table, and the shares of the tables in which the zoo is better than each of the others."""
    of_peers = peers.read(folder)
    lines = [f"| table | zoo | zoo, own test rows | {' | '.join([*MUST][1:])} | seconds | exit | served |"]
    lines += ["|---|" + "---|" * (len(MUST) + 4), *(_line(folder, name, row) for name, row in rows.items()), ""]
    pairs = {name: compared(row, of_peers.get(name, {})) for name, row in rows.items() if "score" in row}
    for other, must in MUST.items():
        scores = {name: pair[other] for name, pair in pairs.items() if other in pair}
        better = {name: own < of_other for name, (own, of_other) in scores.items()}
        share = 100 * sum(better.values()) / max(len(better), 1)
        lost = ", ".join(name for name, won in better.items() if not won)
        own, of_other = (statistics.fmean(each) for each in zip(*scores.values(), strict=True)) if scores else (1.0, 1.0)
        lines.append(
            f"better than {other}: {sum(better.values())} of {len(better)} tables, {share:.0f} % (must: {must} %), on average "
            f"{own:.3f} against {of_other:.3f}" + (f", not on {lost}" if lost else "")
        )
    seconds = [row["seconds"] for row in rows.values()]
    lines.append(f"median {statistics.median(seconds):.0f} s, longest {max(seconds):.0f} s" if seconds else "nothing measured")
    failed = {name: row for name, row in rows.items() if row["exit"] or "score" not in row or "error" in row.get("served", {})}
    lines.append(f"failed: {len(failed)} of {len(rows)} {', '.join(failed)}")
    return "\n".join(lines)
