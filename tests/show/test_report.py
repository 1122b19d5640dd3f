"""One page about a fit: what stands on it, and that it needs nothing else."""

from __future__ import annotations

import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import InputError, StorageError

SECTIONS = ["Model", "Data", "Priors", "Results", "Pictures", "Checks", "Pooling", "Reproduce"]


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self._silent = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent += tag == "style"

    def handle_endtag(self, tag):
        self._silent -= tag == "style"

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(fit, folder, **options):
    return blm.report(fit, folder / "page.html", **options).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model():
    return blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def posterior(model, tmp_path_factory):
    fit = model.fit(random_seed=1, progressbar=False)
    return fit, page_of(fit, tmp_path_factory.mktemp("report"))


def headings(text):
    return re.findall(r"<h2 id=\"[\w-]+\">([^<]*)</h2>", text)


def test_a_posterior_has_every_section(posterior):
    fit, text = posterior
    page = Page(text)
    assert headings(text) == SECTIONS
    links = [a["href"] for a in page.all("a")]
    assert links == [f"#{name.lower()}" for name in SECTIONS]
    assert fit.verdict in page.text
    for said in (
        "Each level of Subject has its own intercept and its own effect of Days",
        "180 rows used",
        "HalfStudentT(nu=3, sigma=56.33)",
        "Population-level effects:",
        "Differences between levels",
        "fit(random_seed=1)",
        "nutpie",
    ):
        assert said in page.text, said
    verdicts = dict(re.findall(r"<tr class='(\w+)'[^>]*><td[^>]*>\w+</td><td[^>]*>([^<]+)", text))
    assert verdicts and {v.level for v in blm.check(fit)} >= set(verdicts)


def test_the_page_needs_nothing_else(posterior):
    _, text = posterior
    page = Page(text)
    assert not page.all("script") and not page.all("link")
    images = page.all("img")
    assert len(images) >= 8
    assert all(i["src"].startswith("data:image/png;base64,") and i["alt"] for i in images)
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    assert len(text) < 3e6


def test_equations_are_mathml_with_latex_to_copy(model, posterior):
    page = Page(posterior[1])
    lines = sum(map(len, model.equations().paragraphs))
    assert lines <= len(page.all("math")) <= 2 * lines
    assert re.sub(r"\s+", " ", model.equations().latex) in page.text


def test_a_point_fit_has_no_priors(model, tmp_path):
    text = page_of(model.fit_reml(), tmp_path, title="Sleep & speed")
    assert headings(text) == [name for name in SECTIONS if name != "Priors"]
    page = Page(text)
    assert "Sleep & speed" in page.text and "fit_reml()" in page.text
    assert "Random effects:" in page.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "formula"),
    [("poisson", "y ~ x + (1 | g)"), ("bernoulli", "z ~ x + (1 | g)"), ("ordinal", "o ~ x + (1 | g)")],
)
def test_other_families_have_the_same_sections(family, formula, tmp_path):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"x": rng.normal(size=96), "g": np.repeat(np.arange(12), 8).astype(str)})
    level = data["x"] * 0.5 + rng.normal(size=12)[np.repeat(np.arange(12), 8)]
    data["y"] = rng.poisson(np.exp(level))
    data["z"] = (level + rng.logistic(size=96) > 0).astype(int)
    data["o"] = np.digitize(level + rng.logistic(size=96), [-1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SamplingWarning)
        fit = blm.Model(formula, data, family=family).fit(random_seed=1, draws=250, tune=250, progressbar=False)
        text = page_of(fit, tmp_path)
    assert headings(text) == SECTIONS
    missing = re.findall(r"<p class='missing'>([^<]*)</p>", text)
    assert not any(words.startswith("By g: not available.") for words in missing)


def test_names_and_labels_are_text(tmp_path):
    rng = np.random.default_rng(1)
    evil = "<script>alert('x')</script>"
    data = pd.DataFrame(
        {
            "y": rng.normal(size=40),
            "x": rng.normal(size=40),
            "<img src=x onerror=alert(1)>": np.repeat([evil, "b & c", '"d"', "e</table>"], 10),
        }
    )
    model = blm.Model("y ~ x + (1 | `<img src=x onerror=alert(1)>`)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.BayesLMMWarning)  # four levels, no differences between them
        text = page_of(model.fit_reml(), tmp_path, title=evil)
    page = Page(text)
    assert not page.all("script")
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert evil in page.text and text.count("</table>") == text.count("<table")


def test_places_that_cannot_be_written(model, tmp_path):
    fit = model.fit_reml()
    with pytest.raises(StorageError, match=r"is a folder; name a file"):
        blm.report(fit, tmp_path)
    with pytest.raises(StorageError, match="there is no folder"):
        blm.report(fit, tmp_path / "nowhere" / "page.html")
    with pytest.raises(InputError, match="report: a fit is drawn"):
        blm.report(model, tmp_path / "page.html")


def test_a_failure_leaves_the_old_page(model, tmp_path, monkeypatch):
    from bayeslmm.show import report

    page = tmp_path / "page.html"
    page.write_text("old")
    monkeypatch.setattr(report, "_sections", lambda fit, interactive, seed: {})

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.Path, "replace", full)
    with pytest.raises(StorageError, match="No space left on device"):
        blm.report(model.fit_reml(), page)
    assert page.read_text() == "old" and list(tmp_path.iterdir()) == [page]
