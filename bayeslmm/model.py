"""Model: the façade. It orchestrates and computes nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from .engine.reml import fit as estimate
from .engine.scaling import Problem
from .errors import ConvergenceWarning, InputError, NotAvailableError, SingularFitWarning
from .results.diagnosis import K_HAT_LIMIT, diagnose_draws
from .results.exact import sample_exact
from .results.point import Origin, PointFit
from .spec.design import Design, build_design
from .spec.formula import parse_formula
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
        from .engine import pymc_model

        return pymc_model.build_model(self.design, self.priors, self._geometry)

    @cached_property
    def _geometry(self) -> Any:
        from .engine import pymc_model

        solution = self._solve(reml=True).solution
        return pymc_model.choose_geometry(self.design, solution.covariances, solution.sigma)

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
        effects given them. It needs normal or flat priors on the fixed effects and written-out priors on the sds.

        Parameters
        ----------
        method : {"auto", "exact", "nuts"}
            ``auto`` takes the exact sampler unless a prior, the number of hyperparameters or its own diagnostics
            (k-hat) speak against it, or options of NUTS are given; ``summary()`` says which was used and why.
        draws, chains : int
            Draws kept a chain, number of chains.
        tune, cores, nuts_sampler, **options
            For NUTS only: tuning steps a chain, chains run at the same time, ``"nutpie"`` (default) or ``"pymc"``, and
            whatever else ``pymc.sample`` takes.
        random_seed : int, optional
            Same seed, same draws.
        progressbar : bool
            Whether to show progress.

        Returns
        -------
        PosteriorFit

        Raises
        ------
        NotAvailableError
            ``method="exact"`` for a model that it is not made for.
        """
        from .results.posterior import PosteriorFit

        if method not in ("auto", "exact", "nuts"):
            raise InputError(f"fit(method={method!r}): method is 'auto', 'exact' or 'nuts'")
        wants_nuts = method == "nuts" or (method == "auto" and bool(options or nuts_sampler))
        if method == "exact" and (options or nuts_sampler):
            raise InputError(
                f"options of NUTS do not apply to method='exact': {nuts_sampler or sorted(options)}"
            )
        tree, reason = None, ""
        if not wants_nuts:
            tree, reason = self._exact(method, draws, chains, random_seed, progressbar)
        if tree is None:
            tree = self._nuts(
                draws=draws, tune=tune, chains=chains, cores=cores, random_seed=random_seed,
                nuts_sampler=nuts_sampler or "nutpie", progressbar=progressbar, **options,
            )  # fmt: skip
            tree.posterior.attrs["reason"] = reason
        return PosteriorFit(
            design=self.design, priors=self.priors, idata=tree, diagnosis=diagnose_draws(tree)
        )

    def _exact(
        self, method: str, draws: int, chains: int, random_seed: int | None, progressbar: bool
    ) -> tuple[Any, str]:
        """(draws, "") or, with ``auto``, (None, why not)."""
        try:
            tree = sample_exact(
                self.design, self.priors, draws=draws, chains=chains, random_seed=random_seed,
                progressbar=progressbar,
            )  # fmt: skip
        except NotAvailableError as error:
            if method == "exact":
                raise
            return None, str(error)
        k_hat = tree.sample_stats.attrs["k_hat"]
        if method == "auto" and k_hat > K_HAT_LIMIT:
            return None, f"the exact sampler's proposal fits badly (k-hat {k_hat:.2f})"
        return tree, ""

    def _nuts(self, **options: Any) -> Any:
        from .engine import pymc_model

        return pymc_model.sample_nuts(self.pymc, **options)

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
