"""A run's report: a self-contained HTML page, and its pictures as PNG files in the same folder."""

import base64
import html
from collections.abc import Iterable

from training import files
from training.evaluation import measures
from training.experiments.named import command
from training.reporting import pictures
from training.reporting.entries import Entry, Table
from training.run import Run


def write(run: Run, metrics: dict[str, float], entries: Iterable[Entry]) -> None:
    """Draws a run's pictures and writes the page."""
    sections = []
    for name, title, caption, figure in entries:
        if isinstance(figure, Table):
            sections.append(f"{_title(title, caption)}{_rows(figure)}")
            continue
        picture = pictures.png(figure)
        files.write(run.report.parent / f"{name}.png", lambda path, picture=picture: path.write_bytes(picture))
        sections.append(_section(title, caption, picture))
    page = _page(run, metrics, sections)
    files.write(run.report, lambda path: path.write_text(page, encoding="utf-8"))


# The page

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #20242b; --quiet: #555c68; --panel: #f2f4f8; --line: #d5d9e0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171c; --ink: #e6e9ee; --quiet: #a7aebb; --panel: #222831; --line: #3a424e; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1040px;
  margin: 2.5rem auto; padding: 0 1.2rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; }
p { margin: .3rem 0 1rem; color: var(--quiet); }
img { max-width: 100%; display: block; margin: 0 auto; background: #fff; border-radius: 4px; }
table { border-collapse: collapse; margin: .6rem 0 1.4rem; } th { text-align: left; font-weight: 600; }
td, th { padding: .28rem 1.2rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; } .wide { overflow-x: auto; } details td + td { overflow-wrap: anywhere; }
@media (max-width: 600px) { td, th { padding-right: .5rem; font-size: .85rem; } th.number { overflow-wrap: anywhere; } }
code { background: var(--panel); padding: .1rem .35rem; border-radius: 4px; } details { margin: 2.4rem 0; }
"""
BETTER = {measures.LOWER: "↓ lower", measures.HIGHER: "↑ higher", "": ""}


def _page(run: Run, metrics: dict[str, float], sections: list[str]) -> str:
    experiment = run.experiment()
    settings = dict(experiment.settings) | files.read_json(run.versions)
    title = html.escape(experiment.name)
    about = experiment.about.partition("Two cores")[0].strip()  # then follow the figures of the project's own run
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1><p>{html.escape(about)} <code>{html.escape(command(experiment))}</code></p>"
        f"{_figures(experiment.name, metrics)}{''.join(sections)}"
        f"<details><summary>Settings and versions</summary>{_table(settings)}</details></body></html>\n"
    )


def _figures(name: str, metrics: dict[str, float]) -> str:
    """The metrics as a table; those of PCA have their own column."""
    same = {f"pca/{error}": f"test/{error}" for error in ("scaled_error", "squared_error", "mse")}
    same |= {"pca/knn_error": "knn/error", "pca/imputation": "imputation/score"}
    pca = {same[key]: value for key, value in metrics.items() if key in same}
    head = ["on the test split", name, *(["PCA of equal k"] if pca else []), "unit", "better"]
    rows = []
    for key, value in metrics.items():
        if key in same or key.startswith("columns/"):  # those of columns have a table of their own
            continue
        metric = measures.measure(key)
        numbers = [metric.shown(value), *([metric.shown(pca[key]) if key in pca else ""] if pca else [])]
        cells = "".join(f'<td class="number">{shown}</td>' for shown in numbers)
        rows.append(
            f"<tr><td>{html.escape(metric.name)}</td>{cells}<td>{metric.unit}</td><td>{BETTER[metric.better]}</td></tr>"
        )
    number = ' class="number"'
    heads = [
        f'<th scope="col"{number if 0 < i < len(head) - 2 else ""}>{html.escape(title)}</th>' for i, title in enumerate(head)
    ]
    return f'<div class="wide"><table><tr>{"".join(heads)}</tr>{"".join(rows)}</table></div>'


def _table(rows: dict) -> str:
    cells = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f'<div class="wide"><table>{cells}</table></div>'


def _section(title: str, caption: str, picture: bytes) -> str:
    data = base64.b64encode(picture).decode()
    return f'{_title(title, caption)}<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'


def _title(title: str, caption: str) -> str:
    return f"<h2>{html.escape(title)}</h2><p>{html.escape(caption)}</p>"


def _rows(table: Table) -> str:
    looks = [' class="number"' if place in table.numbers else "" for place in range(len(table.head))]
    heads = "".join(f'<th scope="col"{look}>{html.escape(word)}</th>' for word, look in zip(table.head, looks, strict=True))
    lines = (
        "".join(f"<td{look}>{html.escape(text)}</td>" for text, look in zip(row, looks, strict=True)) for row in table.rows
    )
    return f'<div class="wide"><table><tr>{heads}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'
