"""Every printed table of a fit. Plain text of at most 100 columns, and the same in HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..spec.covariance import sd_and_correlation

if TYPE_CHECKING:
    from .point import PointFit
    from .posterior import PosteriorFit


@dataclass(frozen=True, slots=True)
class Text:
    """A block of text that prints as itself, and as preformatted text in a notebook."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre style='line-height:1.3'>{html.escape(self.text)}</pre>"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines of an aligned table; the first ``left`` columns are flush left, the others flush right."""
    cells = [list(headers), *map(list, rows)]
    widths = [max(len(row[c]) for row in cells) for c in range(len(headers))]
    return [
        "  ".join(
            cell.ljust(w) if c < left else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def decimals(uncertainty: float, *, significant: int = 3, most: int = 6) -> int:
    """Decimals that show an uncertainty to this many significant digits."""
    if not np.isfinite(uncertainty) or uncertainty <= 0.0:
        return 3
    return int(np.clip(significant - 1 - np.floor(np.log10(uncertainty)), 0, most))


def number(value: float, uncertainty: float | None = None, *, digits: int = 4) -> str:
    """A number with digits that its uncertainty justifies, or with so many significant digits."""
    if not np.isfinite(value):
        return "-"
    if uncertainty is not None:
        return f"{value:.{decimals(uncertainty)}f}"
    return f"{value:.{decimals(abs(value), significant=digits)}f}"


def _verdict(words: str) -> list[str]:
    return textwrap.wrap(f"Verdict: {words}", width=78, subsequent_indent="  ")


def _header(design, title: str) -> list[str]:  # type: ignore[no-untyped-def]
    lines = [title, f"Formula: {design.formula.text}"]
    groups = ", ".join(f"{g.name} {g.n_levels:,}" for g in design.groups)
    dropped = f" ({design.n_dropped:,} dropped: missing values)" if design.n_dropped else ""
    lines.append(f"Rows: {len(design.y):,}{dropped}; groups: {groups or 'none'}")
    if design.aliased:
        lines.append(f"Dropped (linearly dependent): {', '.join(design.aliased)}")
    return lines


def point_summary(fit: PointFit) -> Text:
    """lme4's summary of a REML or ML fit."""
    solution, design = fit.solution, fit.design
    lines = _header(design, f"Linear mixed model fit by {'REML' if solution.reml else 'maximum likelihood'}")
    if solution.reml:
        lines += ["", f"REML criterion: {fit.criterion:.4f}"]
    else:
        lines += [""] + table(
            ["AIC", "BIC", "logLik", "-2*logLik", "df.resid"],
            [[*(f"{v:.2f}" for v in (fit.aic, fit.bic, fit.loglik, fit.deviance)), str(fit.df_resid)]],
            left=0,
        )
    quantiles = np.quantile(fit.residuals("scaled"), [0, 0.25, 0.5, 0.75, 1])
    lines += ["", "Scaled residuals:"]
    lines += table(["Min", "1Q", "Median", "3Q", "Max"], [[f"{v:.4f}" for v in quantiles]], left=0)
    lines += ["", "Random effects:", *_random_effects(fit)]
    lines += ["", "Fixed effects:", *_fixed_effects(fit)]
    lines += _fixed_correlations(fit)
    lines += ["", *_verdict(fit.verdict)]
    return Text("\n".join(lines))


def _random_effects(fit: PointFit) -> list[str]:
    rows: list[list[str]] = []
    widest = max((len(block) for g in fit.design.groups for block in g.blocks), default=1)
    for group, cov in zip(fit.design.groups, fit.solution.covariances, strict=True):
        sd, cor = sd_and_correlation(cov)
        for block in group.blocks:
            for place, k in enumerate(block):
                name = group.name if place == 0 else ""
                corr = [f"{cor[k, other]:.2f}" for other in block[:place]]
                rows.append([name, group.columns[k], number(cov[k, k]), number(sd[k]), *corr])
    rows.append(["Residual", "", number(fit.sigma**2), number(fit.sigma)])
    full = [row + [""] * (3 + widest - len(row)) for row in rows]
    headers = ["Groups", "Name", "Variance", "Std.Dev."] + (
        ["Corr"] + [""] * (widest - 2) if widest > 1 else []
    )
    return table(headers, full, left=2)


def _fixed_effects(fit: PointFit) -> list[str]:
    rows = [
        [str(term), number(r.estimate, r.std_error), number(r.std_error, r.std_error), f"{r.statistic:.2f}"]
        for term, r in fit.fixef().iterrows()
    ]
    return table(["", "Estimate", "Std. Error", "t value"], rows)


def _fixed_correlations(fit: PointFit) -> list[str]:
    names = list(fit.design.x_names)
    if not 2 <= len(names) <= 10:
        return []
    se = np.sqrt(np.diag(fit.solution.vcov))
    cor = fit.solution.vcov / np.outer(se, se)
    short = [n if len(n) <= 12 else n[:11] + "…" for n in names]
    rows = [[names[i], *(f"{cor[i, j]:.3f}" if j < i else "" for j in range(len(names) - 1))]
            for i in range(1, len(names))]  # fmt: skip
    return ["", "Correlation of fixed effects:", *table(["", *short[:-1]], rows)]


def posterior_summary(fit: PosteriorFit) -> Text:
    """brms's layout: group-level, population-level and family parameters, then the verdict."""
    design = fit.design
    lines = _header(design, "Bayesian linear mixed model, family gaussian (identity link)")
    attrs = fit.idata.posterior.attrs
    lines.append(
        f"Draws: {fit.n_chains} chains x {fit.n_draws:,} after {attrs.get('tuning_steps', '?')} tuning steps, "
        f"by {attrs.get('sampler', 'NUTS')}; intervals are {fit.ci_prob:.0%} equal-tailed"
    )
    for g in design.groups:
        lines += ["", f"Group-level effects of {g.name} ({g.n_levels:,} levels):"]
        lines += _draws_table(fit.parameters(g.name), fit.ci_prob)
    lines += ["", "Population-level effects:", *_draws_table(fit.parameters("fixed"), fit.ci_prob)]
    lines += ["", "Family parameters:", *_draws_table(fit.parameters("family"), fit.ci_prob)]
    lines += ["", *_verdict(fit.verdict), "Priors: .priors   Random effects: .ranef()"]
    return Text("\n".join(lines))


def _draws_table(frame: pd.DataFrame, ci_prob: float) -> list[str]:
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
    lower, upper = f"l-{ci_prob:.0%} CI", f"u-{ci_prob:.0%} CI"
    return table(["", "Mean", "SD", lower, upper, "R-hat", "Bulk ESS", "Tail ESS"], rows)
