"""Verdicts on grouping factors: how many levels, boundaries, how their effects are distributed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..covariances.template import sd_and_correlation
from ..design.design import Design, GroupTerm
from ..design.identification import by_form_alone, can_judge, untold_variances
from ..results.alike import told_of
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.text import percent
from ..results.variance import Parts, average_variance, mean_group_variance
from ..tools.arrays import Array
from .draws import Draws, Effects
from .rows import kurtosis, skewness
from .verdict import LIMITS, Measure, Verdict, by_chance, no_answer, verdict, worst

ENOUGH_LEVELS = 10  # to say anything of the distribution of their effects
LITTLE_KNOWN = 0.1  # reliability under which draws of the effects follow from the model more than from the data
AT_ONE = 1.0 - 1e-6  # a correlation of ±1, to the precision of the search
NEGLIGIBLE = 0.01  # of the residual variance
NO_GROUPS = "the model has no random effects"
ALL_WIDE = "its random effects are related, of several memberships or of curves, and not of independent levels"


# -- levels


def levels(design: Design) -> Verdict:
    """Whether every factor has levels enough to tell their sd."""
    ordinary = {name: group for name, group in design.factors.items() if not group.is_wide}
    if not ordinary:
        return no_answer("levels", ALL_WIDE if design.groups else NO_GROUPS)
    limit, rows = LIMITS["few levels"], []
    for name, group in ordinary.items():
        sizes = np.bincount(group.codes, minlength=group.n_levels)
        level = limit.level(1.0 / (group.n_levels + 0.5))  # "fewer than": five levels are not fewer than five
        rows.append((name, group.n_levels, int(sizes.min()), float(np.median(sizes)), int(sizes.max()), level))
    columns = ["group", "levels", "fewest_rows", "median_rows", "most_rows", "level"]
    table = pd.DataFrame(rows, columns=columns)
    table["sd_known_to"] = 1.0 / np.sqrt(2.0 * np.maximum(table["levels"] - 1, 1))
    sentences = [
        f"{r['group']} has {r['levels']:,}, which tell an sd to about {100 * r['sd_known_to']:.0f}% of itself"
        for _, r in table.iterrows()
    ]
    few = table.loc[table["level"] != "ok", "group"]
    remedy = f"Take {' and '.join(few)} as fixed, or a posterior with a prior of its sd that you can defend."
    return Verdict(
        name="levels",
        level=worst(table["level"].tolist()),
        words="; ".join(sentences) + ".",
        remedy=remedy if len(few) else "",
        numbers=table,
    )


# -- identification


def identified(fit: PointFit | PosteriorFit) -> Verdict:
    """Whether the data tell every variance, or only combinations of them."""
    if not fit.design.groups:
        return no_answer("identification", NO_GROUPS)
    if isinstance(fit, PointFit):
        combinations = told_of(fit) if fit.solution.rivals else ""
        consequence = "estimates that are as good differ in the rest, which is missing in the tables."
    elif not can_judge(fit.design):
        return no_answer("identification", "these terms have too many columns for products of all of them")
    else:
        combinations, consequence = untold_variances(fit.design), "the rest is the priors'."
    alone = by_form_alone(fit.design)
    if not combinations and alone:
        return Verdict(
            name="identification",
            level="look",
            numbers=pd.DataFrame(),
            words=f"{alone}.",
            remedy="Leave one of the two out: take the family without that parameter, or the model without the term.",
        )
    if not combinations:
        return Verdict(name="identification", level="ok", words="the data tell every variance.", numbers=pd.DataFrame())
    return Verdict(
        name="identification",
        level="no" if isinstance(fit, PointFit) else "look",
        numbers=pd.DataFrame(),
        words=f"{combinations}: {consequence}",
        remedy="Leave out a term that the data do not tell from another"
        + ("." if isinstance(fit, PointFit) else ", or defend the priors of these sds."),
    )


# -- boundary


def boundary(fit: PointFit | PosteriorFit) -> Verdict:
    """Variances of zero and correlations of ±1: of the estimate, or whether the posterior piles up there."""
    if not fit.design.groups:
        return no_answer("boundary", NO_GROUPS)
    return _singular(fit) if isinstance(fit, PointFit) else _piled_up(fit)


def _singular(fit: PointFit) -> Verdict:
    rows, boundaries = [], ["sigma is zero"] if "sigma" in fit.solution.limits else []
    covariances = [covariance_matrix.to_numpy() for covariance_matrix in fit.var_corr().values()]
    factors = zip(fit.design.groups, covariances, fit.solution.singular, strict=True)
    for g, covariance, singular in factors:
        sd, correlation = sd_and_correlation(covariance)
        parameters = zip(g.sd_terms, sd[list(g.template.sd_columns)], strict=True)
        at_boundary = [f"sd({c} | {g.name}) is zero" for c, s in parameters if s == 0.0]
        at_boundary += [
            f"{_pair(g, a, b)} is {correlation[a, b]:+.0f}"
            for a, b in g.correlated
            if abs(correlation[a, b]) > AT_ONE and sd[a] and sd[b]
        ]
        boundaries += at_boundary or [f"the covariance matrix of {g.name} is singular"] * singular
        rows += [(g.name, column, s, singular) for column, s in zip(g.columns, sd, strict=True)]
    table = pd.DataFrame(rows, columns=["group", "term", "sd", "singular"])
    if not boundaries:
        return Verdict(name="boundary", level="ok", words="no variance is zero, no correlation is ±1.", numbers=table)
    return Verdict(
        name="boundary",
        level="no",
        words=f"{'; '.join(boundaries)}: the most plausible value, not what is known.",
        remedy="Simplify the bar, or take the posterior (model.fit()), which says what else the data allow.",
        numbers=table,
    )


def _pair(g: GroupTerm, a: int, b: int) -> str:
    return f"cor({g.correlation_label(a, b)} | {g.name})"


def _piled_up(fit: PosteriorFit) -> Verdict:
    rows = [row for k in range(len(fit.design.groups)) for row in [*_sds(fit, k), *_correlations(fit, k)]]
    table = pd.DataFrame(rows, columns=["parameter", "median", "probability", "negligible", "level", "words"])
    level = worst(table["level"].tolist())
    if level == "ok":
        return Verdict(
            name="boundary", level=level, words="no sd piles up at zero, no correlation at ±1.", numbers=table
        )
    return Verdict(
        name="boundary",
        level=level,
        words="; ".join(table.loc[table["level"] != "ok", "words"]) + ".",
        remedy="Try the model without the term: blm.compare says whether it predicts as well.",
        numbers=table,
    )


def _sds(fit: PosteriorFit, k: int) -> Iterator[tuple[str, float, float, float, str, str]]:
    """Whether the density of an sd does not fall towards zero, and how likely the term adds next to nothing."""
    limit, g = LIMITS["near zero"], fit.design.groups[k]
    residual = Parts.of(fit.design, fit.values).residual
    for column, c in zip(g.sd_terms, g.template.sd_columns, strict=True):
        sd = fit.draws(fit.design.names.sd[g.name])[..., c]
        piled = float(np.mean(sd < 0.1 * np.quantile(sd, 0.95)))
        small = np.nan
        if residual is not None:
            alike = [k for k in range(g.q) if g.template.sd_of[k] == g.template.sd_of[c]]
            covariance = sd[..., None, None] ** 2 * np.eye(len(alike))
            added = average_variance(g, covariance) if g.is_wide else mean_group_variance(g.Z[:, alike], covariance)
            small = float(np.mean(added < NEGLIGIBLE * residual))
        level = limit.level(max(piled, small) if piled >= limit.look else piled)
        name = f"sd({column} | {g.name})"
        words = f"the data do not exclude that {name} is zero"
        if np.isfinite(small):
            words += f"; it adds less than a tenth of the residual sd with probability {percent(round(small, 2))}"
        yield name, float(np.median(sd)), piled, small, level, words


def _correlations(fit: PosteriorFit, k: int) -> Iterator[tuple[str, float, float, float, str, str]]:
    g = fit.design.groups[k]
    for a, b in g.correlated:
        correlation = fit.draws(fit.design.names.cor[g.name])[..., a, b]
        p, name = float(np.mean(np.abs(correlation) > 0.95)), _pair(g, a, b)
        words = f"{name} is beyond ±0.95 with probability {percent(round(p, 2))}"
        yield name, float(np.median(correlation)), p, np.nan, LIMITS["near one"].level(p), words


# -- random effects


def random_effects(draws: Draws) -> Verdict:
    """Skewness, tails and outlying levels of the random effects of every factor with levels enough."""
    measures: list[Measure] = []
    skipped = []
    for effect in draws.effects:
        why = _too_little(effect)
        if why:
            skipped.append(f"{effect.term} ({why})")
        else:
            measures += _shape(effect)
    untold = f"Not told: {', '.join(skipped)}." if skipped else ""
    if not measures:
        reason = NO_GROUPS if not draws.design.groups else "their sds are zero"
        reason = ALL_WIDE if draws.design.groups and all(group.is_wide for group in draws.design.groups) else reason
        return no_answer("random effects", f"too little is known of {', '.join(skipped)}" if skipped else reason)
    largest = max((measure for measure in measures if measure.limit == "skewness"), key=lambda m: m.size)
    return verdict(
        "random effects",
        measures,
        fine=f"close to normal ({', '.join(dict.fromkeys(m.of for m in measures))}); {largest.words} at most",
        remedies={
            "skewness": "Look for a predictor of levels that is missing; log(y) or sqrt(y) may help.",
            "kurtosis": "Look at the levels far out, or for a predictor of levels that is missing.",
            "outlying": "Look at these levels.",
        },
        more=untold,
    )


def _too_little(e: Effects) -> str:
    """Why nothing can be said of the distribution of some effects; empty where it can."""
    if e.group.n_levels < ENOUGH_LEVELS:
        return f"{e.group.n_levels} levels"
    return f"reliability {max(e.reliability, 0.0):.2f}" if e.reliability < LITTLE_KNOWN else ""


def _shape(e: Effects) -> Iterator[Measure]:
    mean = e.drawn.mean(axis=0)
    far = int(np.argmax(np.abs(mean)))
    furthest = f"{e.group.name} {e.group.levels[far]} ({mean[far]:+.1f} sds)"
    yield e.measure(
        "skewness",
        skewness,
        size=lambda x, _: abs(x),
        words=lambda x, c: f"skewness {x:.2f} of {e.term} ({by_chance(c)})",
    )
    yield e.measure(
        "kurtosis",
        kurtosis,
        size=lambda x, _: abs(x),
        words=lambda x, c: (
            f"{'heavy' if x > 0 else 'light'} tails of {e.term}, excess kurtosis {x:.2f} "
            f"({by_chance(c)}), furthest out {furthest}"
        ),
    )
    yield e.measure(
        "outlying",
        lambda z: np.abs(z).max(axis=1),
        size=lambda x, _: x,
        upwards=True,
        words=lambda x, c: f"{e.term} up to {x:.1f} sds from zero ({by_chance(c)}): {furthest}",
    )


# -- means of levels


def level_means(draws: Draws) -> Verdict:
    """Whether random intercepts go with the levels' means of a predictor, which they are assumed not to.

    If they do, its coefficient mixes the slope within levels with that between them (Mundlak 1978).
    """
    if not draws.design.groups:
        return no_answer("level means", NO_GROUPS)
    measures = [
        _with_mean(effect, name, mean)
        for effect in draws.effects
        if effect.group.columns[effect.column] == "Intercept" and not _too_little(effect)
        for name, mean in _means_of_predictors(draws.design, effect.group)
    ]
    if not measures:
        return no_answer("level means", "no predictor varies both within and between the levels of a factor")
    return verdict(
        "level means",
        measures,
        fine=f"{max(measures, key=lambda m: m.size).words} at most",
        remedies={"level means": "Split it by blm.center_within: slopes within and between levels differ."},
    )


def _with_mean(e: Effects, name: str, mean: Array) -> Measure:
    return e.measure(
        "level means",
        lambda z: _correlation(z, mean),
        of=f"{name} | {e.group.name}",
        size=lambda r, _: abs(r),
        words=lambda r, c: (
            f"random intercepts of {e.group.name} correlate {r:+.2f} with its means of {name} ({by_chance(c)})"
        ),
    )


def _means_of_predictors(design: Design, g: GroupTerm) -> Iterator[tuple[str, Array]]:
    """Columns of X that vary within levels and between them, and their means by level (J,)."""
    sizes = np.maximum(np.bincount(g.codes, minlength=g.n_levels), 1)
    for name, x in zip(design.x_names, design.X.T, strict=True):
        mean = np.bincount(g.codes, weights=x, minlength=g.n_levels) / sizes
        total = np.var(x)
        if min(np.var(x - mean[g.codes]), np.var(mean)) > 1e-3 * total > 0.0:  # a row missing is no difference
            yield name, mean


def _correlation(z: Array, x: Array) -> Array:
    """Of every row of z (S, J) with x (J,)."""
    centred, x = z - z.mean(axis=1, keepdims=True), x - x.mean()
    return centred @ x / np.sqrt((centred**2).sum(axis=1) * (x @ x))
