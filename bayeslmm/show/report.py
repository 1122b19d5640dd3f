"""A fit on one page that needs nothing else: ``report``."""

from __future__ import annotations

import base64
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from functools import partial
from html import escape
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from ..checks.check import check
from ..design.design import Design
from ..design.priors import resolve_priors
from ..errors import NotAvailableError, StorageError
from ..families import GAUSSIAN
from ..pooling.pooling import pool_fit
from ..predictive.ppc import ppc
from ..results.audit import prior_audit
from ..results.described import groups_table, numbers_table, priors_table, variables_table
from ..results.equations import equations
from ..results.explain import explain
from ..results.files import checked_path, write_whole
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.progress import Bar
from ..results.settings import Settings
from ..results.text import Text, table
from .interactive import page_part, plotly
from .levels import plot_ranef
from .lines import plot_lines, plot_predictions
from .pooling import plot_pooling
from .predictive import plot_ppc
from .residuals import plot_ranef_normality, plot_residuals
from .rows import predictors
from .sampler import plot_rank
from .smooths import plot_smooth
from .style import check_fit, name_of
from .variances import plot_icc, plot_variance

type AnyFit = PointFit | PosteriorFit
Makers = Iterator[tuple[str, Callable[[], Any]]]  # captions, and what makes the table or picture

DPI = 100
LIBRARIES = ("bayeslmm", "numpy", "pandas", "scipy", "numba", "formulae", "pymc", "nutpie", "arviz")
TEMPLATE = Path(__file__).with_name("report.html.jinja")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and pieces of HTML below it."""

    title: str
    pieces: tuple[str, ...]

    @property
    def anchor(self) -> str:
        """What a link within the page points at."""
        return self.title.lower().replace(" ", "-")


def report(
    fit: PointFit | PosteriorFit,
    path: Any,
    *,
    title: str | None = None,
    interactive: bool = False,
    random_seed: int = 1,
    progressbar: bool = True,
) -> Path:
    """Write everything there is to say about a fit on one HTML page, which opens without a network.

    The model in words and in mathematics, data and dropped rows, priors and what they imply, tables, pictures, checks
    with their verdicts, pooling, and what it takes to do it again.

    Parameters
    ----------
    fit : PointFit or PosteriorFit
    path : str or path-like
        Of the file, such as ``"report.html"``; a file that is there is replaced.
    title : str, optional
        By default the formula.
    interactive : bool
        The lines of the levels answer the pointer: name, rows, effects, shrinkage. Made by plotly (``pip install
        'bayeslmm[interactive]'``), which stands in the page, some 5 MB, so that it still opens without a network.
    random_seed : int
        Of what is simulated for checks and pictures.
    progressbar : bool
        Whether to show which part is written when the page takes more than a second.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        This is no fit.
    NotAvailableError
        ``interactive``: plotly is not installed.
    StorageError
        The file cannot be written; one that was there stays as it was.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import bayeslmm as blm
    >>> fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = blm.report(fit, pathlib.Path(folder, "dyestuff.html")).read_text(encoding="utf-8")
    >>> "<h2" in page
    True
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    check_fit(fit, "report")
    target = checked_path(path, "report")
    _check_place(target)
    if interactive:
        plotly()  # or how to install it, before anything is computed
    parts = _sections(fit, interactive, random_seed)
    sections = []
    with Bar("Reporting", len(parts), show=progressbar) as bar:
        for part, pieces in parts.items():
            bar.say(f"Reporting: {part}")
            sections.append(Section(title=part, pieces=tuple(pieces())))
            bar.advance(1)
    template = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template(TEMPLATE.name)
    page = template.render(
        title=title or fit.design.described,
        formula=fit.design.described,
        kind=f"{name_of(fit)} fit" if isinstance(fit, PointFit) else "Posterior",
        today=date.today().isoformat(),
        verdict=str(fit.verdict),
        sections=[(section.anchor, section.title, [Markup(piece) for piece in section.pieces]) for section in sections],
    )
    _write(target, page)
    return target


def _check_place(path: Path) -> None:
    """Before anything is computed."""
    if path.is_dir():
        raise StorageError(f"report(path={str(path)!r}): that is a folder; name a file in it, such as report.html")
    if not path.absolute().parent.is_dir():
        raise StorageError(f"report(path={str(path)!r}): there is no folder {str(path.absolute().parent)!r}")


def _write(path: Path, page: str) -> None:
    try:
        write_whole(path, page.encode("utf-8"))
    except OSError as error:
        raise StorageError(f"report(path={str(path)!r}) cannot be written: {error.strerror or error}") from None


# -- sections


def _sections(fit: AnyFit, interactive: bool, seed: int) -> dict[str, Callable[[], Iterable[str]]]:
    """By title what makes the pieces."""
    design = fit.design
    priors = fit.priors if isinstance(fit, PosteriorFit) else resolve_priors(design)
    data = Text.of(_rows(design), variables_table(design), groups_table(design))
    parts: dict[str, Callable[[], Iterable[str]]] = {
        "Model": lambda: (_html(explain(design)), _html(equations(design, priors))),
        "Data": lambda: (_html(data),),
    }
    if isinstance(fit, PosteriorFit):
        parts["Priors"] = lambda: _pieces(_priors(fit, seed))
    parts["Results"] = lambda: _pieces(_results(fit))
    parts["Pictures"] = lambda: _pieces(_pictures(fit, interactive, seed))
    parts["Checks"] = lambda: _pieces(_checks(fit, seed))
    if design.groups:
        parts["Pooling"] = lambda: _pieces(_pooling(fit))
    parts["Reproduce"] = lambda: (_html(_reproduce(fit)),)
    return parts


