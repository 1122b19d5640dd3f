"""Every printed table of a fit: plain text of at most 80 columns where names allow it, and the same as HTML."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..covariances.template import sd_and_correlation
from ..errors import NotAvailableError
from ..tools.frame import short
from . import wald
from .summaries import CI_KINDS
from .variance import RESIDUAL, part_of, row_of

if TYPE_CHECKING:
    from ..covariances import Structure
    from ..design.design import Design, GroupTerm
    from .point import PointFit
    from .posterior import PosteriorFit

LONGEST_CELL = 200


@dataclass(frozen=True, slots=True)
class Table:
    """Aligned cells: the first ``left`` columns flush left, the others flush right."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    title: str = ""

    def __str__(self) -> str:
        cells = [self.headers, *self.rows]
        widths = [max(len(row[c]) for row in cells) for c in range(len(self.headers))]
        lines = [
            "  ".join(
                cell.ljust(w) if c < self.left else cell.rjust(w)
                for c, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self.title, *lines] if self.title else lines)

    def tabulated(self, style: str) -> str:
        """The same by the library tabulate, in one of its styles."""
        from tabulate import tabulate

        sides = ["left" if c < self.left else "right" for c in range(len(self.headers))]
        bar = r"\|" if style == "pipe" else "|"  # a bar in a cell would end it
        headers, *rows = (
            [cell.lstrip(" ").replace("|", bar) for cell in row] for row in (self.headers, *self.rows)
        )
        aligned = {"colalign": sides} if rows else {}  # tabulate 0.9 has no columns without rows
        return tabulate(rows, headers, tablefmt=style, disable_numparse=True, **aligned)

    def html(self) -> str:
        """The same as an HTML table."""

        def row(cells: Sequence[str], tag: str) -> str:
            aligned = (
                f"<{tag} style='text-align:{'left' if c < self.left else 'right'};padding:1px 10px;"
                f"white-space:nowrap'>{_html(cell)}</{tag}>"
                for c, cell in enumerate(cells)
            )
            return f"<tr>{''.join(aligned)}</tr>"

        caption = (
            f"<div style='margin-top:0.8em'><b>{html.escape(self.title)}</b></div>" if self.title else ""
        )
        body = "".join(row(cells, "td") for cells in self.rows)
        return (
            f"{caption}<table style='border-collapse:collapse;font-variant-numeric:tabular-nums;margin-bottom:0.8em'>"
            f"<thead style='border-bottom:1px solid'>{row(self.headers, 'th')}</thead><tbody>{body}</tbody></table>"
        )


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraphs and tables that print as aligned text, and as HTML in a notebook."""

    blocks: tuple[str | Table, ...]

    @classmethod
    def of(cls, *blocks: str | Table | None) -> Text:
        """The given blocks; None stands for one that does not apply."""
        return cls(tuple(block for block in blocks if block))

    def __str__(self) -> str:
        return "\n\n".join(_wrapped(block) if isinstance(block, str) else str(block) for block in self.blocks)

    def __repr__(self) -> str:
        return str(self)

    def to_markdown(self) -> str:
        """The same as Markdown with pipe tables."""
        parts = []
        for block in self.blocks:
            if isinstance(block, str):
                parts.append(block.replace("\n", "  \n"))
                continue
            parts += [f"**{block.title}**"] if block.title else []
            parts.append(block.tabulated("pipe"))
        return "\n\n".join(parts)

    def to_latex(self) -> str:
        """The same as LaTeX, for the package booktabs."""
        parts = []
        for block in self.blocks:
            if isinstance(block, str):
                parts.append(" \\\\\n".join(_latex(line) for line in block.split("\n")))
                continue
            parts += [_latex(block.title)] if block.title else []
            parts.append(block.tabulated("latex_booktabs").translate(_LATEX_LETTERS))
        # two letters or digits in a row are one formula: $\\tau$$_0$$_0$ is $\\tau_{00}$
        text = re.sub(r"\$_(\d)\$\$_(\d)\$", r"$_{\1\2}$", "\n\n".join(parts))
        return text.replace("$$", "")

    def _repr_html_(self) -> str:
        parts = (
            f"<p>{html.escape(block).replace(chr(10), '<br>')}</p>"
            if isinstance(block, str)
            else block.html()
            for block in self.blocks
        )
        return f"<div style='line-height:1.35'>{''.join(parts)}</div>"


def _html(cell: str) -> str:
    """A cell with its indent."""
    inner = cell.lstrip(" ")
    return "&nbsp;" * (len(cell) - len(inner)) + html.escape(inner)


class Shown:
    """Prints as the `Text` that it makes of itself, in a terminal, a notebook, Markdown and LaTeX."""

    __slots__ = ()

    def text(self) -> Text:
        """Paragraphs and tables."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.text())

    def _repr_html_(self) -> str:
        return self.text()._repr_html_()

    def to_markdown(self) -> str:
        """The printed tables and remarks as Markdown."""
        return self.text().to_markdown()

    def to_latex(self) -> str:
        """The printed tables and remarks as LaTeX, for the package booktabs."""
        return self.text().to_latex()


