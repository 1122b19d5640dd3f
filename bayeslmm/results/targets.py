"""Whom a prediction is for: the groups of the fit, new ones, the average one, the population; and their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design, GroupTerm
from ..design.newdata import NewDesign, NewGroup
from ..design.wide_terms import NewWide
from ..errors import ExtrapolationWarning, InputError, NotAvailableError, UnknownColumnError, UnseenLevelError
from ..terms.wide import WideTerm
from ..tools.frame import as_frame
from ..tools.warned import warn
from ..tools.words import is_one_of
from .reference import predictors

KINDS = ("mean", "response")
RESIDUALS = ("raw", "pearson", "scaled")
OF_POINTS = ("mean", "response", "link")
PURE = ("observed", "new", "average", "population")
MIXED = {f"observed_or_{other}": other for other in PURE[1:]}  # known levels as they are, others otherwise
TARGETS = (*PURE, *MIXED)
OF_WIDE = ("observed", "average", "observed_or_average", "new")  # what other verbs can ask of related levels
Transform = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def targets(design: Design, groups: str | Mapping[str, str], verb: str = "predict") -> dict[str, str]:
    """What is asked of each grouping factor, one of `TARGETS`."""
    factors = {group.name: group for group in design.every_group if group.is_grouping}
    names = list(factors)
    if not isinstance(groups, str | Mapping):
        raise InputError(
            f"{verb}(groups={groups!r}): groups is one of {', '.join(map(repr, TARGETS))}, or a dict of them"
        )
    asked = dict.fromkeys(names, groups) if isinstance(groups, str) else _by_name(design, factors, groups)
    if not isinstance(groups, str):
        available = [*_of_categories(design), *names]
        for name in groups:
            if name not in available:
                raise InputError(f"{verb}(groups=...): {name!r} is no grouping factor; the model has {available}")
    for name, target in asked.items():
        if not is_one_of(target, TARGETS):
            argument = f"groups={{{name!r}: {target!r}}}" if isinstance(groups, Mapping) else f"groups={target!r}"
            raise InputError(f"{verb}({argument}): groups are {', '.join(map(repr, TARGETS))}")
    for group in design.groups:
        if group.is_wide and group.is_grouping and verb != "predict" and asked[group.name] not in OF_WIDE:
            raise NotAvailableError(
                f"{verb}(groups={{{group.name!r}: {asked[group.name]!r}}}): of {group.texts[0]} there are known levels "
                f"({', '.join(map(repr, OF_WIDE[::2]))}) and the average one ('average'); predict has the others"
            )
    return asked


def _by_name(design: Design, factors: Mapping[str, GroupTerm], groups: Mapping[str, Any]) -> dict[str, Any]:
    """What a dict asks of each factor; in a predictor of a parameter, if not named, the same as in that of the mean."""
    of_mean = {group.variables: groups.get(group.name, "observed") for group in design.groups if group.is_grouping}
    of_mean |= {variables: groups.get(name, "observed") for name, variables in _of_categories(design).items()}
    return {name: groups.get(name, of_mean.get(group.variables, "observed")) for name, group in factors.items()}


def _of_categories(design: Design) -> dict[str, tuple[str, ...]]:
    """Grouping factors as the formula of all categories calls them, and their columns."""
    return {name: group.variables for name, group in design.factors.items()} if design.of_categories else {}


def of_seen(asked: Mapping[str, str]) -> dict[str, str]:
    """The same of rows that the fit has seen, whose levels are all known."""
    return {name: "observed" if target in MIXED else target for name, target in asked.items()}


def parts(new: NewDesign, asked: Mapping[str, str]) -> list[tuple[NewGroup, str]]:
    """The grouping factors of some rows with a pure target each.

    A mixed one is there twice where it has to be: with Z zero at the rows that the fit has not seen, and with Z zero at
    those it has.
    """
    pure = []
    for group in new.groups:
        target = asked[group.name]
        if target not in MIXED:
            pure.append((group, target))
            continue
        is_known_level = group.codes >= 0
        if is_known_level.all():
            pure.append((group, "observed"))
            continue
        if is_known_level.any():
            Z = np.where(is_known_level[:, None], group.Z, 0.0)
            pure.append((replace(group, codes=np.where(is_known_level, group.codes, 0), Z=Z), "observed"))
        if MIXED[target] != "average":
            others = group.labels.copy()
            others[is_known_level] = next(
                (label for label in others[~is_known_level] if label is not None), ""
            )  # a group they lack
            pure.append(
                (replace(group, labels=others, Z=np.where(is_known_level[:, None], 0.0, group.Z)), MIXED[target])
            )
    return pure


def target_columns(new: NewDesign, asked: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Columns ``target_<factor>`` that say row by row what a mixed target came to."""
    return {
        f"target_{group.name}": np.where(group.codes >= 0, "observed", MIXED[asked[group.name]]).astype(object)
        for group in new.groups
        if asked[group.name] in MIXED
    } | {
        f"target_{wide.name}": np.where(wide.unknown, MIXED[asked[wide.name]], "observed").astype(object)
        for wide in new.wide
        if wide.is_grouping and asked[wide.name] in MIXED
    }


