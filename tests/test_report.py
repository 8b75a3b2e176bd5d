"""The report: self-contained, with named metrics, pictures that are not blank, and colours that everyone can distinguish."""

import html.parser
import json
import re
import types

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

import zoo
from training.evaluation import measures
from training.experiments.named import command
from training.reporting import arrays as illustrations
from training.reporting import pictures, plane

PICTURES = {
    "codes", "reconstructions", "learning_curve", "clusters", "traversals", "interpolation", "neighbours", "samples",
    "samples_by_class", "architecture",
}  # fmt: skip


class _Page(html.parser.HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.links, self.images, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[key] for key in ("src", "href") if key in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(run):
    text = run.report.read_text()
    page = _Page(text)
    assert page.open == []
    assert len(page.images) == len(PICTURES) and all(image["alt"] for image in page.images)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"@import|url\(|<script", text)


def test_the_pictures_are_there_and_show_something(run):
    assert {path.stem for path in run.report.parent.glob("*.png")} == PICTURES
    for path in run.report.parent.glob("*.png"):
        picture = Image.open(path).convert("RGB")
        assert min(picture.size) > 150
        assert len(picture.getcolors(picture.width * picture.height)) > 15, path  # grey digits have 17 levels


def test_the_command_in_the_page_repeats_the_run(run):
    expected = "python -m training train dense_digits_k8 --width=32 --depth=1 --epochs=4"
    assert expected in run.report.read_text() and expected == command(run.experiment())
    assert "Two cores" not in run.report.read_text()  # the project's own run, which this one need not be


def test_thumbnails_do_not_overlap():
    spots = np.random.default_rng(0).uniform(0, 600, (2000, 2))
    chosen = plane._apart(spots, list(range(len(spots))))
    distances = np.abs(spots[chosen][:, None] - spots[chosen][None]).max(axis=2)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() >= plane.THUMBNAIL
    rest = np.delete(spots, chosen, axis=0)  # and none was left out that had room
    assert (np.abs(rest[:, None] - spots[chosen][None]).max(axis=2).min(axis=1) < plane.THUMBNAIL).all()


def test_codes_of_any_dimension_have_a_place_in_the_plane():
    rng = np.random.default_rng(0)
    for k in (1, 2, 5):
        codes = rng.normal(size=(50, k))
        assert plane.positions(codes).shape == (50, 2)
        figure = plane.embedding(rng.uniform(size=(50, 6, 5, 3)), codes, rng.integers(0, 3, 50), ("a", "b", "c"))
        assert figure.axes


def test_the_page_fits_phones_and_dark_rooms(run):
    text = run.report.read_text()
    assert '<meta name="viewport" content="width=device-width' in text
    assert "prefers-color-scheme: dark" in text and "img { max-width: 100%" in text and "background: #fff" in text


def test_metrics_are_named_with_unit_and_direction(run):
    metrics = json.loads(run.metrics.read_text())
    table = run.report.read_text().partition("</table>")[0]
    assert not any(key in table for key in metrics)
    rows = {re.sub(r"<[^>]+>", "|", row).strip("|") for row in table.split("<tr>")[2:]}
    error, pca = 100 * metrics["knn/error"], 100 * metrics["pca/knn_error"]
    assert f"1-nearest-neighbour error on the codes||{error:.4g}||{pca:.4g}||%||↓ lower" in rows
    assert any(row.startswith("score") and row.endswith("nats||↑ higher") for row in rows)


def test_every_metric_that_there_is_has_a_name_of_its_own():
    for preset in zoo.list():
        keys = re.findall(r"^\| `([^`]+)` \|", zoo.card(preset), re.MULTILINE)
        names = [measures.measure(key).name for key in keys]
        assert keys and not set(names) & set(keys) and len(set(names)) == len(names), preset
    for key in ("anomaly/score_code_auroc", "nll/bits_per_dimension_50_samples_as_is", "test/r2", "nearest/token_error_rate"):
        assert measures.measure(key).better and measures.measure(key).name != key
    assert measures.measure("test/mse").better == "lower" and measures.measure("test/r2").better == "higher"


def test_an_unknown_metric_keeps_its_key():
    assert measures.measure("new/metric") == ("new/metric", "", "")


# Colours


def _linear(colours) -> np.ndarray:
    rgb = np.array([to_rgb(colour) for colour in colours])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
EYES = {  # Machado, Oliveira and Fernandes (2009), severity 1
    "all cones": np.eye(3),
    "no red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
}


def test_every_colour_stands_out_from_the_paper():
    colours = [*pictures.CLASSES, pictures.MODEL, pictures.PCA, pictures.DATA, pictures.QUIET]
    assert (1.05 / (_linear(colours) @ XYZ[1] + 0.05)).min() >= 3


@pytest.mark.parametrize("eyes", EYES)
def test_classes_are_told_apart(eyes):
    seen = np.clip(_linear(pictures.CLASSES) @ EYES[eyes].T, 0, 1) @ XYZ.T / [0.9505, 1, 1.089]
    root = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116)
    lab = np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(len(lab), dtype=bool)]
    assert distances.min() > 30


@pytest.mark.parametrize("labelled", [True, False])
def test_a_cluster_has_the_colour_of_its_class_and_a_number_and_a_marker_of_its_own(labelled):
    codes = np.concatenate([np.random.default_rng(i).normal(10 * i, 1, (30, 2)) for i in range(3)]).astype("float32")
    labels = np.repeat([4, 7, 4], 30) if labelled else None
    model = types.SimpleNamespace(decode=lambda codes: np.zeros((len(codes), 8, 8, 1)))
    data = types.SimpleNamespace(classes=tuple("0123456789") if labelled else None)
    figure = illustrations._clusters(0, model, data, lambda x: x, codes, codes, labels)[3]
    axes = figure.subfigs[0].axes[0]
    shapes = {points.get_paths()[0].vertices.tobytes() for points in axes.collections}
    assert {text.get_text() for text in axes.texts} == {str(number) for number in range(1, 11)}
    assert len(shapes) == len(axes.collections) == 10
    for number, points in enumerate(axes.collections):
        label = (7 if abs(points.get_offsets().mean() - 10) < 5 else 4) if labelled else number
        np.testing.assert_allclose(points.get_facecolors()[0, :3], to_rgb(pictures.colour(label)))


def test_the_weights_in_the_picture_are_those_of_the_table(run):
    weights = json.loads(run.costs.read_text())["weights"]
    *_, figure = illustrations._architecture(run.load_model())
    assert figure.axes[0].get_title().startswith(f"{weights:,} weights")