def _pieces(makers: Makers) -> Iterator[str]:
    """Tables and pictures with their captions; of what a model does not have, the reason."""
    for caption, make in makers:
        try:
            made = make()
        except NotAvailableError as reason:
            yield _paragraph(f"{caption}: not available. {reason}", "missing")
            continue
        if hasattr(made, "savefig"):
            yield _picture(made, caption)
        elif hasattr(made, "to_html") and hasattr(made, "add_scatter"):
            yield f"{_heading(caption)}{page_part(made)}"
        else:
            yield f"{_heading(caption)}{_html(made)}"


def _results(fit: AnyFit) -> Makers:
    yield "", fit.summary
    if fit.design.groups:
        yield "Variance components", lambda: Text.of(numbers_table(fit.variance_components()))
        yield "Intraclass correlation", lambda: Text.of(numbers_table(fit.icc().reset_index()))
    yield "R²", lambda: Text.of(numbers_table(fit.r2().reset_index()))


def _priors(fit: PosteriorFit, seed: int) -> Makers:
    yield "", lambda: Text.of(priors_table(fit.priors))
    yield "", lambda: prior_audit(fit.design, fit.priors, random_seed=seed)


def _pictures(fit: AnyFit, interactive: bool, seed: int) -> Makers:
    design = fit.design
    grouped = any(group.is_grouping for group in design.groups)
    if design.smooths:
        yield "Smooths with 95 % bands, at each point and of the whole curve", lambda: plot_smooth(fit)
    if design.groups:
        yield "Variances: posterior, prior and intervals", lambda: plot_variance(fit)
        yield "Intraclass correlation", lambda: plot_icc(fit)
    if grouped:
        yield "Random effects with 50 and 95 % intervals", lambda: plot_ranef(fit)
    if predictors(design) and design.family.has_mean:
        yield ("Expected response: average, groups, a new group", lambda: plot_predictions(fit, random_seed=seed))
        ordinary = [group for group in design.groups if not group.is_wide]
        if ordinary:
            finest = ordinary[-1].name
            yield (
                f"Levels of {finest}: lines over their rows",
                lambda: plot_lines(fit, group=finest, interactive=interactive),
            )
    if isinstance(fit, PosteriorFit):
        yield "Ranks of the chains", lambda: plot_rank(fit)


def _checks(fit: AnyFit, seed: int) -> Makers:
    yield "", lambda: check(fit, random_seed=seed, progressbar=False)
    yield "Residuals", lambda: plot_residuals(fit, random_seed=seed)
    if any(group.is_grouping for group in fit.design.groups):
        yield "Random effects beside normal samples", lambda: plot_ranef_normality(fit, random_seed=seed)
    predictive = ppc(fit, random_seed=seed)
    yield "Data sets from the model beside the data", lambda: plot_ppc(predictive)
    yield "Predictive checks", lambda: predictive


def _pooling(fit: AnyFit) -> Makers:
    for group in fit.design.groups:
        if not group.is_grouping:
            continue
        yield f"By {group.name}", partial(pool_fit, fit, group.name)
        yield f"Partial pooling of {group.name}", partial(plot_pooling, fit, group=group.name)


def _rows(design: Design) -> str:
    left_out = f" {design.n_dropped:,} more have missing values and were left out." if design.n_dropped else ""
    return f"{design.n:,} rows used.{left_out}"


def _reproduce(fit: AnyFit) -> Text:
    design = fit.design
    fingerprint = int(pd.util.hash_pandas_object(design.frame, index=False).sum())
    rows = [[name, version(name)] for name in LIBRARIES]
    return Text.of(
        f"Call: {_call(fit)}",
        f"Data: {design.n:,} rows of {', '.join(design.frame.columns)}; fingerprint of these {fingerprint:016x}",
        table(["Software", "Version"], [["Python", platform.python_version()], *rows], left=2),
    )


def _call(fit: AnyFit) -> str:
    """The Python that made the fit."""
    design = fit.design
    made = [repr(design.formula.text), "data"]
    if design.matrices:
        made.append(f"matrices={{{', '.join(f'{name!r}: {name}' for name in design.matrices)}}}")
    if design.residual is not None:
        words = design.residual.words
        made += [f"{name}={t!r}" for name, t in (("sigma", words.sigma), ("residual", words.residual)) if t is not None]
    made += [f"{name}={text!r}" for name, text in design.said_predictors.items()]
    if design.family != GAUSSIAN:
        made += [design.family.option, f"link={design.family.link!r}"]
    priors = {**design.fixed, **(fit.priors.given if isinstance(fit, PosteriorFit) else {})}
    if priors:
        made.append(f"priors={priors!r}")
    if isinstance(fit, PointFit):
        return f"bayeslmm.Model({', '.join(made)}).fit_{'reml' if fit.solution.reml else 'ml'}()"
    assert isinstance(fit, PosteriorFit)
    usual = Settings()
    settings = {field.name: getattr(fit.settings, field.name) for field in fields(usual) if field.name != "progressbar"}
    changed = [f"{name}={value!r}" for name, value in settings.items() if value != getattr(usual, name)]
    return f"bayeslmm.Model({', '.join(made)}).fit({', '.join(changed)})"


# -- HTML


def _html(shown: Any) -> str:
    """What a notebook would show; text, names and labels in it are escaped by those who made it."""
    return str(shown._repr_html_())


def _heading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>" if text else ""


def _paragraph(text: str, kind: str) -> str:
    return f"<p class='{kind}'>{escape(text)}</p>"


def _picture(figure: Any, caption: str) -> str:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = round(96 * figure.get_size_inches()[0])
    return (
        f"<figure><img alt='{escape(caption)}' width='{width}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