def check_kind(kind: str, kinds: Sequence[str] = KINDS) -> None:
    """Raise InputError unless predictions are of this kind."""
    if not is_one_of(kind, kinds):
        raise InputError(f"predict(kind={kind!r}): kind is {' or '.join(map(repr, kinds))}")


def check_residuals(kind: str, kinds: Sequence[str] = RESIDUALS) -> None:
    """Raise InputError unless residuals are of this kind."""
    if not is_one_of(kind, kinds):
        first, last = ", ".join(map(repr, kinds[:-1])), repr(kinds[-1])
        raise InputError(f"residuals(kind={kind!r}): kind is {first} or {last}")


def check_transform(design: Design, transform: Transform | None) -> None:
    """Raise unless a function of the response can be predicted."""
    if transform is None:
        return
    if not callable(transform):
        raise InputError(f"predict(transform={transform!r}): a function of arrays, such as np.square")
    if not design.family.has_normal_scores or design.family.models_log:
        raise NotAvailableError(
            f"predict(transform=...) is for normal responses, such as sqrt(y); this one is {design.family}. Take the "
            "function of predict(kind='response', draws=True)."
        )


def check_count(name: str, count: Any) -> None:
    """Raise InputError unless this is a whole number, one at least."""
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
        raise InputError(f"{name}={count!r}: a whole number, at least 1, is needed")


def asked_rows(
    design: Design,
    newdata: Any,
    asked: Mapping[str, str],
    offset: Any,
    *,
    unlabelled: Sequence[str] = ("population",),
    estimable_only: bool = True,
) -> NewDesign:
    """The rows of the fit, or new ones, as the targets need them; ``unlabelled`` targets need no column of labels.

    Raises
    ------
    UnseenLevelError
        ``observed`` groups that the fit has not seen.
    """
    if newdata is not None:
        newdata = _with_one_new_group(design, as_frame(newdata), asked)
    averaged = [name for name, target in asked.items() if target in unlabelled]
    labelled = [name for name, target in asked.items() if target != "average" and target not in unlabelled]
    new = new_rows(design, newdata, labelled, offset, averaged=averaged, estimable_only=estimable_only)
    check_seen(
        new, asked, {group.name: part.factor_of(group) for part in design.of_categories for group in part.groups}
    )
    return new


def _with_one_new_group(design: Design, newdata: pd.DataFrame, asked: Mapping[str, str]) -> pd.DataFrame:
    """Rows of new groups without labels, which are all of one new group."""
    needed = predictors(design, groups=False)
    factors = [group for group in design.every_group if asked.get(group.name) == "new"]
    absent = [
        variable
        for group in factors
        for variable in group.variables
        if variable not in newdata.columns and variable not in needed
    ]
    return newdata.assign(**dict.fromkeys(absent, "new")) if absent else newdata


def labelled(groups: Sequence[GroupTerm], newdata: pd.DataFrame, asked: Mapping[str, str]) -> pd.DataFrame:
    """New rows with the columns of labels that these factors need: of new groups one label, of the population none.

    Raises
    ------
    UnknownColumnError
        There is no column for groups that are observed.
    """
    for group in groups:
        target = asked.get(group.name, "average")
        absent = [variable for variable in group.variables if variable not in newdata.columns]
        if not absent or not group.is_grouping or target == "average":
            continue
        if target not in ("new", "population"):
            raise _no_labels(absent[0], group.name)
        newdata = newdata.assign(**dict.fromkeys(absent, "new" if target == "new" else None))
    return newdata


def _no_labels(column: str, factor: str) -> UnknownColumnError:
    return UnknownColumnError(
        f"newdata has no column {column!r}, which says to which {factor} a row belongs. Add it, or say "
        f"groups={{{factor!r}: 'average'}} for the {factor} with b = 0, or 'population' for all of them."
    )


