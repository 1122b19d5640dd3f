"""Predictions of a point fit: which groups they are for is always said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from ..engine import bootstrap
from ..engine.scaling import Problem
from ..errors import InputError, UnseenLevelError
from ..spec.covariance import cholesky_psd
from ..spec.design import Design
from ..spec.frame import as_frame
from ..spec.newdata import NewDesign, NewGroup

if TYPE_CHECKING:
    from .point import PointFit

Array = NDArray[np.float64]

KINDS = ("mean", "response")
TARGETS = ("observed", "new", "average", "population")


def targets(design: Design, groups: str | Mapping[str, str]) -> dict[str, str]:
    """What is asked of each grouping factor: ``observed``, ``new``, ``average`` or ``population``."""
    names = [g.name for g in design.groups]
    if not isinstance(groups, str | Mapping):
        raise InputError(
            f"predict(groups={groups!r}): groups is one of {', '.join(map(repr, TARGETS))}, or a dict of them"
        )
    asked = (
        dict.fromkeys(names, groups)
        if isinstance(groups, str)
        else {n: groups.get(n, "observed") for n in names}
    )
    if not isinstance(groups, str):
        for name in groups:
            if name not in names:
                raise InputError(
                    f"predict(groups=...): {name!r} is no grouping factor; the model has {names}"
                )
    for name, target in asked.items():
        if target not in TARGETS:
            given = (
                f"groups={{{name!r}: {target!r}}}" if isinstance(groups, Mapping) else f"groups={target!r}"
            )
            raise InputError(f"predict({given}): groups are {', '.join(map(repr, TARGETS))}")
    return asked


def predict(fit: PointFit, newdata: Any, groups: str | Mapping[str, str], *, offset: Any = None) -> pd.Series:
    """The table behind :meth:`PointFit.predict`."""
    asked = targets(fit.design, groups)
    new = new_rows(fit.design, newdata, [n for n, target in asked.items() if target == "observed"], offset)
    values = new.X @ fit.solution.beta + new.offset
    for group in new.groups:
        values = values + _observed(fit, group)
    return pd.Series(values, index=new.index, name=fit.design.response)


def predict_draws(
    fit: PointFit, newdata: Any, groups: str | Mapping[str, str], *, kind: str, draws: int,
    random_seed: int | None, offset: Any = None,
) -> Any:  # fmt: skip
    """Parametric draws (draw, obs): new groups are drawn, one draw for every label; ``response`` adds noise."""
    import xarray as xr

    check_count("draws", draws)
    asked = targets(fit.design, groups)
    wanted = [n for n, target in asked.items() if target in ("observed", "new")]
    new = new_rows(fit.design, newdata, wanted, offset)
    rng = default_rng(random_seed)
    values = np.tile(new.X @ fit.solution.beta + new.offset, (draws, 1))
    for group in new.groups:
        if asked[group.name] == "observed":
            values += _observed(fit, group)
        else:
            values += _new(fit, group, draws, rng)
    if kind == "response":
        weights = fit.design.weights if newdata is None else None
        values += fit.sigma * rng.normal(size=values.shape) / (1.0 if weights is None else np.sqrt(weights))
    return xr.DataArray(
        values, dims=("draw", "obs"), coords={"draw": np.arange(draws), "obs": new.index.to_numpy()},
        name=fit.design.response,
    )  # fmt: skip


def new_rows(
    design: Design, newdata: Any, groups: Sequence[str], offset: Any, *, averaged: Sequence[str] = ()
) -> NewDesign:
    """The rows of the fit, or new ones, with these grouping factors; those averaged over need no column of labels."""
    if newdata is not None:
        newdata = as_frame(newdata)
        missing = [g for g in design.groups if g.name in averaged]
        absent = {v for g in missing for v in g.variables if v not in newdata.columns}
        filled = newdata.assign(**dict.fromkeys(absent)) if absent else newdata
        return design.at(filled, groups=[*groups, *averaged], offset=offset)
    known = tuple(
        NewGroup(name=g.name, codes=g.codes, labels=np.asarray(g.levels, dtype=object)[g.codes], Z=g.Z)
        for g in design.groups
        if g.name in (*groups, *averaged)
    )
    return NewDesign(X=design.X, groups=known, offset=design.offset, index=design.index)


def _position(fit: PointFit, name: str) -> int:
    return next(k for k, g in enumerate(fit.design.groups) if g.name == name)


def seen_codes(group: NewGroup) -> NDArray[np.int64]:
    """The codes of rows whose groups the fit has seen.

    Raises
    ------
    UnseenLevelError
        It has not seen some, with their labels and what to do.
    """
    unseen = group.codes < 0
    if unseen.any():
        labels = [label for label in dict.fromkeys(group.labels[unseen]) if label is not None]
        shown = ", ".join(map(repr, labels[:5])) + (", …" if len(labels) > 5 else "") or "missing values"
        raise UnseenLevelError(
            f"{int(unseen.sum())} row{'s' * (int(unseen.sum()) > 1)} of newdata belong to no {group.name} of the fit "
            f"({shown}). Say what to predict for: predict(newdata, groups={{{group.name!r}: 'new'}}) for a new "
            f"{group.name}, or 'average' for the average one."
        )
    return group.codes


def label_places(group: NewGroup) -> tuple[NDArray[np.int64], int]:
    """Which new group each row belongs to, and how many there are: equal labels are one, unlabelled rows one each."""
    places: dict[Any, int] = {}
    keys = [("row", i) if label is None else label for i, label in enumerate(group.labels)]
    where = np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.int64)
    return where, len(places)


def _observed(fit: PointFit, group: NewGroup) -> Array:
    modes = fit.solution.modes[_position(fit, group.name)]
    return np.einsum("nq,nq->n", group.Z, modes[seen_codes(group)])


def _new(fit: PointFit, group: NewGroup, draws: int, rng: Generator) -> Array:
    """Effects (draws, n) of groups not seen before: rows with the same label share a draw, unlabelled rows do not."""
    k = _position(fit, group.name)
    where, count = label_places(group)
    root = cholesky_psd(fit.solution.covariances[k], fit.design.groups[k].blocks)
    b = rng.normal(size=(draws, count, group.Z.shape[1])) @ root.T
    return np.einsum("nq,dnq->dn", group.Z, b[:, where])


def check_count(name: str, count: Any) -> None:
    """Raise InputError unless this is a whole number, one at least."""
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
        raise InputError(f"{name}={count!r}: a whole number, at least 1, is needed")


def check_simulated(asked: Mapping[str, str], n: int) -> None:
    """Whether n responses can be simulated for these targets."""
    check_count("n", n)
    strange = set(asked.values()) - {"new", "observed"}
    if strange:
        raise InputError(
            f"simulate(groups={strange.pop()!r}): groups are drawn anew ('new') or kept ('observed')"
        )


def simulate(fit: PointFit, n: int, random_seed: int | None, groups: str | Mapping[str, str]) -> pd.DataFrame:
    """The table behind :meth:`PointFit.simulate`."""
    asked = targets(fit.design, groups)
    check_simulated(asked, n)
    problem, rng = Problem.of(fit.design), default_rng(random_seed)
    kept = [target == "observed" for target in asked.values()]
    columns = [
        bootstrap.simulate(problem, fit.solution, rng, kept=kept) + fit.design.offset for _ in range(n)
    ]
    names = [f"sim_{i + 1}" for i in range(n)]
    return pd.DataFrame(np.column_stack(columns), index=fit.design.index, columns=names)
