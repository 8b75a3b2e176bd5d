"""The report: self-contained, its pictures there and not blank, its thumbnails apart."""

import html.parser
import re

import numpy as np
from PIL import Image

from training import pictures

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
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert min(pixels.shape[:2]) > 150
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 15, path  # grey digits have 17 levels


def test_the_command_in_the_page_repeats_the_run(run):
    command = "python -m training train dense_digits_k8 --width=32 --depth=1 --epochs=4"
    assert command in run.report.read_text() and command == run.experiment().command


def test_thumbnails_do_not_overlap():
    spots = np.random.default_rng(0).uniform(0, 600, (2000, 2))
    chosen = pictures._apart(spots, list(range(len(spots))))
    distances = np.abs(spots[chosen][:, None] - spots[chosen][None]).max(axis=2)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() >= pictures.THUMBNAIL
    rest = np.delete(spots, chosen, axis=0)  # and none was left out that had room
    assert (np.abs(rest[:, None] - spots[chosen][None]).max(axis=2).min(axis=1) < pictures.THUMBNAIL).all()


def test_codes_of_any_dimension_have_a_place_in_the_plane():
    rng = np.random.default_rng(0)
    for k in (1, 2, 5):
        codes = rng.normal(size=(50, k))
        assert pictures.plane(codes).shape == (50, 2)
        figure = pictures.codes_in_the_plane(rng.uniform(size=(50, 6, 5, 3)), codes, rng.integers(0, 3, 50), ("a", "b", "c"))
        assert figure.axes