def new_rows(
    design: Design,
    newdata: Any,
    groups: Sequence[str],
    offset: Any,
    *,
    averaged: Sequence[str] = (),
    estimable_only: bool = True,
) -> NewDesign:
    """The rows of the fit, or new ones, with these grouping factors; those averaged over need no column of labels."""
    if newdata is not None:
        newdata = as_frame(newdata)
        for group in design.every_group:
            absent = [variable for variable in group.variables if variable not in newdata.columns]
            if absent and (group.name in groups or (group.is_wide and group.name in averaged)):
                raise _no_labels(absent[0], group.name)
            if group.name in averaged:
                filled = [value for value in absent if value not in predictors(design, groups=False)]
                newdata = newdata.assign(**dict.fromkeys(filled))
        named = [*groups, *averaged]
        new = design.at(newdata, groups=named, offset=offset, estimable_only=estimable_only)
        warn_beyond(new)
        return new
    of_fit = tuple(
        NewGroup(
            name=group.name, codes=group.codes, labels=np.asarray(group.levels, dtype=object)[group.codes], Z=group.Z
        )
        for group in design.groups
        if group.name in (*groups, *averaged) and not group.is_wide
    )
    nowhere = np.zeros(design.n, dtype=bool)
    wide = tuple(
        NewWide(name=group.name, is_grouping=group.is_grouping, matrix=group.matrix, unknown=nowhere, beyond=nowhere)
        for group in design.groups
        if isinstance(group, WideTerm) and (not group.is_grouping or group.name in (*groups, *averaged))
    )
    return NewDesign(
        X=design.X,
        groups=of_fit,
        offset=design.offset,
        index=design.index,
        aliased=np.empty((design.n, 0)),
        wide=wide,
        predictors={name: part.of_fit(design.index, (*groups, *averaged)) for name, part in design.predictors.items()},
    )


def warn_beyond(new: NewDesign) -> None:
    """Say where a smooth is extrapolated."""
    for wide in (*new.wide, *(term for part in new.predictors.values() for term in part.wide)):
        if wide.beyond.any():
            count = int(wide.beyond.sum())
            warn(
                f"{wide.name}: {count} row{'s' * (count > 1)} lie{'s' * (count == 1)} beyond the data of the fit, "
                "where the curve goes on as a straight line; its interval does not say whether that is right.",
                ExtrapolationWarning,
            )


def check_seen(new: NewDesign, asked: Mapping[str, str], formula_names: Mapping[str, str] | None = None) -> None:
    """Raise UnseenLevelError if the fit has not seen some of the groups asked for as observed, with all of them.

    ``formula_names`` says what the formula calls factors that every category has under a name of its own.
    """
    name_of = formula_names or {}
    for wide in new.wide:
        if wide.is_grouping and asked[wide.name] == "observed" and wide.unknown.any():
            raise UnseenLevelError(
                f"newdata has {_rows(int(wide.unknown.sum()))} to no level of {wide.name}. "
                f"predict(newdata, groups={{{wide.name!r}: 'observed_or_new'}}) takes these as new ones that are "
                "related to none, 'observed_or_average' as the average one: b = 0."
            )
    of_parameters = (group for part in new.predictors.values() for group in part.groups)
    with_unseen = [g for g in (*new.groups, *of_parameters) if asked[g.name] == "observed" and (g.codes < 0).any()]
    if not with_unseen:
        return
    counts = dict.fromkeys(
        f"{_rows(int((g.codes < 0).sum()))} to no {name_of.get(g.name, g.name)} of the fit ({_unseen_labels(g)})"
        for g in with_unseen
    )
    remedy = {name_of.get(name, name): t for name, t in asked.items() if t != "observed"}
    remedy |= dict.fromkeys((name_of.get(g.name, g.name) for g in with_unseen), "observed_or_new")
    raise UnseenLevelError(
        f"newdata has {', and '.join(counts)}. Say what to predict for: predict(newdata, groups={remedy}) keeps the "
        "groups that are known and takes the others as new ones, 'observed_or_average' takes these as the one with b = "
        "0, 'observed_or_population' as the mean over groups; 'new', 'average' and 'population' take all rows so."
    )


def _rows(count: int) -> str:
    return "1 row that belongs" if count == 1 else f"{count:,} rows that belong"


def _unseen_labels(group: NewGroup) -> str:
    labels = [label for label in dict.fromkeys(group.labels[group.codes < 0]) if label is not None]
    return ", ".join(map(repr, labels[:5])) + (", …" if len(labels) > 5 else "") or "missing values"


def label_places(group: NewGroup, rows: int | None = None) -> tuple[NDArray[np.int64], int]:
    """Which new group each row belongs to, and how many there are: equal labels are one, unlabelled rows one each.

    Where the same ``rows`` are repeated, an unlabelled one keeps its group.
    """
    labels, n = group.labels, rows or max(len(group.labels), 1)
    places, labelled = pd.factorize(labels)  # −1 where there is no label
    alone, unlabelled = np.unique(np.flatnonzero(places < 0) % n, return_inverse=True)
    places[places < 0] = len(labelled) + unlabelled
    return places.astype(np.int64), len(labelled) + len(alone)
