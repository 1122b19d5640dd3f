"""What a hostile input has to end in: a right result or an error of ours, and the table as it was.

A case names a formula and a table. Either it is refused, by this class of error in these words, or it is fitted and
gives what a clean table gives; every table of the fit is then looked through for holes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors

ROWS = 60
TOLERANCE = 1e-10  # the same numbers in another dtype or order of columns: only rounding may differ
LONGEST = 1500  # characters of a message that someone reads


def clean() -> pd.DataFrame:
    """60 rows: ten groups g of six, h crosses them; x, z and y are numbers, f has three levels, b two."""
    rng = fixed_rng(7)
    data = pd.DataFrame(
        {
            "g": np.repeat([*"abcdefghij"], 6),
            "h": np.resize([*"mnopqr"], ROWS),
            "f": np.resize([*"uvw"], ROWS),
            "b": np.resize([True, False], ROWS),
            "i": np.resize(np.arange(-2, 5), ROWS),
            "x": rng.normal(size=ROWS),
            "z": rng.normal(size=ROWS),
        }
    )
    a, b, c = (rng.permutation(np.linspace(-1.5, 1.5, levels)) for levels in (10, 10, 6))
    effects = np.repeat(a, 6) + (0.5 + np.repeat(b, 6)) * data["x"] + np.resize(c, ROWS)
    data["y"] = 1.0 + 0.2 * data["i"] + effects + 0.5 * rng.normal(size=ROWS)
    return data


Maker = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input and what has to come of it."""

    name: str
    formula: Any
    data: Maker
    options: Mapping[str, Any] = field(default_factory=dict)
    error: type[errors.BayesLMMError] | None = None
    words: tuple[str, ...] = ()
    like: tuple[str, Maker] | None = None
    like_options: Mapping[str, Any] = field(default_factory=dict)
    warns: tuple[type[Warning], ...] = ()
    terms: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def table(change: Mapping[str, Any] | Callable[[pd.DataFrame], Any] | None = None) -> Maker:
    """A maker of the clean table with these columns put in, or after this change."""

    if change is None:
        return clean
    if callable(change):
        return lambda: change(clean())
    return lambda: clean().assign(**change)


def refused(
    name: str, formula: Any, change: Any, error: type[errors.BayesLMMError], *words: str, **options: Any
) -> Case:
    """A case that ends in this error, whose message holds these words."""
    return Case(name=name, formula=formula, data=table(change), options=options, error=error, words=words)


def fitted(
    name: str,
    formula: str,
    change: Any = None,
    *,
    like: str | None = None,
    of: Any = None,
    warns: tuple[type[Warning], ...] = (),
    terms: tuple[str, ...] = (),
    like_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Case:
    """A case that gives the numbers of the formula ``like`` on the clean table after the change ``of``."""
    return Case(
        name=name,
        formula=formula,
        data=table(change),
        options=options,
        like=(like or formula, table(of)),
        like_options=like_options or {},
        warns=warns,
        terms=terms,
    )


def check(case: Case) -> None:
    """Fit or be refused as the case says."""
    data, before = case.data(), case.data()
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        if case.error is not None:
            with pytest.raises(Exception) as caught:  # noqa: PT011  any: a foreign one has to be told from ours
                blm.Model(case.formula, data, **case.options).fit_reml()
            check_message(caught.value, case.error, case.words)
        else:
            fit = blm.Model(case.formula, data, **case.options).fit_reml()
            check_fit(case, fit)
    check_warnings(given, case.warns if case.error is None else None)
    check_unchanged(data, before)


def check_message(error: Exception, wanted: type[Exception], words: tuple[str, ...]) -> None:
    """The error is ours, of this class, short, says these words, and shows no foreign traceback."""
    assert isinstance(error, errors.BayesLMMError), f"{type(error).__name__}: {error}"
    assert isinstance(error, wanted), f"{type(error).__name__}: {error}"
    message = str(error)
    assert all(word in message for word in words), message
    assert 20 < len(message) < LONGEST, message
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__), repr(
        error.__context__
    )


