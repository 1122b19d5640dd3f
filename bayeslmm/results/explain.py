"""A model in plain words: what varies by what, how many numbers that is, and what is easily meant otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..design.categories import category_words
from ..design.design import Design, GroupTerm
from ..design.identification import by_form_alone, can_judge, identification, words_of
from ..terms.wide import WideTerm
from .reading import Shown
from .text import Text
from .variance import nesting

FEW_LEVELS = 5  # from so many on an sd is learnt from the data rather than from its prior
IN_SPAN = 1e-8  # of a column's length that the fixed part may leave


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Explanation(Shown):
    """A model in words; prints in a terminal and in a notebook.

    Attributes
    ----------
    parts : tuple of str
        What each part of the formula means.
    counts : str
        The numbers to be estimated.
    traps : tuple of str
        What is perhaps not meant; empty where nothing is.
    """

    heading: str
    parts: tuple[str, ...]
    counts: str
    traps: tuple[str, ...]

    def text(self) -> Text:
        """Heading, parts, counts and traps."""
        return Text.of(self.heading, "\n".join(self.parts), self.counts, *(f"Note: {trap}" for trap in self.traps))


_SCALES = {"log": "log", "logit": "log odds"}  # of parameters, by their links
_MOST_NAMED = 6  # categories


def explain(design: Design) -> Explanation:
    """The explanation behind :meth:`bayeslmm.Model.explain`."""
    return Explanation(
        heading=f"{design.described}, family {design.family}",
        parts=(*_parts(design), *_errors(design), *_residuals(design), *_parameters(design)),
        counts=_counts(design),
        traps=tuple(_traps(design)),
    )


def _parts(design: Design) -> Iterator[str]:
    if design.x_names:
        yield f"The same for all rows: {', '.join(design.x_names)}."
    above = nesting(design)
    for group in design.groups:
        if isinstance(group, WideTerm):
            yield from _of_wide(design, group)
            continue
        where = f" Each lies in one level of {' and one of '.join(above[group.name])}." if above[group.name] else ""
        yield f"{group.name} has {group.n_levels:,} levels.{where}"
        yield from _bars(group)


def _bars(group: GroupTerm, levels: str = "", what: str = "") -> Iterator[str]:
    """What the bars of a factor say: of its ``levels``, and of ``what`` they have effects, if not of the mean."""
    for block, structure in zip(group.blocks, group.template.structures, strict=True):
        names = [group.columns[column] for column in block]
        slopes = [name for name in names if name != "Intercept"]
        effects = ["its own intercept"] if "Intercept" in names else []
        effects += [f"its own effect of {name}" for name in slopes]
        correlation_words = ""
        if len(block) > 1:
            correlation_words = " and correlated with each other" if structure.is_free else f", {structure.words}"
            correlation_words += ", with one sd" * structure.hom
        opening = f"Each level of {levels or group.name} has {' and '.join(effects)}"
        yield f"  {opening}{what}, drawn from one normal distribution{correlation_words}."
    if len(group.blocks) > 1:
        yield f"  Effects of {group.name} from different bars are independent of each other."


def _errors(design: Design) -> Iterator[str]:
    if design.se is not None:
        errors = f"its {design.se}" if design.se else "that given for it"
        yield (
            f"The standard error of a row is known, {errors}: what a row has beside the above is its sampling error, "
            "and no sigma is estimated."
        )


def _residuals(design: Design) -> Iterator[str]:
    part = design.residual
    if part is None:
        return
    if part.strata:
        yield (
            f"Residuals have an sd of their own in each of {len(part.strata)} strata ({', '.join(part.columns)}): "
            "sigma is that of the first, the others are ratios to it."
        )
    elif part.n_spread:
        yield (
            f"The log of the residual sd is linear in {', '.join(part.labels[: part.n_spread])}: sigma is the sd where "
            "they are zero."
        )
    correlation = part.structure.correlation
    if correlation is not None:
        yield f"Residuals of one {part.group} are {correlation.words}; those of two are independent."


def _parameters(design: Design) -> Iterator[str]:
    if design.family.is_nominal:
        yield from _of_categories(design)
        return
    for name, part in design.predictors.items():
        yield f"{name} differs between rows: its {_SCALES[part.link]} is linear in {', '.join(part.x_names)}."
        for group in part.groups:
            if isinstance(group, WideTerm):
                yield f"  {group.name} is a smooth curve along {', '.join(group.variables)} that is added to it."
                continue
            levels = ":".join(group.variables)
            yield from _bars(group, levels, f" of that {_SCALES[part.link]} (called {group.name})")


def _of_categories(design: Design) -> Iterator[str]:
    """What the linear predictors of categories are."""
    first, *others = category_words(design)
    named = ", ".join(others[:_MOST_NAMED]) + (", ..." if len(others) > _MOST_NAMED else "")
    part = next(iter(design.predictors.values()))
    yield (
        f"Each category but the first ({named}) has a linear predictor, its log odds against {first}, linear in "
        f"{', '.join(part.x_names)}: the coefficients of {others[0]} are called {part.labels[0]} and so on."
    )
    for group in part.groups:
        name = part.factor_of(group)
        if isinstance(group, WideTerm):
            yield f"  {name} is a smooth curve along {', '.join(group.variables)}, another one for each of them."
            continue
        yield f"{name} has {group.n_levels:,} levels."
        yield from _bars(group, name, f" on each of these log odds (of {others[0]}: called {group.name})")
    if part.groups:
        yield "  Effects of different categories are independent of each other."


def _of_wide(design: Design, g: WideTerm) -> Iterator[str]:
    """What a relationship matrix, a multi-membership or a smooth is."""
    J = f"{g.n_levels:,}"
    if g.kind == "relationship matrix":
        what = _own_effects(g)
        distinct = int(np.unique(g.matrix.nonzero()[1]).size)
        yield f"{g.name} has {J} levels, of which {distinct:,} have rows."
        yield (
            f"  Each has {what}, drawn together from one normal distribution whose covariances are "
            f"{'a variance' if g.q == 1 else 'those of a level'} times the given matrix: related levels are alike, and "
            "levels without rows are predicted from their relatives."
        )
    elif g.kind == "multi-membership":
        yield f"{g.name} has {J} levels; a row belongs to several of them."
        yield f"  Each has {_own_effects(g)}, drawn from one normal distribution; a row gets their weighted sum."
    else:
        line = "a straight line, which is one of the fixed effects, and " if not g.texts[0].count("cc") else ""
        yield (
            f"{g.name} is a smooth curve: {line}{J} columns for what is not straight, whose coefficients are drawn "
            "from one normal distribution. Its sd says how far the curve may bend: at zero nothing is left of it."
        )


def _own_effects(g: WideTerm) -> str:
    """The effects of a level in words."""
    own_effects = ["its own intercept" if name == "Intercept" else f"its own effect of {name}" for name in g.columns]
    return " and ".join(own_effects) + " that are correlated with each other" * (len(own_effects) > 1)


def _counts(design: Design) -> str:
    sds = sum(len(group.sd_terms) for group in design.every_group)
    correlations = sum(len(group.correlated) for group in design.every_group)
    family = [
        f"{len(design.levels) - 1} cutpoints"
        if name == "cutpoint"
        else _number(len(design.labels_of(name)), "coefficient") + f" of {design.of_variable[name].parameter}"
        if name in design.of_variable
        else name
        for name in design.parameters
    ]
    if design.residual is not None:
        spread, n = design.residual.n_spread, design.residual.n_parameters
        family += [_number(spread, "log ratio") + " of residual sds"] * bool(spread)
        family += [_number(n - spread, "correlation") + " of residuals"] * bool(n - spread)
    counts = [
        _number(design.p, "fixed effect"),
        _number(sds, "sd") + " of groups" * bool(sds),
        _number(correlations, "correlation"),
        *family,
    ]
    effects = sum(group.q * group.n_levels for group in design.every_group)
    return (
        f"Estimated from {design.n:,} rows{design.rows_words}: {', '.join(part for part in counts if part)}; "
        f"{effects:,} random effects follow from these."
    )


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}" if count else ""


def _untold(design: Design) -> Iterator[str]:
    """What the data cannot tell of the variances."""
    if not design.groups or not can_judge(design):
        return
    if alone := by_form_alone(design):
        yield f"{alone}. Leave one of the two out."
    if design.sums is None:
        identified, without_fixed = identification(design), identification(design, beside_fixed=False)
    else:
        identified = without_fixed = design.sums.untold
    if identified.is_full:
        return
    for_ml = "" if not without_fixed.is_full else " (beside the fixed part, which takes up what would tell)"
    yield (
        f"the data do not tell all variances{for_ml}: {words_of(identified, design)}. REML has many estimates that are "
        "as good, and a posterior takes the rest from its priors. Leave out a term."
    )


def _traps(design: Design) -> Iterator[str]:
    yield from _untold(design)
    has_rows = design.sums is None
    for group in design.groups:
        if group.is_wide:
            continue
        if has_rows:
            yield from _slopes(design, group)
        if group.n_levels < FEW_LEVELS:
            yield (
                f"{group.name} has {group.n_levels} levels only: its sds come from the prior more than from the data, "
                f"and REML may put them at zero. {group.name} as a fixed effect is the other choice."
            )
    if has_rows:
        yield from _reused_ids(design)


def _slopes(design: Design, g: GroupTerm) -> Iterator[str]:
    """Slopes that cannot vary within a level, slopes without a fixed one, factors whose levels stay correlated."""
    first = np.full(g.n_levels, -1)
    first[g.codes[::-1]] = np.arange(design.n)[::-1]
    for block, text, structure in zip(g.blocks, g.texts, g.template.structures, strict=True):
        names = [g.columns[c] for c in block]
        for c in block:
            name, column = g.columns[c], g.Z[:, c]
            if name != "Intercept" and "Intercept" in g.columns and np.array_equal(column, column[first[g.codes]]):
                yield (
                    f"{name} varies within no level of {g.name}, so its effect there cannot be told from the level's "
                    f"own: keep {name} in the fixed part and leave it out of {text}."
                )
            elif "|" in text and not _in_fixed_part(design, column):  # of curves of levels it is
                mean = "its mean over the levels" if name == "Intercept" else f"the mean effect of {name}"
                yield f"{name} varies by {g.name} without a fixed counterpart, so {mean} is held at zero. Is it meant?"
        of_factor = len(block) > 1 and "Intercept" not in names and len(g.blocks) > 1
        if of_factor and structure.is_free and text == g.texts[g.blocks.index(block) - 1]:
            yield (
                f"{text}: the bars || separate terms, not the columns of one term, so {', '.join(names)} are "
                "correlated (as in lme4). Write diag(...) to have them independent."
            )


def _in_fixed_part(design: Design, column: np.ndarray) -> bool:
    X = design.X
    if design.family.has_cutpoints:  # the cutpoints stand in place of an intercept
        X = np.column_stack([np.ones(design.n), X])
    if not X.shape[1]:
        return False
    left = column - X @ np.linalg.lstsq(X, column, rcond=None)[0]
    return bool(np.linalg.norm(left) <= IN_SPAN * np.linalg.norm(column))


def _reused_ids(design: Design) -> Iterator[str]:
    """Factors whose levels are numbered from the start again within each level of another one."""
    single = [group for group in design.groups if len(group.variables) == 1 and not group.is_wide]
    for inner in single:
        for outer in single:
            if inner is outer or outer.n_levels < 2:
                continue
            inside = pd.Series(inner.codes).groupby(outer.codes)
            distinct, highest = inside.nunique(), inside.max() + 1
            # 1, 2, 3 in one level, 1, 2 in the next: in a crossed design all levels would be met, or any of them
            if (distinct == highest).all() and distinct.nunique() > 1 and inner.n_levels < len(inner.codes):
                yield (
                    f"{inner.name} is numbered from the start again in every level of {outer.name}. If {inner.name} "
                    f"{inner.levels[0]!r} of one {outer.name} is not that of another, write "
                    f"(1 | {outer.name}/{inner.name}), which tells them apart."
                )