_LATEX_LETTERS = str.maketrans(
    {
        "σ": r"$\sigma$",
        "τ": r"$\tau$",
        "ρ": r"$\rho$",
        "±": r"$\pm$",
        "≤": r"$\le$",
        "≥": r"$\ge$",
        "²": r"$^2$",
        "|": r"\textbar{}",
    }
    | {digit: f"$_{n}$" for n, digit in enumerate("₀₁₂₃₄₅₆₇₈₉")}
)


def _latex(line: str) -> str:
    """A line of a remark or a title; tabulate does the same for the cells of a table."""
    from tabulate import LATEX_ESCAPE_RULES

    rules = str.maketrans({**LATEX_ESCAPE_RULES, "\\": r"\textbackslash{}"})
    return line.translate(rules).translate(_LATEX_LETTERS)


def _wrapped(paragraph: str) -> str:
    return "\n".join(
        textwrap.fill(line, width=80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in paragraph.split("\n")
    )


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, title: str = "") -> Table:
    """A `Table` of any sequences; line breaks and endless names of levels would tear it."""
    cells = [tuple(short(cell, LONGEST_CELL) for cell in row) for row in (headers, *rows)]
    return Table(cells[0], tuple(cells[1:]), left, title)


def decimals(uncertainty: float, *, significant: int = 3, most: int = 6) -> int:
    """Decimals that show an uncertainty to this many significant digits."""
    if not np.isfinite(uncertainty) or uncertainty <= 0.0:
        return 3
    return int(np.clip(significant - 1 - np.floor(np.log10(uncertainty)), 0, most))


def number(value: float, uncertainty: float | None = None, *, digits: int = 4) -> str:
    """A number with digits that its uncertainty justifies, or with so many significant digits."""
    if not np.isfinite(value):
        return "-"
    small = abs(value) if uncertainty is None else uncertainty
    if 0.0 < small < 1e-4:  # more decimals than anyone reads
        return f"{value:.2e}"
    if uncertainty is not None:
        return f"{value:.{decimals(uncertainty)}f}"
    return f"{value:.{decimals(abs(value), significant=digits)}f}"


def percent(p: float) -> str:
    """A probability as a percentage."""
    return f"{100.0 * p:.4g}%"


def probability(p: float) -> str:
    """A p-value: four decimals, or two digits where that would be too few."""
    if not np.isfinite(p):
        return ""
    if p < 2.2e-16:
        return "<2e-16"
    return f"{p:.4f}" if p >= 0.001 else f"{p:.2g}"


def _header(design: Design, title: str, *more: str) -> str:
    lines = [title, f"Formula: {design.formula.text}"]
    groups = ", ".join(f"{g.name} {g.n_levels:,}" for g in design.groups)
    dropped = f" ({design.n_dropped:,} dropped: missing values)" if design.n_dropped else ""
    lines.append(f"Rows: {len(design.y):,}{dropped}; groups: {groups or 'none'}")
    if design.se is not None:
        lines.append(errors_in_words(design))
    if design.aliased:
        lines.append(f"Dropped (linearly dependent): {', '.join(design.aliased)}")
    return "\n".join([*lines, *more])


