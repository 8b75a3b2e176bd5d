"""A run's report: one self-contained HTML page and its pictures as PNG files beside it."""

import base64
import html

import keras

from training import files, illustrations, pictures
from training.data import Data
from training.run import Run


def write(run: Run, model: keras.Model, data: Data) -> None:
    """Draws the run's pictures and writes the page. Needs the run's history, metrics and codes."""
    metrics = files.read_json(run.metrics)
    sections = []
    for name, title, caption, figure in illustrations.of(run, model, data, metrics):
        picture = pictures.png(figure)
        files.write(run.report.parent / f"{name}.png", lambda path, picture=picture: path.write_bytes(picture))
        sections.append(_section(title, caption, picture))
    page = _page(run, metrics, sections)
    files.write(run.report, lambda path: path.write_text(page, encoding="utf-8"))


# The page

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #20242b; max-width: 1040px; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; }
p { margin: .3rem 0 1rem; color: #555c68; } img { max-width: 100%; display: block; margin: 0 auto; }
table { border-collapse: collapse; margin: .6rem 0 1.4rem; } th { text-align: left; font-weight: 600; }
td, th { padding: .28rem 1.2rem .28rem 0; border-bottom: 1px solid #e3e6ec; } td.number { text-align: right; }
code { background: #f2f4f8; padding: .1rem .35rem; border-radius: 4px; } details { margin: 2.4rem 0; }
"""


def _page(run: Run, metrics: dict[str, float], sections: list[str]) -> str:
    experiment = run.experiment()
    settings = files.read_json(run.config) | files.read_json(run.versions)
    title = html.escape(experiment.name)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head>'
        f"<body><h1>{title}</h1><p>{html.escape(experiment.about)} <code>{html.escape(experiment.command)}</code></p>"
        f"{_errors(experiment.name, experiment.k, metrics)}{_rest(metrics)}{''.join(sections)}"
        f"<details><summary>Settings and versions</summary>{_table(settings)}</details></body></html>\n"
    )


def _errors(name: str, k: int, metrics: dict[str, float]) -> str:
    if "test/mse" not in metrics:
        return ""
    labels = {"test": name, "pca": f"PCA, k = {k}"}
    rows = "".join(
        f'<tr><td>{html.escape(label)}</td><td class="number">{metrics[f"{key}/squared_error"]:.4g}</td>'
        f'<td class="number">{metrics[f"{key}/mse"]:.4g}</td></tr>'
        for key, label in labels.items()
        if f"{key}/mse" in metrics
    )
    return f"<table><tr><th>On the test split</th><th>squared error</th><th>per dimension</th></tr>{rows}</table>"


def _rest(metrics: dict[str, float]) -> str:
    shown = {key: f"{value:.4g}" for key, value in metrics.items() if not key.endswith(("squared_error", "mse"))}
    return _table(shown)


def _table(rows: dict) -> str:
    cells = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return f"<table>{cells}</table>"


def _section(title: str, caption: str, picture: bytes) -> str:
    data = base64.b64encode(picture).decode()
    return (
        f"<h2>{html.escape(title)}</h2><p>{html.escape(caption)}</p>"
        f'<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'
    )
