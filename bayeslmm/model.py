"""Model: the façade. It orchestrates and computes nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from .engine.reml import fit as estimate
from .engine.scaling import Problem
from .errors import ConvergenceWarning, NotAvailableError, SingularFitWarning
from .results.point import Origin, PointFit
from .results.settings import Settings
from .spec.design import Design, build_design
from .spec.formula import parse_formula, update_formula
from .spec.priors import Priors, resolve_priors

if TYPE_CHECKING:
    from .results.posterior import PosteriorFit


class Model:
    """A Gaussian mixed-effects model: one formula, two fits.

    Parameters
    ----------
    formula : str
        lme4 formula, such as ``"mathach ~ ses + (ses | school)"``.
    data : pandas.DataFrame
        One row an observation. Rows with missing values in a used column are dropped and counted.
    weights, offset : str or array-like of shape (rows,), optional
        Prior weights and a known part of the mean: a column name, or one value a row.
    priors : mapping, optional
        Priors that replace defaults: ``{"sigma": blm.Prior("HalfNormal", sigma=5), "cor": blm.LKJ(1)}``.
        Keys are described in :func:`bayeslmm.spec.priors.resolve_priors`.
    family : str
        Only ``"gaussian"`` for now.

    Raises
    ------
    FormulaError, DataError, UnidentifiedTermError, PriorError
        The input is at fault; the message says what, where and what to do.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    >>> round(model.fit_reml().sigma, 3)
    25.592
    """

    def __init__(
        self,
        formula: str,
        data: pd.DataFrame,
        *,
        weights: Any = None,
        offset: Any = None,
        priors: Mapping[Any, Any] | None = None,
        family: str = "gaussian",
    ) -> None:
        if family != "gaussian":
            raise NotAvailableError(f"family={family!r}: only 'gaussian' is available so far")
        caller = sys._getframe(1)
        namespace = {**caller.f_globals, **caller.f_locals}
        self.design: Design = build_design(
            parse_formula(formula), data, weights=weights, offset=offset, namespace=namespace
        )
        self.priors: Priors = resolve_priors(self.design, priors)
        self._origin = Origin(data=data, weights=weights, offset=offset)

    def fit_reml(self) -> PointFit:
        """Estimate by REML (what ``lme4::lmer`` does by default)."""
        return self._point(reml=True)

    def fit_ml(self) -> PointFit:
        """Estimate by maximum likelihood (``lmer(REML = FALSE)``)."""
        return self._point(reml=False)

    def _point(self, *, reml: bool) -> PointFit:
        fit = self._solve(reml=reml)
        if fit.solution.status == "boundary":
            names = [g.name for g, s in zip(self.design.groups, fit.solution.singular, strict=True) if s]
            _warn(f"{fit.verdict} ({', '.join(names)})", SingularFitWarning)
        elif fit.solution.status == "failed":
            _warn(
                f"{fit.verdict} (gradient {fit.solution.gradient_norm:.2g} after "
                f"{fit.solution.evaluations} evaluations)",
                ConvergenceWarning,
            )
        return fit

    def _solve(self, *, reml: bool) -> PointFit:
        solution = estimate(Problem.of(self.design), reml=reml)
        return PointFit(design=self.design, solution=solution, origin=self._origin)

    @cached_property
    def pymc(self) -> Any:
        """The ``pymc.Model``, for anyone who wants to look at it or extend it."""
        from .results.sampling import pymc_of

        return pymc_of(self.design, self.priors)

    def fit(
        self,
        *,
        method: str = "auto",
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        cores: int | None = None,
        random_seed: int | None = None,
        nuts_sampler: str | None = None,
        progressbar: bool = True,
        **options: Any,
    ) -> PosteriorFit:
        """The posterior: exact where the model allows it, else by NUTS.

        The exact sampler integrates the fixed and random effects out, draws the few hyperparameters, and draws the
        effects given them. It needs normal, Student t, Cauchy or flat priors on the fixed effects and written-out
        priors on the sds (`bayeslmm.engine.hyperpriors.Positive`). Where its proposal fits badly (many correlated
        columns, k-hat above 0.7) NUTS draws the hyperparameters from the same density.

        Parameters
        ----------
        method : {"auto", "exact", "nuts"}
            ``auto`` takes the exact sampler unless a prior speaks against it or options of NUTS are given; ``nuts``
            samples the whole PyMC model. ``summary()`` says which was used and why.
        draws, chains : int
            Draws kept a chain, number of chains.
        cores : int, optional
            Chains that run at the same time; by default as many as there are processors.
        tune, nuts_sampler, **options
            For NUTS only: tuning steps a chain, ``"nutpie"`` (default) or ``"pymc"``, and whatever else
            ``pymc.sample`` takes.
        random_seed : int, optional
            Same seed, same draws.
        progressbar : bool
            Whether to show progress; the exact sampler does when it takes more than a second.

        Returns
        -------
        PosteriorFit

        Raises
        ------
        NotAvailableError
            ``method="exact"`` for a model that it is not made for.
        """
        from .results.sampling import sample_posterior

        settings = Settings(
            method=method, draws=draws, tune=tune, chains=chains, cores=cores, random_seed=random_seed,
            nuts_sampler=nuts_sampler, progressbar=progressbar, options=options,
        )  # fmt: skip
        return sample_posterior(self.design, self.priors, settings)

    def update(
        self,
        formula: str | None = None,
        *,
        data: pd.DataFrame | None = None,
        priors: Mapping[Any, Any] | None = None,
    ) -> Model:
        """A changed model; what is not given stays as it is.

        Parameters
        ----------
        formula : str, optional
            As R's ``update``, where ``.`` stands for what it was: ``". ~ . + x"``, or a whole formula.
        data : DataFrame, optional
            Another table.
        priors : mapping, optional
            Priors that replace or join those given before; see `Model`.
        """
        caller = sys._getframe(1)
        origin = self._origin if data is None else replace(self._origin, data=data)
        changed = copy(self)
        if formula is not None or data is not None:
            changed.design = build_design(
                update_formula(self.design.formula, formula or ". ~ ."), origin.data, weights=origin.weights,
                offset=origin.offset, namespace={**caller.f_globals, **caller.f_locals},
            )  # fmt: skip
        changed.priors = resolve_priors(changed.design, {**self.priors.given, **(priors or {})})
        changed._origin = origin
        changed.__dict__.pop("pymc", None)
        return changed

    def __repr__(self) -> str:
        d = self.design
        groups = ", ".join(f"{g.name} ({g.n_levels:,} levels: {', '.join(g.columns)})" for g in d.groups)
        dropped = f", {d.n_dropped:,} dropped (missing values)" if d.n_dropped else ""
        return "\n".join(
            [
                "Mixed-effects model, family gaussian (identity link)",
                f"Formula: {d.formula.text}",
                f"Rows: {len(d.y):,} used{dropped}",
                f"Fixed: {', '.join(d.x_names) or 'none'}",
                f"Groups: {groups or 'none'}",
                "Priors:",
                str(self.priors),
            ]
        )

    def _repr_html_(self) -> str:
        return f"<pre style='line-height:1.3'>{escape(repr(self))}</pre>"


def lmer(formula: str, data: pd.DataFrame, REML: bool = True, **options: Any) -> PointFit:
    """``Model(formula, data, **options).fit_reml()``, or ``fit_ml()`` with ``REML=False``, under lme4's name."""
    model = Model(formula, data, **options)
    return model.fit_reml() if REML else model.fit_ml()


def _warn(message: str, category: type[Warning]) -> None:
    import warnings

    warnings.warn(message, category, stacklevel=4)