def errors_in_words(design: Design) -> str:
    """Which standard errors are known, and how large they are."""
    errors = design.standard_errors
    assert errors is not None
    of = design.se or "given as values"
    return f"Standard errors of the rows: known, {of} ({number(errors.min())} to {number(errors.max())})"


def point_summary(fit: PointFit, ddf: str | None) -> Text:
    """What lme4 and lmerTest print of a REML or ML fit."""
    solution, design = fit.solution, fit.design
    how = "REML" if solution.reml else "maximum likelihood"
    if not design.groups:
        title = f"Linear model (no random effects) fit by {how}"
    else:
        title = f"Linear mixed model fit by {how}"
    return Text.of(
        _header(design, title),
        f"REML criterion: {fit.criterion:.4f}" if solution.reml else _information(fit),
        _scaled_residuals(fit),
        _random_effects(fit) if design.groups or not design.family.residual_is_known else None,
        _fixed_effects(fit, ddf),
        _fixed_correlations(fit),
        f"Verdict: {fit.verdict}",
    )


def _information(fit: PointFit) -> Table:
    values = [f"{v:.2f}" for v in (fit.aic, fit.bic, fit.loglik, fit.deviance)]
    return table(["AIC", "BIC", "logLik", "-2*logLik", "df.resid"], [[*values, str(fit.df_resid)]], left=0)


def _scaled_residuals(fit: PointFit) -> Table:
    quantiles = np.quantile(fit.residuals("scaled"), [0, 0.25, 0.5, 0.75, 1])
    cells = [f"{v:.4f}" for v in quantiles]
    return table(["Min", "1Q", "Median", "3Q", "Max"], [cells], left=0, title="Scaled residuals:")


def _random_effects(fit: PointFit) -> Table:
    rows: list[list[str]] = []
    widest = max(
        (_corr_width(g, block, s) for g in fit.design.groups for block, s in g.template.parts()), default=1
    )
    for group in fit.design.groups:
        cov = fit.var_corr()[group.name].to_numpy()
        sd, cor = sd_and_correlation(cov)
        for block, structure in group.template.parts():
            shown = block[: structure.n_sds(len(block))]
            for place, k in enumerate(shown):
                name = row_of(group.name) if place == 0 else ""
                corr = [_two_decimals(cor[k, other]) for other in block[:place]]
                if structure.n_correlations(len(block)) and not structure.is_free:
                    a, b = structure.pairs(len(block))[0]
                    corr = [f"{_two_decimals(cor[block[a], block[b]])} ({structure.name})"] * (place == 0)
                elif not structure.n_correlations(len(block)):
                    corr = []
                rows.append([name, group.sd_label(k), number(cov[k, k]), number(sd[k]), *corr])
    if not fit.design.family.residual_is_known:
        rows.append([RESIDUAL, "", number(fit.sigma**2), number(fit.sigma)])
    full = [row + [""] * (3 + widest - len(row)) for row in rows]
    headers = ["Groups", "Name", "Variance", "Std.Dev."]
    headers += ["Corr", *[""] * (widest - 2)] if widest > 1 else []
    return table(headers, full, left=2, title="Random effects:")


def _corr_width(group: GroupTerm, block: tuple[int, ...], structure: Structure) -> int:
    """One more than the columns that the correlations of a block take."""
    if not structure.n_correlations(len(block)):
        return 1
    return len(block) if structure.is_free else 2