def check_warnings(given: list[warnings.WarningMessage], wanted: tuple[type[Warning], ...] | None) -> None:
    """All warnings are ours; of these kinds, unless the case is refused."""
    foreign = [
        f"{w.category.__name__}: {w.message}" for w in given if not issubclass(w.category, errors.BayesLMMWarning)
    ]
    assert not foreign, foreign
    if wanted is not None:
        assert {w.category for w in given} == set(wanted), [str(w.message) for w in given]


def check_unchanged(data: Any, before: Any) -> None:
    """The table is what it was, dtypes, index and all."""
    if isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(data, before, check_exact=True, check_freq=True)
        assert list(data.columns) == list(before.columns) and data.attrs == before.attrs
    elif hasattr(data, "equals") and not isinstance(data, type):
        assert data.equals(before)


def check_fit(case: Case, fit: Any) -> None:
    """The numbers are those of the clean input, and no table has a hole."""
    assert case.like is not None
    same_numbers(fit, expected_fit(*case.like, **case.like_options))
    if case.terms:
        assert tuple(fit.fixef().index) == case.terms
    missing = {name: list(holes(found)) for name, found in tables(fit)}
    assert not any(missing.values()), {name: found for name, found in missing.items() if found}


def expected_fit(formula: str, make: Maker, **options: Any) -> Any:
    """The fit of a clean table."""
    return _clean_fit(formula) if make is clean and not options else _fit(formula, make(), options)


@cache
def _clean_fit(formula: str) -> Any:
    return _fit(formula, clean(), {})


def _fit(formula: str, data: pd.DataFrame, options: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        return blm.Model(formula, data, **options).fit_reml()


def same_numbers(fit: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    """Estimates, variances, modes and residuals agree."""
    for numbers in (
        lambda f: f.fixef().to_numpy(),
        lambda f: f.sigma,
        lambda f: f.criterion,
        lambda f: [np.sort(cov, axis=None) for cov in f.solution.covariances],
        lambda f: [np.sort(modes, axis=0) for modes in f.solution.modes],
        lambda f: np.sort(f.residuals()),
    ):
        one, other = numbers(fit), numbers(expected)
        pairs = zip(one, other, strict=True) if isinstance(one, list) else [(one, other)]
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max(initial=0.0))


def tables(fit: Any) -> Iterator[tuple[str, Any]]:
    """Every table of a point fit, and what is printed."""
    yield "fixef", fit.fixef()
    yield "vcov", fit.vcov()
    for effects in ("fixed", "ran_pars", "ran_vals", "ran_coefs"):
        tidy = fit.tidy(effects)
        yield f"tidy {effects}", tidy.drop(columns=["level"], errors="ignore")
    yield "confint", fit.confint()
    yield "variance_components", fit.variance_components()
    yield "var_corr", list(fit.var_corr().values())
    yield "r2", fit.r2()
    if fit.design.groups:
        yield "icc", fit.icc()
    yield "glance", fit.glance().drop(columns=[] if fit.design.groups else ["icc"])
    yield "augment", fit.augment()
    yield "predict", fit.predict()
    yield "predict average", fit.predict(fit.design.frame, groups="average", **_offset(fit))
    yield "fitted", fit.fitted()
    yield "residuals", fit.residuals("scaled")
    summary = fit.summary()
    for shown in (str(summary), summary._repr_html_(), summary.to_markdown(), summary.to_latex()):
        yield "print", shown


def _offset(fit: Any) -> dict[str, Any]:
    return {"offset": 0.0} if fit.design.recipe.offset_given_as_array else {}


def holes(answer: Any) -> Iterator[str]:
    """Where a number is missing or infinite."""
    if isinstance(answer, list):
        for each in answer:
            yield from holes(each)
    elif isinstance(answer, str):
        words = answer.replace("(", " ").replace(")", " ").split()
        yield from (word for word in words if word.lower() in ("nan", "inf", "-inf", "<na>"))
    elif isinstance(answer, pd.DataFrame):
        for name in answer.columns:
            values = answer[name]
            numeric = values.dtype.kind in "fc" and name != "df"  # infinite where variances count as known
            if (~np.isfinite(values.to_numpy(dtype=float))).any() if numeric else values.isna().any():
                yield str(name)
    elif not np.isfinite(np.asarray(answer, dtype=float)).all():
        yield "numbers"
