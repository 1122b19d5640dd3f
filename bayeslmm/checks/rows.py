"""Verdicts on residuals: their distribution, spread, independence, and curves along predictors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..design.design import Design
from ..design.grouping import factorize
from ..families import Family
from ..formulas.terms import Atom
from ..predictive.statistics import Split
from ..tools.arrays import Array
from ..tools.frame import is_numeric
from .draws import Draws
from .verdict import Measure, Verdict, by_chance, no_answer, verdict, without_chance

Codes = NDArray[np.int64]

MOST_BINS = 10  # along a predictor
MOST_LEVELS = 12  # of a predictor whose levels may have residual sds of their own
ONE_SIDED = 0.9  # of a level's residuals, for them to be "nearly all" of one sign
ENOUGH_ROWS = 3  # of a level, to say anything of their spread and signs
ENOUGH_NEIGHBOURS = 10


# -- distribution


def distribution(rows: Draws) -> Verdict:
    """Skewness, tails and largest of the residuals; for families without a free variance their sd as well."""
    family = rows.design.family
    normal = family.has_normal_scores
    measures = [
        rows.measure(
            "skewness", skewness, size=lambda x, _: abs(x), words=lambda x, c: f"skewness {x:.2f} ({by_chance(c)})"
        ),
        rows.measure(
            "kurtosis",
            kurtosis,
            size=lambda x, _: abs(x),
            words=lambda x, c: f"{'heavy' if x > 0 else 'light'} tails, excess kurtosis {x:.2f} ({by_chance(c)})",
        ),
        rows.measure(
            "largest",
            lambda e: np.abs(e).max(axis=1),
            size=lambda x, _: x,
            upwards=True,
            words=lambda x, c: f"residuals up to {x:.1f} sds from zero ({by_chance(c)}): {_largest(rows)}",
        ),
    ]
    if not normal:
        measures.append(
            rows.measure(
                "dispersion",
                lambda e: e.std(axis=1),
                size=lambda x, _: max(x, 1.0 / x),
                words=lambda x, c: (
                    f"{'over' if x > 1 else 'under'}dispersed: quantile residuals have sd {x:.2f} ({by_chance(c)})"
                ),
            )
        )
    beyond = 100.0 * np.mean(np.abs(rows.residuals) > 3.0)
    shape_words = "close to normal" if normal else f"as those of {family.word} responses"
    return verdict(
        "residual distribution",
        measures,
        fine=f"{shape_words}: skewness {measures[0].observed:.2f}, excess kurtosis {measures[1].observed:.2f}, "
        f"{beyond:.2g}% beyond 3 sds (normal 0.27%)",
        remedies=remedies_of_shape(family) | {"largest": "Look at these rows."},
    )


def remedies_of_shape(family: Family) -> dict[str, str]:
    """What to do about the shape of residuals that a response of this family can take."""
    elsewhere = ""
    if family.has_categories or family.is_binary:
        elsewhere = "Look for a predictor or an interaction left out."
    elif family.has_trials:
        elsewhere = "Try family='beta_binomial', or an effect for every row."
    elif family.is_discrete:
        elsewhere = "Try another family (negbinomial for counts), or an effect for every row."
    elif family.mean_is_probability:
        elsewhere = "Look for a predictor left out, of the mean or of phi (phi='~ x')."
    if elsewhere:
        return dict.fromkeys(("skewness", "kurtosis", "dispersion"), elsewhere)
    return {
        "skewness": "Try log(y) or sqrt(y), family='lognormal' or 'gamma'.",
        "kurtosis": "Try family='student_t'.",
        "dispersion": "Try another family, or an effect for every row.",
    }


def skewness(z: Array) -> Array:
    """Of every row of z (S, k)."""
    centred = z - z.mean(axis=1, keepdims=True)
    square = centred * centred
    return (square * centred).mean(axis=1) / square.mean(axis=1) ** 1.5


def kurtosis(z: Array) -> Array:
    """Excess kurtosis of every row of z (S, k)."""
    square = (z - z.mean(axis=1, keepdims=True)) ** 2
    return (square * square).mean(axis=1) / square.mean(axis=1) ** 2 - 3.0


def _largest(rows: Draws, count: int = 3) -> str:
    mean = rows.residuals.mean(axis=0)
    far = np.argsort(-np.abs(mean))[:count]
    return "rows " + ", ".join(f"{rows.design.index[i]} ({mean[i]:+.1f})" for i in far)


# -- spread


def spread(rows: Draws) -> Verdict:
    """Whether residuals vary as much at large fitted values as at small ones, and alike in all levels of a factor."""
    measures = []
    if np.ptp(rows.eta, axis=1).min() > 0.0:
        order = np.argsort(rows.eta, axis=1)
        measures.append(
            rows.measure(
                "spread",
                lambda e: _log_ratio(e, order),
                size=lambda x, _: float(np.exp(abs(x))),
                words=lambda x, c: (
                    f"the residual sd at large fitted values is {np.exp(x):.2f} times that at small "
                    f"ones ({by_chance(np.exp(c))})"
                ),
            )
        )
    measures += [_between_levels(rows, split) for split in rows.splits if (split.sizes >= ENOUGH_ROWS).sum() > 1]
    of_predictors = list(_between_factors(rows)) if rows.design.takes_residual else []
    if not measures:
        return no_answer("residual variance", "all fitted values are equal, and there are no groups")
    remedies = {
        "spread": "Try log(y) or sqrt(y), or a family whose variance grows with the mean (gamma, negbinomial).",
        "level sds": "Intervals of single levels are too wide or too narrow; give weights= if it is known why.",
    }
    if rows.design.takes_residual:
        along = next(_numeric(rows.design), None)
        if along is not None:
            remedies["spread"] += f' Or let the sd of the residuals follow a predictor: sigma="~ {Atom(along)}".'
        worst = max(of_predictors, key=lambda m: m.size, default=None)
        if worst is not None:
            remedies["predictor sds"] = f'Give every level its own residual sd: sigma="~ {Atom(worst.of)}".'
        remedies["level sds"] += ' What tells such levels apart can stand in sigma="~ x".'
        levels = max(
            (measure for measure in measures if measure.limit == "level sds"), key=lambda m: m.size, default=None
        )
        if levels is not None and levels.of in rows.design.frame:
            remedies["level sds"] += f' Or let the sd vary by level: sigma="~ (1 | {Atom(levels.of)})", drawn by fit().'
    return verdict(
        "residual variance",
        [*measures, *of_predictors],
        fine="; ".join(measure.words for measure in measures),
        remedies=remedies,
    )


def _between_factors(rows: Draws) -> Iterator[Measure]:
    """Residual sds of the levels of the factors in the fixed part, those of few levels."""
    split_names = {split.name for split in rows.splits}
    for name in _variables(rows.design):
        column = rows.design.frame[name]
        if is_numeric(column) and column.dtype != bool or name in split_names:
            continue
        grouping, codes = factorize([column], name)
        split = Split.of(name, codes, grouping.levels)
        if 1 < len(split.sizes) <= MOST_LEVELS and split.sizes.min() >= ENOUGH_ROWS:
            yield _between_levels(rows, split, limit="predictor sds")


def _log_ratio(e: Array, order: Codes) -> Array:
    """log sd in the upper third of the fitted values less that in the lower one; e (S, n), order (K, n)."""
    third = max(2, e.shape[1] // 3)
    row_order = order[np.arange(len(e)) % len(order)]
    low, high = (np.take_along_axis(e, row_order[:, part], axis=1) for part in (slice(third), slice(-third, None)))
    return np.log(high.std(axis=1) / low.std(axis=1))


def _between_levels(rows: Draws, split: Split, *, limit: str = "level sds") -> Measure:
    enough = split.sizes >= ENOUGH_ROWS
    free = split.sizes[enough] - 1.0
    weights = free / free.sum()

    def log_sds(e: Array) -> Array:
        """Sd between levels of the log residual sd (S,), levels weighted by their degrees of freedom."""
        inside = (_sums(e**2, split) - _sums(e, split) ** 2 / split.sizes)[:, enough]
        logs = 0.5 * np.log(inside / free)
        away = logs - (logs @ weights)[:, None]
        return np.sqrt((away * away) @ weights)

    return rows.measure(
        limit,
        log_sds,
        of=split.name,
        size=without_chance,
        upwards=True,
        words=lambda x, c: (
            f"that of a typical {split.name} is off by {100 * without_chance(x, c):.0f}% more than by chance"
        ),
    )


def _sums(e: Array, split: Split) -> Array:
    """Sums (S, J) over the rows of every level."""
    return np.add.reduceat(e[:, split.order], split.starts, axis=1)


# -- independence


def independence(rows: Draws) -> Verdict:
    """Signs of residuals within levels, and likeness of neighbouring rows."""
    shared = [split for split in rows.splits if split.sizes.max() > 1]
    measures = [_same_sign(rows, split) for split in shared]
    finest = max(rows.splits, key=lambda s: len(s.sizes), default=Split.whole(rows.design.n))
    if (finest.sizes - 1).sum() >= ENOUGH_NEIGHBOURS:
        measures.append(_neighbours(rows, finest))
    if not measures:
        return no_answer("independence", "no level has two rows")
    correlated = ""
    if rows.design.takes_residual and rows.design.residual is None:
        within = finest.name or "group"
        correlated = f' Or let residuals be correlated over time: residual="ar1(time | {within})".'
    factors = set(rows.design.factors)
    outside = [split.name for split in rows.splits if split.name not in factors]
    unasked = "" if rows.splits else "No groups are known: by='column' says which rows belong together."
    return verdict(
        "independence",
        measures,
        fine="; ".join(measure.words for measure in measures),
        remedies={
            "ignored factor": f"Add {' + '.join(f'(1 | {name})' for name in outside)} to the formula.",
            "same sign": "Let more coefficients vary by group, or look for a missing grouping factor.",
            "neighbours": (
                "If the order of rows is that of time, let its effect vary by group, or add a curve of it."
                if rows.splits
                else "Rows that belong together may follow each other: add (1 | group) to the formula."
            )
            + correlated,
        },
        more=" ".join([*(_one_sided(rows, split) for split in shared), unasked]).strip(),
    )


def _same_sign(rows: Draws, split: Split) -> Measure:
    """Probability that two residuals of one level have the same sign, 1/2 + arcsin(correlation)/π for normal ones.

    A correlation is large by what it does to standard errors if the model ignores the factor, else by itself.
    """
    sizes = split.sizes.astype(np.float64)
    n, typical = sizes.sum(), (sizes**2).sum() / sizes.sum()
    ignored = split.name not in rows.design.factors

    def agree(e: Array) -> Array:
        return 0.5 + 0.5 * ((_sums(np.sign(e), split) ** 2).sum(axis=1) - n) / (n * (typical - 1.0))

    def correlation(x: float) -> float:
        return float(np.sin(np.pi * (x - 0.5)))

    def words(x: float, chance: Array) -> str:
        sentence = (
            f"two residuals of one {split.name} have the same sign {100 * x:.1f}% of the time (50% if independent)"
        )
        return sentence + (f", a design effect of {1.0 + (typical - 1.0) * correlation(x):.1f}" if ignored else "")

    return rows.measure(
        "ignored factor" if ignored else "same sign",
        agree,
        of=split.name,
        upwards=True,
        words=words,
        size=lambda x, _: 1.0 + (typical - 1.0) * correlation(x) if ignored else correlation(x),
    )


def _one_sided(rows: Draws, split: Split) -> str:
    """How many levels have residuals that are nearly all positive or nearly all negative, and how many by chance."""
    enough = split.sizes >= ENOUGH_ROWS

    def count(e: Array) -> float:
        up = _sums((e > 0.0).astype(np.float64), split)[:, enough] / split.sizes[enough]
        return float(np.mean(np.sum(np.maximum(up, 1.0 - up) >= ONE_SIDED, axis=1)))

    observed, expected = count(rows.residuals), count(rows.noise)
    if observed < 1.0 + expected:
        return ""
    return (
        f"{observed:.0f} of {enough.sum():,} levels of {split.name} have residuals nearly all of one sign "
        f"({expected:.1f} by chance)."
    )


def _neighbours(rows: Draws, split: Split) -> Measure:
    within_level = np.ones(len(split.order) - 1, dtype=bool)
    within_level[split.starts[1:] - 1] = False

    def correlation(e: Array) -> Array:
        residuals = e[:, split.order]
        residuals = residuals - residuals.mean(axis=1, keepdims=True)
        return (residuals[:, 1:] * residuals[:, :-1])[:, within_level].mean(axis=1) / (residuals**2).mean(axis=1)

    where = f" of one {split.name}" if split.name else ""
    return rows.measure(
        "neighbours",
        correlation,
        of=split.name,
        size=lambda x, _: abs(x),
        words=lambda x, c: f"residuals of neighbouring rows{where} correlate {x:+.2f} ({by_chance(c)})",
    )


# -- curves


def linearity(rows: Draws) -> Verdict:
    """Whether the mean residual follows a curve along a numeric predictor."""
    measures = [_curve(rows, name, codes) for name, codes in _binned(rows.design)]
    if not measures:
        return no_answer("linearity", "the fixed part has no numeric predictor with three values or more")
    largest = max(measure.size for measure in measures)
    return verdict(
        "linearity",
        measures,
        fine=f"no curve along {', '.join(measure.of for measure in measures)}; mean residuals move by {largest:.2f} "
        "residual sds more than by chance",
        remedies={"curve": "Try poly(x, 2), bs(x, df=4) or log(x) of it."},
    )


def _variables(design: Design) -> Iterator[str]:
    """The columns that the fixed part uses."""
    used_names = (
        name
        for factors in design.recipe.fixed.products
        for coded in factors
        for name in coded.expression.columns.values()
    )
    yield from dict.fromkeys(used_names)


def _numeric(design: Design) -> Iterator[str]:
    """Those of them that hold numbers."""
    yield from (name for name in _variables(design) if is_numeric(design.frame[name]))


def _binned(design: Design) -> Iterator[tuple[str, Codes]]:
    """Numeric variables of the fixed part, by value or cut into tenths."""
    for name in _numeric(design):
        values = design.frame[name].to_numpy(dtype=np.float64)
        edges = np.unique(values)
        if len(edges) > MOST_BINS:
            edges = np.unique(np.quantile(values, np.arange(MOST_BINS) / MOST_BINS))
        if len(edges) > 2:
            yield name, np.searchsorted(edges, values, side="right") - 1


def _curve(rows: Draws, name: str, codes: Codes) -> Measure:
    split = Split.of(name, codes, range(codes.max() + 1))

    def height(e: Array) -> Array:
        """Sd of the mean residual along the predictor, in residual sds."""
        means = _sums(e - e.mean(axis=1, keepdims=True), split) / split.sizes
        return np.sqrt((means**2) @ split.sizes / e.shape[1] / e.var(axis=1))

    return rows.measure(
        "curve",
        height,
        of=name,
        size=without_chance,
        upwards=True,
        words=lambda x, c: (
            f"mean residuals move by {without_chance(x, c):.2f} residual sds along {name}, more than by chance"
        ),
    )