def _two_decimals(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _fixed_effects(fit: PointFit, ddf: str | None) -> Table:
    with_p = wald.method_of(ddf) is not None
    rows = []
    for term, r in fit.fixef(ddf=ddf).iterrows():
        cells = [str(term), number(r.estimate, r.std_error), number(r.std_error, r.std_error)]
        if with_p:
            cells.append(number(r.df))
        cells.append(_two_decimals(r.statistic))
        rows.append([*cells, probability(r.p_value)] if with_p else cells)
    headers = ["", "Estimate", "Std. Error", "df", "t value", "Pr(>|t|)"]
    if not with_p:
        headers = ["", "Estimate", "Std. Error", "t value"]
    by = wald.caption(fit.design, fit.solution, ddf)
    by = f" ({by})" if by.startswith("z") else f" (t tests, {by})"
    by = by if with_p else ""
    return table(headers, rows, title=f"Fixed effects{by}:")


def _fixed_correlations(fit: PointFit) -> Table | None:
    names = list(fit.design.x_names)
    if not 2 <= len(names) <= 10:
        return None
    vcov = fit.vcov().to_numpy()
    if np.isnan(vcov).any():
        return None
    se = np.sqrt(np.diag(vcov))
    cor = vcov / np.outer(se, se)
    short = [n if len(n) <= 12 else n[:11] + "…" for n in names]
    rows = [
        [
            names[i],
            *(f"{cor[i, j]:.3f}".replace("-0.000", "0.000") if j < i else "" for j in range(len(names) - 1)),
        ]
        for i in range(1, len(names))
    ]
    return table(["", *short[:-1]], rows, title="Correlation of fixed effects:")


def posterior_summary(fit: PosteriorFit) -> Text:
    """brms's layout: group-level, population-level and family parameters, then the verdict."""
    design = fit.design
    attrs = fit.idata.posterior.attrs
    tuning = f" after {attrs['tuning_steps']:,} tuning steps" if attrs.get("tuning_steps") else ""
    draws = (
        f"Draws: {fit.n_chains} chains x {fit.n_draws:,}{tuning}; "
        f"intervals are {percent(fit.ci_prob)} {CI_KINDS[fit.ci_kind]}"
    )
    steps = [(what, attrs.get(f"{what}_seconds")) for what in ("compile", "tune", "draw")]
    split = ", ".join(f"{what} {seconds:.1f}" for what, seconds in steps if seconds)
    if attrs.get("seconds"):
        draws += f"\nSeconds: {attrs['seconds']:.1f}" + (f" ({split})" if split else "")
    linear = "linear" if design.family.is_normal else "generalised linear"
    kind = f"{linear} mixed" if design.groups else linear
    levels = []
    if design.levels:
        joint = " < ".join(map(str, design.levels))
        levels = [f"Response: {joint}" if design.family.has_categories else f"Success: {design.levels[1]}"]
    parts = [
        *(
            (
                part_of(g.name),
                f"Group-level effects of {g.name} ({g.n_levels:,} levels):",
            )
            for g in design.groups
        ),
        *([("fixed", "Population-level effects:")] if design.x_names else []),
        *([("family", "Family parameters:")] if design.family.parameters else []),
    ]
    return Text.of(
        _header(design, f"Bayesian {kind} model, family {design.family}", *levels, draws),
        *(_part_table(fit, part, title) for part, title in parts),
        f"Verdict: {fit.verdict}\nPriors: .priors   Random effects: .ranef()",
    )


def _part_table(fit: PosteriorFit, part: str, title: str) -> Table | str:
    """One table of a summary; draws made elsewhere may hold only some of the model's variables."""
    try:
        return _draws_table(fit.parameters(part), fit.ci_prob, title)
    except NotAvailableError as error:
        return f"{title} {error}"


def _draws_table(frame: pd.DataFrame, ci_prob: float, title: str) -> Table:
    rows = [
        [
            str(term),
            *(number(r[c], r["sd"]) for c in ("mean", "sd", "conf_low", "conf_high")),
            f"{r['rhat']:.3f}",
            f"{r['ess_bulk']:,.0f}",
            f"{r['ess_tail']:,.0f}",
        ]
        for term, r in frame.iterrows()
    ]
    lower, upper = f"l-{percent(ci_prob)} CI", f"u-{percent(ci_prob)} CI"
    return table(["", "Mean", "SD", lower, upper, "R-hat", "Bulk ESS", "Tail ESS"], rows, title=title)
