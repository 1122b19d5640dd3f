"""How well the three predict what they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..design.design import Design
from ..engine import pooling as engine
from ..engine.loo import LeftOut
from ..engine.randomness import generator
from ..errors import InputError, NotAvailableError
from ..results.alike import solved
from ..results.elpd import ROW, ranked, record
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.reading import Shown
from ..results.sampling import sample
from ..results.text import Text, number, table
from ..tools.arrays import Array
from .estimates import Footing, complete_fit, expected_of, observed_of, unpooled_fit

KINDS = ("complete", "none", "partial")
Predict = Callable[[Design], Array]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PoolingScores(Shown):
    """Expected log predictive density with complete, no and partial pooling.

    Attributes
    ----------
    table : DataFrame
        By kind of pooling, best first, as ``arviz_stats.compare`` gives it; no pooling is missing where it says nothing
        about the unit.
    elpd : mapping of str to arviz_stats.ELPDDataLOO
        By kind, over all units: -inf where the others do not tell a coefficient of the unit.
    unit : str
        What was left out.
    untold : int
        Units that were left out of the comparison for that.
    """

    table: pd.DataFrame
    elpd: Mapping[str, Any]
    unit: str
    untold: int
    title: str

    def text(self) -> Text:
        """Title, table and how to read it."""
        rows = [
            [
                name.capitalize(),
                number(r["elpd"], r["se"]),
                number(r["se"], r["se"]),
                f"{r['p']:.1f}",
                number(r["elpd_diff"], r["dse"] or r["se"]) if r["rank"] else "",
                number(r["dse"], r["dse"]) if r["rank"] else "",
            ]
            for name, r in ((str(name), r) for name, r in self.table.iterrows())
        ]
        absent = [kind for kind in KINDS if kind not in self.table.index]
        rows += [[kind.capitalize(), *["-"] * 5] for kind in absent]
        notes = ["elpd: expected log predictive density, higher is better. p: effective number of parameters."]
        if absent:
            notes.append(f"No pooling says nothing about a {self.unit} that it has not seen.")
        if self.untold:
            single = self.untold == 1
            units = "rows" if self.unit == ROW else f"groups of {self.unit}"
            notes.append(
                f"{self.untold} of {self.elpd['partial'].n_data_points:,} {units} alone "
                f"{'tells' if single else 'tell'} a coefficient, as in a level with few rows: without "
                f"pooling the others predict nothing for {'it' if single else 'them'} (elpd -inf). "
                f"{'It is' if single else 'They are'} left out of all three."
            )
        return Text.of(self.title, table(["Pooling", "elpd", "SE", "p", "elpd - best", "SE of that"], rows), *notes)


def scores(footing: Footing, post: PosteriorFit, unit: str) -> PoolingScores:
    """Leave units out of a posterior, and of least squares with and without groups."""
    partial = post.loo(unit)
    design, problem = footing.design, footing.problem
    if unit == ROW:
        jacobian = design.family.log_jacobian(design.y)
        densities = {
            "complete": engine.rows_left_out(footing.complete.linear),
            "none": engine.rows_left_out(footing.unpooled.linear),
        }
    else:
        left_out = design.group(unit)
        densities = {"complete": engine.groups_left_out(problem, left_out.codes, left_out.n_levels)}
        jacobian = np.zeros(left_out.n_levels)
        if design.family.models_log:
            jacobian = np.bincount(left_out.codes, weights=np.log(design.y), minlength=left_out.n_levels)
    elpd = {name: _exact_record(partial, density, jacobian) for name, density in densities.items()}
    elpd["partial"] = partial
    finite = np.all([np.isfinite(score.elpd_i.to_numpy()) for score in elpd.values()], axis=0)
    if not finite.any():  # not a row that every other one could do without
        del elpd["none"]
        finite = np.all([np.isfinite(score.elpd_i.to_numpy()) for score in elpd.values()], axis=0)
    words = f"row of a known {footing.term.name}" if unit == ROW else f"{unit} with all its rows"
    return PoolingScores(
        table=ranked({name: _on(score, finite) for name, score in elpd.items()}),
        elpd=elpd,
        unit=unit,
        untold=int((~finite).sum()),
        title=f"Pooling of {footing.term.name}, by prediction of a left-out {words}\nFormula: {design.formula.text}",
    )


def _exact_record(like: Any, left_out: LeftOut, jacobian: Array) -> Any:
    """Exact densities (units,) as ArviZ's record: nothing is weighted, so Pareto k is zero."""
    finite = np.isfinite(left_out.without)
    values = np.where(finite, left_out.without - jacobian, -np.inf)
    p_i = np.where(finite, left_out.within - left_out.without, np.nan)
    return _record(like, like.elpd_i.copy(data=values), like.elpd_i.copy(data=p_i), like.pareto_k * 0.0)


