"""What ``summary()`` prints of estimates and of draws."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..covariances import Structure
from ..covariances.template import sd_and_correlation
from ..design.categories import category_words
from ..design.design import Design, GroupTerm
from ..design.names import RHO
from ..errors import NotAvailableError
from ..tools.arrays import Array
from ..tools.frame import one_line
from . import point_tables, wald
from .alike import verdict
from .draws import Draws
from .estimates import Estimates
from .fitted import residuals
from .intervals import family_table, residual_table
from .posterior_tables import parameters
from .summaries import CI_KINDS, P_POSITIVE, flat
from .text import Table, Text, number, percent, probability, table
from .variance import RESIDUAL, part_of, row_of


def _header(design: Design, title: str, *more: str) -> str:
    lines = [title, f"Formula: {design.formula.text}"]
    groups = ", ".join(
        f"{one_line(group.name)} {group.n_levels:,}" for group in design.every_group if group.is_grouping
    )
    smooths = ", ".join(one_line(smooth.name) for smooth in design.smooths)
    dropped = f" ({design.n_dropped:,} dropped: missing values)" if design.n_dropped else ""
    rows = f"Rows: {len(design.y):,}{dropped}{design.rows_words}; groups: {groups or 'none'}"
    lines.append(rows + f"; smooths: {smooths}" * bool(smooths))
    if design.sums is not None:
        lines.append("Rows were read chunk by chunk and not kept; quantiles of residuals are not among the sums")
    if design.se is not None:
        lines.append(errors_in_words(design))
    if design.residual is not None:
        lines.append(f"Residuals: {design.residual.text}")
    lines += [*design.contrast_lines, *design.predictor_lines]
    if design.fixed:
        lines.append(f"Fixed, not estimated: {design.fixed_in_words}")
    if design.aliased:
        lines.append(f"Dropped (linearly dependent): {', '.join(design.aliased)}")
    return "\n".join([*lines, *more])


def errors_in_words(design: Design) -> str:
    """Which standard errors are known, and how large they are."""
    errors = design.standard_errors
    assert errors is not None
    source = design.se or "given as values"
    return f"Standard errors of the rows: known, {source} ({number(errors.min())} to {number(errors.max())})"


def point_summary(fit: Estimates, ddf: str | None) -> Text:
    """What lme4 and lmerTest print of a REML or ML fit."""
    solution, design = fit.solution, fit.design
    method = "REML" if solution.reml else "maximum likelihood"
    kind = "Linear" if design.family.has_reml else "Generalised linear"
    title = f"{kind} mixed model" if design.every_group else f"{kind} model (no random effects)"
    family = []
    if solution.nodes:
        rule = "Laplace's approximation" if solution.nodes == 1 else f"quadrature with {solution.nodes} nodes"
        how_integrated = f"; effects integrated out by {rule}" if design.every_group else ""
        family = [f"Family: {design.family}{how_integrated}"]
        if design.family.has_categories:
            family.append(f"Response: {(' < ' if design.family.is_ordered else ', ').join(category_words(design))}")
            family += [f"Log odds are against {category_words(design)[0]}"] * design.family.is_nominal
        elif design.levels:
            family.append(f"Success: {category_words(design)[1]}")
    return Text.of(
        _header(design, f"{title} fit by {method}", *family),
        f"REML criterion: {fit.criterion:.4f}" if solution.reml else _information(fit),
        _scaled_residuals(fit),
        _random_effects(fit),
        _residual_structure(fit),
        _correlations_of_residuals(fit.design, fit.values.residual),
        _family_parameters(fit),
        _fixed_effects(fit, ddf),
        _fixed_correlations(fit),
        f"Verdict: {verdict(fit)}",
    )


def _information(fit: Estimates) -> Table:
    values = [f"{v:.2f}" for v in (fit.aic, fit.bic, fit.loglik, fit.deviance)]
    return table(["AIC", "BIC", "logLik", "-2*logLik", "df.resid"], [[*values, f"{fit.df_resid:.6g}"]], left=0)


def _family_parameters(fit: Estimates) -> Table | None:
    estimates = family_table(fit, 0.95)
    if not len(estimates):
        return None
    rows = [
        [str(r["term"]), *(number(r[c], r["std_error"]) for c in ("estimate", "std_error"))]
        for _, r in estimates.iterrows()
    ]
    return table(["", "Estimate", "Std. Error"], rows, title="Family parameters:")


def _scaled_residuals(fit: Estimates) -> Table | None:
    design = fit.design
    if design.family.has_categories or design.bounds is not None or design.sums is not None:
        return None
    quantiles = np.quantile(residuals(fit, "scaled"), [0, 0.25, 0.5, 0.75, 1])
    cells = [f"{quantile:.4f}" for quantile in quantiles]
    return table(["Min", "1Q", "Median", "3Q", "Max"], [cells], left=0, title="Scaled residuals:")


def _random_effects(fit: Estimates) -> Table | None:
    rows: list[list[str]] = []
    residual = None if fit.design.family.residual_is_known else fit.solution.parameters.get("sigma")
    if residual is None and not fit.design.every_group:
        return None
    widest = max(
        (_corr_width(g, block, s) for g in fit.design.every_group for block, s in g.template.parts()), default=1
    )
    for group in fit.design.every_group:
        covariance = point_tables.var_corr(fit)[group.name].to_numpy()
        sd, correlation = sd_and_correlation(covariance)
        for block, structure in group.template.parts():
            shown = block[: structure.n_sds(len(block))]
            for place, k in enumerate(shown):
                name = row_of(group.name) if place == 0 else ""
                corr = [_two_decimals(correlation[k, other]) for other in block[:place]]
                if structure.n_correlations(len(block)) and not structure.is_free:
                    a, b = structure.pairs(len(block))[0]
                    corr = [f"{_two_decimals(correlation[block[a], block[b]])} ({structure.name})"] * (place == 0)
                elif not structure.n_correlations(len(block)):
                    corr = []
                rows.append([name, group.sd_label(k), number(covariance[k, k]), number(sd[k]), *corr])
    if residual is not None:
        rows += _residual_rows(fit, float(residual))
    full = [row + [""] * (3 + widest - len(row)) for row in rows]
    headers = ["Groups", "Name", "Variance", "Std.Dev."]
    headers += ["Corr", *[""] * (widest - 2)] if widest > 1 else []
    return table(headers, full, left=2, title="Random effects:" if fit.design.every_group else "Residuals:")


def _residual_rows(fit: Estimates, sigma: float) -> list[list[str]]:
    """Variance and sd of the residuals: of every stratum, or where the columns that they follow are zero."""
    part = fit.design.residual
    factors = [] if part is None else part.stratum_factors(fit.solution.residual)
    if not factors:
        zero = "" if part is None or not part.n_spread else "(at zero)"
        return [[RESIDUAL, zero, number(sigma**2), number(sigma)]]
    return [
        [RESIDUAL * (k == 0), label, number((sigma * float(f)) ** 2), number(sigma * float(f))]
        for k, (label, f) in enumerate(factors)
    ]


def _residual_structure(fit: Estimates) -> Table | None:
    """Correlations of residuals, and how their log sd follows columns that are no strata."""
    part = fit.design.residual
    if part is None or (part.strata and not part.is_correlated):
        return None
    rows = []
    residual_rows = residual_table(fit, 0.95)
    for k, (label, value, se) in enumerate(
        zip(part.labels, residual_rows["estimate"], residual_rows["std_error"], strict=True)
    ):
        cells = [number(value, se), number(se, se) if np.isfinite(se) else "-"]
        if k >= part.n_spread and not part.has_many:
            rows.append([f"correlation {label}", *cells])
        elif k < part.n_spread and not part.strata:
            rows.append([f"log sd by {label}", *cells])
    return table(["", "Estimate", "Std. Error"], rows, title="Residual structure:") if rows else None


def _correlations_of_residuals(design: Design, values: Array | None) -> Table | None:
    """The matrix of correlations between positions, where they are many."""
    part = design.residual
    if part is None or values is None or not part.has_many:
        return None
    names = part.positions
    R = part.structure.correlation_of_positions(values)
    met = [[b < a and not (R[a, b] == 0.0) for b in range(len(names))] for a in range(len(names))]
    rows = [
        [names[a], *(_two_decimals(R[a, b]) if met[a][b] else "" for b in range(len(names) - 1))]
        for a in range(1, len(names))
    ]
    return table(["", *names[:-1]], rows, title="Correlation of residuals:")


def _corr_width(group: GroupTerm, block: tuple[int, ...], structure: Structure) -> int:
    """One more than the columns that the correlations of a block take."""
    if not structure.n_correlations(len(block)):
        return 1
    return len(block) if structure.is_free else 2


def _two_decimals(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _fixed_effects(fit: Estimates, ddf: str | None) -> Table:
    z = bool(fit.solution.nodes)
    with_df = wald.method_of(ddf) is not None and not z
    with_p, letter = with_df or z, "z" if z else "t"
    rows = []
    for term, r in point_tables.fixef(fit, ddf=ddf).iterrows():
        cells = [str(term), number(r.estimate, r.std_error), number(r.std_error, r.std_error)]
        if with_df:
            cells.append(number(r.df))
        cells.append(_two_decimals(r.statistic))
        rows.append([*cells, probability(r.p_value)] if with_p else cells)
    headers = ["", "Estimate", "Std. Error", *(["df"] if with_df else []), f"{letter} value"]
    headers += [f"Pr(>|{letter}|)"] if with_p else []
    caption = wald.caption(fit.design, fit.solution, ddf)
    caption = " (z tests)" if z else f" ({caption})" if caption.startswith("z") else f" (t tests, {caption})"
    caption = caption if with_p else ""
    return table(headers, rows, title=f"Fixed effects{caption}:")


def _fixed_correlations(fit: Estimates) -> Table | None:
    names = list(fit.design.coefficient_labels)
    if not 2 <= len(names) <= 10:
        return None
    vcov = point_tables.vcov(fit).to_numpy()
    if np.isnan(vcov).any():
        return None
    se = np.sqrt(np.diag(vcov))
    correlation = vcov / np.outer(se, se)
    short = [name if len(name) <= 12 else name[:11] + "…" for name in names]
    short = [f"…{name[-11:]}" if short.count(head) > 1 else head for name, head in zip(names, short, strict=True)]
    rows = [
        [
            names[i],
            *(f"{correlation[i, j]:.3f}".replace("-0.000", "0.000") if j < i else "" for j in range(len(names) - 1)),
        ]
        for i in range(1, len(names))
    ]
    return table(["", *short[:-1]], rows, title="Correlation of fixed effects:")


def posterior_summary(fit: Draws) -> Text:
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
    kind = f"{linear} mixed" if design.every_group else linear
    levels = []
    if design.levels:
        joint = (" < " if design.family.is_ordered else ", ").join(category_words(design))
        levels = [f"Response: {joint}" if design.family.has_categories else f"Success: {category_words(design)[1]}"]
        levels += [f"Log odds are against {category_words(design)[0]}"] * design.family.is_nominal
    parts = [
        *(
            (part_of(group.name), f"Group-level effects of {one_line(group.name)} ({group.n_levels:,} levels):")
            for group in design.every_group
        ),
        *([("fixed", "Population-level effects:")] if design.x_names or design.family.is_nominal else []),
        *([("family", "Family parameters:")] if design.family.parameters and not design.family.is_nominal else []),
    ]
    return Text.of(
        _header(design, f"Bayesian {kind} model, family {design.family}", *levels, draws),
        *(_part_table(fit, part, title) for part, title in parts),
        _mean_correlations(fit),
        f"Verdict: {fit.verdict}\nPriors: .priors; random effects: .ranef()",
    )


def _mean_correlations(fit: Draws) -> Table | None:
    residual = fit.values.residual if fit.design.residual is not None and fit.design.residual.has_many else None
    return None if residual is None else _correlations_of_residuals(fit.design, flat(residual).mean(axis=0))


def _part_table(fit: Draws, part: str, title: str) -> Table | str:
    """One table of a summary; draws made elsewhere may hold only some of the model's variables."""
    try:
        frame = parameters(fit, part)
        residual = fit.design.residual
        if part == "family" and residual is not None and residual.has_many:
            shown = [not str(term).startswith(f"{RHO}(") for term in frame.index]
            frame, title = frame[shown], f"{title[:-1]}, and correlations below (.parameters('family') has intervals):"
        return _draws_table(frame, fit.ci_prob, title)
    except NotAvailableError as error:
        return f"{title} {error}"


def _draws_table(frame: pd.DataFrame, ci_prob: float, title: str) -> Table:
    signed = P_POSITIVE in frame and bool(frame[P_POSITIVE].notna().all())  # elsewhere the table would be too wide
    rows = [
        [
            str(term),
            *(number(r[c], r["sd"]) for c in ("mean", "sd", "conf_low", "conf_high")),
            *([f"{r[P_POSITIVE]:.3f}"] if signed else []),
            f"{r['rhat']:.3f}",
            f"{r['ess_bulk']:,.0f}",
            f"{r['ess_tail']:,.0f}",
        ]
        for term, r in frame.iterrows()
    ]
    lower, upper = f"l-{percent(ci_prob)} CI", f"u-{percent(ci_prob)} CI"
    headers = ["", "Mean", "SD", lower, upper, *(["P(>0)"] if signed else []), "R-hat", "Bulk ESS", "Tail ESS"]
    return table(headers, rows, title=title, starts=(len(headers) - 3,))