def _on(whole: Any, units: NDArray[np.bool_]) -> Any:
    """An ELPD of some of the units."""
    return _record(whole, *(array[units] for array in (whole.elpd_i, whole.p_loo_i, whole.pareto_k)))


def _record(like: Any, elpd_i: Any, p_i: Any, k: Any) -> Any:
    return record(
        "ELPDDataLOO",
        unit=like.unit,
        design=like.design,
        n_samples=like.n_samples,
        p=float(p_i.sum()),
        warning=bool((k > like.good_k).any()),
        good_k=like.good_k,
        elpd_i=elpd_i,
        pareto_k=k,
        p_loo_i=p_i,
    )


# -- held-out rows


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class HeldOut(Shown):
    """Squared errors on rows that were held out.

    Attributes
    ----------
    table : DataFrame
        Mean squared errors: rows ``own fit`` (of levels whose other rows have a fit of their own) and, if there are
        any, ``no own fit``; columns rows, complete, none, partial.
    rows : DataFrame
        Every row with its level, fold, observed response (its log in a lognormal model, less the offset; a share of the
        trials) and the three predictions.
    """

    table: pd.DataFrame
    rows: pd.DataFrame
    title: str

    def text(self) -> Text:
        """Title, table and how to read it."""
        body = [
            [str(name), f"{int(r['rows']):,}", *(number(r[kind]) for kind in KINDS)]
            for name, r in self.table.iterrows()
        ]
        notes = []
        if len(self.table) > 1:
            notes.append(
                "no own fit: rows of levels whose other rows are too few for coefficients of their own, so that no "
                "pooling predicts nothing."
            )
        return Text.of(self.title, table(["Rows of levels with", "Rows", "Complete", "None", "Partial"], body), *notes)


def held_out(
    footing: Footing,
    reml: PointFit | None,
    post: PosteriorFit | None,
    folds: int,
    by: str | None,
    random_seed: int | None,
) -> HeldOut:
    """K-fold cross-validation of the mean squared error, rows dealt within levels."""
    design, codes, n = footing.design, footing.term.codes, footing.design.n
    if not design.family.has_mean:
        raise NotAvailableError(
            f"held_out() compares squared errors of expected responses, which {design.family} has none of; take "
            "blm.kfold(post) for its categories"
        )
    is_whole = isinstance(folds, int | np.integer) and not isinstance(folds, bool)
    if not is_whole or not 2 <= folds <= n:
        raise InputError(f"held_out(folds={folds!r}): a number of parts from 2 to the {n:,} rows")
    by, partial = _partial(reml, post, by)
    part = _dealt(codes, folds, generator(random_seed))
    predicted = {kind: np.empty(n) for kind in KINDS}
    for fold in range(folds):
        in_fold = part == fold
        training, rows = design.rows(~in_fold), design.rows(in_fold)
        _check_told(training, fold, folds)
        fits = {"complete": _complete, "none": _none(footing.factor), "partial": partial}
        for kind, fit in fits.items():
            predicted[kind][in_fold] = fit(training)(rows)
    observed = observed_of(design)
    frame = pd.DataFrame(
        {"level": [footing.term.levels[code] for code in codes], "fold": part, "observed": observed, **predicted},
        index=design.index,
    )
    errors = pd.DataFrame({kind: (observed - predicted[kind]) ** 2 for kind in KINDS})
    has_own_fit = errors["none"].notna()
    mean_errors = {
        name: {"rows": int(which.sum()), **errors[which].mean()}
        for name, which in (("own fit", has_own_fit), ("no own fit", ~has_own_fit))
        if which.any()
    }
    scale = design.family.label(design.response) + " / trials" * (design.trials is not None)
    return HeldOut(
        table=pd.DataFrame.from_dict(mean_errors, orient="index"),
        rows=frame,
        title=f"Mean squared error of {scale} in held-out rows of known levels of {footing.term.name}\n"
        f"Formula: {design.formula.text}\nEach of {folds} parts was held out once; partial pooling by {by}",
    )


def _partial(
    reml: PointFit | None, post: PosteriorFit | None, by: str | None
) -> tuple[str, Callable[[Design], Predict]]:
    """How partial pooling is fitted again: its name, and training rows -> predictions of others."""
    if by not in (None, "reml", "posterior"):
        raise InputError(f"held_out(by={by!r}): 'reml' or 'posterior'")
    if reml is not None and by != "posterior":
        return "REML" if reml.solution.reml else "ML", lambda training: _by_point(training, reml)
    if post is not None and by != "reml":
        return "the posterior", lambda training: _by_posterior(training, post)
    raise InputError(f"held_out: there is no fit by {by or 'REML or posterior'} in this comparison to be made again")


def _dealt(codes: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The fold of every row: those of a level in random order, dealt one by one."""
    order = np.lexsort((rng.random(len(codes)), codes))
    part = np.empty(len(codes), np.int64)
    part[order] = np.arange(len(codes)) % folds
    return part


def _check_told(training: Design, fold: int, folds: int) -> None:
    rank = np.linalg.matrix_rank(training.X) if training.p else 0
    if rank < training.p:
        raise InputError(
            f"held_out(folds={folds}): without part {fold + 1} the rows tell {rank} of {training.p} fixed effects. "
            "Use more folds, another random_seed, or fewer terms."
        )


def _complete(training: Design) -> Predict:
    fit = complete_fit(training)
    return lambda rows: expected_of(rows, rows.X @ fit.beta, fit.parameters)


def _none(factor: int) -> Callable[[Design], Predict]:
    def fit(training: Design) -> Predict:
        unpooled = unpooled_fit(training, factor)

        def predict(rows: Design) -> Array:
            coefficients = unpooled.coefficients[rows.groups[factor].codes]
            Z = rows.groups[factor].Z
            with np.errstate(invalid="ignore"):  # an infinite coefficient times zero is none
                eta = np.where(Z == 0.0, 0.0, Z * coefficients).sum(axis=1)
            return expected_of(rows, eta + rows.X[:, unpooled.common] @ unpooled.shared, unpooled.parameters)

        return predict

    return fit


def _by_point(training: Design, like: PointFit) -> Predict:
    solution = solved(training, like.solution, reml=like.solution.reml)
    return lambda rows: _predicted(rows, solution.beta, solution.modes, solution.parameters)


def _by_posterior(training: Design, post: PosteriorFit) -> Predict:
    posterior = sample(training, post.priors, post.settings.changed({"progressbar": False}))
    effects = tuple(
        posterior.draws(posterior.design.names.b[group.name]).mean(axis=(0, 1)) for group in training.groups
    )
    values = posterior.values
    parameters = {name: draws.mean(axis=(0, 1)) for name, draws in values.family.items()}
    return lambda rows: _predicted(rows, values.beta.mean(axis=(0, 1)), effects, parameters)


def _predicted(rows: Design, beta: Array, effects: tuple[Array, ...], parameters: Mapping[str, Any]) -> Array:
    random = (group.contribution(effect) for group, effect in zip(rows.groups, effects, strict=True))
    return expected_of(rows, rows.X @ beta + sum(random, np.zeros(rows.n)), parameters)
