"""Model: the façade. It orchestrates and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from .design import fixing
from .design.design import Design
from .design.identification import by_form_alone
from .design.priors import Priors
from .engine.iterative_fit import FEWEST, MOST, PROBES
from .engine.pymc_priors import priors_of
from .errors import (
    BayesLMMError,
    ConvergenceWarning,
    FormulaError,
    InputError,
    NotAvailableError,
    RefusedVerbError,
    SingularFitWarning,
    WeaklyIdentifiedWarning,
)
from .families import Family, family_of
from .formulas.binding import Scope
from .formulas.contrasts import Codings
from .formulas.formula import parse_formula, update_formula
from .results.alike import estimated
from .results.described import model_text
from .results.designed import designed
from .results.estimates import Origin
from .results.point import PointFit
from .results.settings import Settings
from .tools import hints
from .tools.caller import names_of_caller
from .tools.columns import terminal_width, wrapped_lines
from .tools.warned import warn
from .tools.words import is_one_of

if TYPE_CHECKING:
    from .engine.pymc_model import PyMCParts
    from .planning.assumed import Assumed
    from .results.audit import Audit
    from .results.equations import Equations
    from .results.explain import Explanation
    from .results.imputed import Imputed
    from .results.posterior import PosteriorFit

SOLVERS = ("auto", "direct", "iterative")


class Model:
    """A mixed-effects model: one formula, two fits.

    Parameters
    ----------
    formula : str
        lme4 formula, such as ``"mathach ~ ses + (ses | school)"``.
    data : pandas.DataFrame
        One row an observation. Rows with missing values in a used column are dropped and counted. Or what gives the
        rows in chunks: a path, glob or folder of Parquet files, a PyArrow Dataset or ParquetFile, a Polars LazyFrame, a
        DuckDB relation, a Dask data frame, or a function without arguments that gives frames one after another. For a
        normal response it is read twice, and sums are kept; for others once, and the rows that differ are kept with
        their numbers; see docs/more_than_memory.md.
    weights, offset : str or array-like of shape (rows,), optional
        Prior weights, which divide the residual variance of a row, and a known part of the mean: a column name, or one
        value a row. New rows have the weight 1, a residual sd of sigma, where they lack the column of that name. How
        often a row counts in the likelihood (frequencies, survey weights), whatever the family, stands in the formula:
        ``"y | weights(w) ~ x + (1 | g)"``. Censored rows do as well: ``"cens(time, event == 0) ~ x"``.
    se : str or array-like of shape (rows,), optional
        Known standard error of each row, as of the estimates of a meta-analysis: a column name, or one value a row. The
        residual variance of a row is se² then, there is no sigma, and a level may have one row, as in
        ``Model("y ~ 1 + (1 | study)", data, se="sei")``. For normal responses; without weights. Observations of new
        rows are predicted where ``newdata`` has the column.
    priors : mapping, optional
        Priors that replace defaults: ``{"sigma": blm.Prior("HalfNormal", sigma=5), "cor": blm.LKJ(1)}``. A number fixes
        a parameter, in point fits as well: ``{"nu": 4}``, ``{("sd", "g", "x"): 0}``; docs/families.md says which.
        Keys are described in :func:`bayeslmm.design.priors.resolve_priors`.
    family : str
        ``"gaussian"``, ``"student_t"``, ``"lognormal"``, ``"bernoulli"``, ``"binomial"`` or ``"beta_binomial"``
        (``p(successes, trials)`` on the left), ``"poisson"``, ``"negbinomial"``, ``"nbinom1"``,
        ``"truncated_poisson"``, ``"truncated_negbinomial"``, ``"zero_inflated_poisson"``,
        ``"zero_inflated_negbinomial"``, ``"hurdle_poisson"``, ``"hurdle_negbinomial"``, ``"gamma"``,
        ``"inverse_gaussian"``, ``"weibull"``, ``"exgaussian"``, ``"beta"``, ``"ordinal"`` (cumulative) or
        ``"categorical"`` (multinomial logit: categories without an order), or ``"zero_one_inflated_beta"``; see
        :mod:`bayeslmm.families`.
    link : str, optional
        By R's name: ``"logit"``, ``"probit"``, ``"cloglog"``, ``"log"``, ... By default the first of the family's.
    namespace : mapping, optional
        Functions and values of your own in the formula, by name. By default the names in scope where the model is made.
    trust : bool
        False for a formula that came from elsewhere. It is then checked before anything is evaluated and may hold
        columns, arithmetic, known transforms and what is in ``namespace``; docs/security.md has the list.
    matrices : mapping, optional
        What ``(1 | gr(animal, cov=A))`` and ``gr(site, prec=Q)`` name: ``{"A": A}``, each a DataFrame with the levels
        on both sides, or a pair (labels, matrix), the matrix dense or a scipy sparse one.
    contrasts : str or mapping, optional
        The coding of factors for which the formula names none: ``"sum"`` (as afex has it), ``"helmert"``, ``"poly"`` or
        ``"treatment"``, the default, of all factors; or by factor, ``{"arm": "sum"}``. It holds in the fixed part, left
        of bars and in linear predictors of other parameters, as R's ``options(contrasts=)``; not where a factor has a
        column for each level, and not in ``sigma=`` of a normal response. Coefficients are called ``arm[S.a]``.
    sigma : str, optional
        How the residual sd of a normal response varies: ``"~ treatment"`` (one a level), ``"~ x"`` (log-linear),
        ``"~ power(x)"``, or sums of them; ``fit.sigma`` is that of the first level, or at x = 0. See docs/residuals.md.
    residual : str, optional
        How residuals of a normal response are correlated: ``"ar1(week | subject)"``, ``"car1(time | subject)"``,
        ``"cs(1 | subject)"`` or ``"us(visit | subject)"``, which has an sd for each visit unless ``hom=True``.
    zi, hu, shape, phi, nu, zoi, coi, scale : str, optional
        The linear predictor of that parameter of the family: ``zi="~ food"`` lets the log odds of zeros beside those of
        the counts differ, ``shape="~ x"`` the log of a negative binomial's shape. ``sigma`` is one of them for a
        Student t response, and where it has bars, ``"~ x + (1 | g)"``, smooths or offsets. ``scale`` is that
        of the latent variable of an ordinal response, one where its predictors are zero. See docs/predictors.md.
    levels : mapping, optional
        Of data in chunks: the levels of columns in their order, as ``{"dose": ["low", "high"]}``; others are refused.
    progressbar : bool
        Of data in chunks: whether to show progress when reading takes more than a second.

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

    @partial(hints.with_hints, name="Model")
    def __init__(
        self,
        formula: str,
        data: pd.DataFrame,
        *,
        weights: Any = None,
        offset: Any = None,
        se: Any = None,
        priors: Mapping[Any, Any] | None = None,
        family: str = "gaussian",
        link: str | None = None,
        namespace: Mapping[str, Any] | None = None,
        trust: bool = True,
        matrices: Mapping[str, Any] | None = None,
        contrasts: str | Mapping[str, str] | None = None,
        sigma: str | None = None,
        residual: str | None = None,
        zi: str | None = None,
        hu: str | None = None,
        shape: str | None = None,
        phi: str | None = None,
        nu: str | None = None,
        zoi: str | None = None,
        coi: str | None = None,
        scale: str | None = None,
        levels: Mapping[str, Sequence[Any]] | None = None,
        progressbar: bool = True,
    ) -> None:
        if isinstance(data, str) and not isinstance(formula, str):
            raise FormulaError(f"Model({type(formula).__name__}, {data!r}): the formula comes first, then the data.")
        asked = {"zi": zi, "hu": hu, "shape": shape, "phi": phi, "nu": nu, "zoi": zoi, "coi": coi}
        asked["scale"] = scale
        predictors = {name: text for name, text in asked.items() if text is not None}
        names = names_of_caller() if namespace is None and trust else namespace
        fixed, priors = fixing.apart(priors)
        self._origin = Origin(
            data=data,
            weights=weights,
            offset=offset,
            se=se,
            sigma=sigma,
            residual=residual,
            predictors=predictors,
            levels=levels,
            fixed=fixed,
        )
        codings = Codings.of(contrasts)
        scope, of_family = Scope(names=names or {}, trusted=trust, codings=codings), family_of(family, link)
        self.design: Design = designed(
            parse_formula(formula), self._origin, scope, of_family, matrices, progressbar=progressbar
        )
        codings.refuse_unused(self.design.leaves)
        if priors is not None:  # which may be at fault
            self.priors = priors_of(self.design, priors)

    @cached_property
    def priors(self) -> Priors:
        """The prior of every parameter with its reason; the default ones are made when first asked for."""
        return priors_of(self.design, None)

    @hints.with_hints
    def fit_reml(self, *, solver: str = "auto", probes: int | None = None) -> PointFit:
        """Estimate by REML (what ``lme4::lmer`` does by default).

        Of other than normal responses by the restricted likelihood in which Laplace's approximation integrates out the
        fixed effects as well (glmmTMB's ``REML = TRUE``).

        Parameters
        ----------
        solver : {"auto", "direct", "iterative"}
            Of normal responses with crossed factors. ``direct`` eliminates the effects, exactly; what is left after the
            largest factor is a dense matrix. ``iterative`` never forms it: conjugate gradients, and random probes for
            the traces of the gradient, with a Monte Carlo error that the verdict states and tables have as ``mcse``
            (docs/theory.md, section 16). ``auto`` takes it where the dense matrix with its inverse would take more than
            4 GB (some 13,000 effects besides those of the largest factor).
        probes : int, optional
            Random probes of the iterative solver, 16 by default; four times as many halve the Monte Carlo error.

        Raises
        ------
        InputError
            Another word, or fewer than 4 probes.
        NotAvailableError
            The dense matrix does not fit, or the iterative solver cannot take the model; the message says why.
        """
        return self._point(reml=True, probes=_probes(solver, probes, self.design.family))

    @hints.with_hints
    def fit_ml(self, *, nAGQ: int | None = None, solver: str = "auto", probes: int | None = None) -> PointFit:
        """Estimate by maximum likelihood (``lmer(REML = FALSE)``; ``glmer`` and ``glmmTMB`` for other families).

        The effects of normal responses are integrated out exactly, those of others by adaptive quadrature with as many
        nodes as it takes. One node is Laplace's approximation, with the observed information, as glmmTMB's;
        docs/point-fits.md says where glmer's differs.

        Parameters
        ----------
        nAGQ : int, optional
            Nodes of adaptive Gauss–Hermite quadrature along each effect of a level, an odd number: for other than
            normal responses with one grouping factor of up to three effects. One is Laplace's approximation, glmer's
            default. By default there are as many (1, 9, 25, 45 or 101) as it takes until the next rule would move no
            estimate by a tenth of its standard error; where there is no rule but Laplace's, the verdict says if it
            is known to be off.
        solver, probes
            As of :meth:`fit_reml`.

        Raises
        ------
        FitError
            The likelihood has no maximum that can be reached.
        InputError
            No odd number of nodes.
        NotAvailableError
            Quadrature for several grouping factors, many effects, or a normal response, whose integral is exact.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> data = blm.load_dataset("sleepstudy").assign(slow=lambda d: (d.Reaction > 300).astype(int))
        >>> fit = blm.Model("slow ~ Days + (1 | Subject)", data, family="bernoulli").fit_ml()
        >>> fit.fixef()["estimate"].round(2).tolist()
        [-3.2, 0.59]
        """
        family = self.design.family
        return self._point(reml=False, nodes=_nodes(nAGQ, family), probes=_probes(solver, probes, family))

    def _point(self, *, reml: bool, nodes: int | None = None, probes: int | None = None) -> PointFit:
        fit = self._solve(reml=reml, nodes=nodes, probes=probes)
        if fit.solution.status == "boundary":
            names = [group.name for group, s in zip(self.design.every_group, fit.solution.singular, strict=True) if s]
            warn(fit.verdict + (f" ({', '.join(names)})" if names else ""), SingularFitWarning)
        elif fit.solution.status == "unidentified":
            warn(
                f"{fit.verdict}. What hangs on the rest is missing from the tables; leave out a term to have it.",
                WeaklyIdentifiedWarning,
            )
        elif fit.solution.status == "separated":
            warn(fit.verdict, ConvergenceWarning)
        elif fit.solution.status == "converged" and (alone := by_form_alone(self.design)):
            warn(f"{alone}: take their sum as known, and each as a guess.", WeaklyIdentifiedWarning)
        elif fit.solution.status == "failed":
            warn(
                f"{fit.verdict} (gradient {fit.solution.gradient_norm:.2g} after "
                f"{fit.solution.evaluations} evaluations)",
                ConvergenceWarning,
            )
        return fit

    def _solve(self, *, reml: bool, nodes: int | None = None, probes: int | None = None) -> PointFit:
        solution = estimated(self.design, reml=reml, nodes=nodes, probes=probes)
        return PointFit(design=self.design, solution=solution, origin=self._origin)

    @cached_property
    def pymc(self) -> Any:
        """The ``pymc.Model``, for anyone who wants to look at it or extend it.

        ``bayeslmm.engine.pymc_model.build_model`` lists its variables; docs/extending.md adds a term by hand.
        """
        from .results.nuts import pymc_of

        self.design.refuse_residual("the PyMC model")
        return pymc_of(self.design, self.priors, Settings())

    def pymc_parts(self) -> PyMCParts:
        """The PyMC model without its response: ``model``, ``eta`` and ``parameters``, to write another response on.

        See docs/extending.md; :meth:`read_draws` takes the draws back.
        """
        from .engine.pymc_model import build_parts
        from .results.nuts import geometry_of

        self.design.refuse_residual("the PyMC model")
        return build_parts(self.design, self.priors, geometry_of(self.design, self.priors, Settings())[0])

    def graph(self) -> Any:
        """The PyMC model as a picture: a ``graphviz.Digraph``, which a notebook shows.

        Raises
        ------
        NotAvailableError
            The package graphviz is not installed.
        """
        from .engine.pymc_model import graph

        return graph(self.pymc)

    def explain(self) -> Explanation:
        """The model in plain words: what varies by what, how many numbers that is, and traps it may fall into.

        Traps are variances that the data do not tell, slopes that vary within no level, effects of groups without a
        fixed counterpart, ids used again in every level of another factor, factors left of ``||``, factors with very
        few levels.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> told = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).explain()
        >>> print(told.parts[-1].strip())
        Each level of Batch has its own intercept, drawn from one normal distribution.
        """
        from .results.explain import explain

        return explain(self.design)

    def equations(self) -> Equations:
        """The model and its priors in mathematics: prints as text, renders as LaTeX in a notebook.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> print(blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).equations())  # doctest: +ELLIPSIS
        Yield_i ~ Normal(μ_i, σ)   (i = 1, …, 30)
        ...
        """
        from .results.equations import equations

        return equations(self.design, self.priors)

    def prior_audit(self, *, draws: int = 4000, random_seed: int | None = 1, ci_prob: float = 0.9) -> Audit:
        """What the priors imply before any data are seen: sds, ICC, shrinkage, the range of responses.

        Parameters
        ----------
        draws : int
            Draws of the priors; by forward simulation, so this takes a second at most.
        random_seed : int, optional
            Same seed, same numbers.
        ci_prob : float
            Probability between the columns ``low`` and ``high``.

        Raises
        ------
        PriorError
            A prior is improper (flat), so it implies nothing.
        """
        from .results.audit import prior_audit

        return prior_audit(self.design, self.priors, draws=draws, random_seed=random_seed, ci_prob=ci_prob)

    def explore_priors(self, *, random_seed: int | None = 1) -> Any:
        """Responses that the priors imply beside the observed ones, with a slider that widens or narrows the priors.

        A list picks whose priors the slider changes: all, or those of the fixed effects, of the sds of groups, or of
        the family. Everything is computed beforehand, so that ``figure.write_html("priors.html")`` works without a
        server or a network.

        Parameters
        ----------
        random_seed : int, optional
            Same seed, same page.

        Returns
        -------
        plotly.graph_objects.Figure

        Raises
        ------
        PriorError
            A prior is improper (flat), so it implies nothing.
        NotAvailableError
            plotly is not installed: ``pip install 'bayeslmm[interactive]'``.
        """
        from .show.prior_explorer import explore_priors

        return explore_priors(self.design, self.priors, random_seed=random_seed)

    @hints.with_hints
    def prior_predictive(self, draws: int = 500, *, random_seed: int | None = None) -> Any:
        """Draws of the priors and responses simulated from them, as ArviZ takes them.

        Returns
        -------
        xarray.DataTree
            Groups ``prior`` (named as a posterior is), ``prior_predictive`` (``y``) and ``observed_data``.
        """
        from .results.prior_draws import prior_predictive

        return prior_predictive(self.design, self.priors, draws=draws, random_seed=random_seed)

    @cached_property
    def geometry(self) -> pd.DataFrame:
        """In which coordinates NUTS moves, and why: one row a column of a grouping factor.

        Columns ``reliability`` (how well the rows of a level tell its effect), ``centring`` (mean weight: 1 where the
        effect itself is sampled, 0 where it is in units of its sd) and ``around`` (what a centred effect is sampled
        around). Override it by ``fit(centring={"school": 0})``.
        """
        from .results.nuts import geometry_of, geometry_table

        self.design.refuse_residual("geometry")
        return geometry_table(self.design, geometry_of(self.design, self.priors, Settings())[0])

    @hints.with_hints
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
        centring: Mapping[Any, float] | None = None,
        **options: Any,
    ) -> PosteriorFit:
        """The posterior: exact where the model allows it, else by NUTS.

        The exact sampler integrates the fixed and random effects out, draws the few hyperparameters, and draws the
        effects given them. It needs normal, Student t, Cauchy or flat priors on the fixed effects and written-out
        priors on the sds (`bayeslmm.engine.hyperpriors.Positive`). Where its proposal fits badly (many correlated
        columns, k-hat above 0.7) NUTS draws the hyperparameters from the same density. Of other responses with up to
        three effects a row, of one grouping factor or of nested ones, the effects are integrated out by quadrature,
        where the log density is concave in the linear predictor; with several effects and many rows only where draws of
        NUTS are doubtful.

        Parameters
        ----------
        method : {"auto", "exact", "nuts"}
            ``auto`` takes the exact sampler unless family or priors speak against it or options of NUTS are given;
            ``nuts`` samples all unknowns. ``summary()`` says which was used and why.
        draws, chains : int
            Draws kept a chain, number of chains.
        cores : int, optional
            Chains that run at the same time; by default as many as there are processors.
        tune : int
            Tuning steps a chain, for NUTS only.
        nuts_sampler : {"nutpie", "pymc", "numpyro"}, optional
            Samples the PyMC model (`pymc`) by this sampler. By default nutpie draws from the same density in loops that
            are compiled already, so that no model is compiled; the PyMC model is for priors not written out there.
        centring : mapping, optional
            Overrides the coordinates of NUTS (`geometry`): weights between 0 (not centred) and 1 (centred) by
            grouping factor or (factor, column), such as ``{"school": 0, ("school", "ses"): 1}``.
        **options
            ``target_accept``, ``max_treedepth`` and ``adaptation`` of the metric (nutpie's ``"diag"``, ``"draw_diag"``
            or ``"low_rank"``), or whatever else ``pymc.sample`` takes, which then samples the PyMC model. Without
            ``target_accept`` divergences are answered by sampling again with smaller steps. Chains that agree but are
            slow go on, in coordinates learned from their draws, up to sixteen times as long; the verdict says so.
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
        from .results.posterior import with_verbs
        from .results.sampling import sample

        settings = Settings(
            method=method,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=cores,
            random_seed=random_seed,
            nuts_sampler=nuts_sampler,
            progressbar=progressbar,
            options=options,
            centring={} if centring is None else centring,
        )
        return with_verbs(sample(self.design, self.priors, settings))

    def read_draws(self, idata: Any) -> PosteriorFit:
        """The verbs of a posterior for draws made elsewhere, such as those of an extended `pymc` model.

        Parameters
        ----------
        idata : xarray.DataTree
            With a group ``posterior`` that holds variables of this model by their names (see `pymc`). Others may be
            there as well and stay where they are; verbs that need one that is not there say so.

        Raises
        ------
        InputError
            There is no such group, none of the model's variables, or one with another shape.
        """
        from .results.nuts import read_draws
        from .results.posterior import with_verbs

        return with_verbs(read_draws(self.design, self.priors, idata))

    def update(
        self,
        formula: str | None = None,
        *,
        data: pd.DataFrame | None = None,
        priors: Mapping[Any, Any] | None = None,
        contrasts: str | Mapping[str, str] | None = None,
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
        contrasts : str or mapping, optional
            The coding of factors instead of that given before.
        """
        origin = self._origin if data is None else replace(self._origin, data=data)
        fixed, others = fixing.changed(origin.fixed, priors)
        origin = replace(origin, fixed=fixed)
        changed = copy(self)
        if formula is not None or data is not None or contrasts is not None or fixed != dict(self._origin.fixed):
            scope = self.design.scope.at(names_of_caller())
            if contrasts is not None:
                scope = replace(scope, codings=Codings.of(contrasts))
            changed.design = designed(
                update_formula(self.design.formula, formula or ". ~ ."),
                origin,
                scope,
                self.design.family,
                self.design.matrices,
            )
        if contrasts is not None:
            changed.design.scope.codings.refuse_unused(changed.design.leaves)
        changed.priors = priors_of(changed.design, others, given=fixing.without(self.priors.given, fixed))
        changed._origin = origin
        for cached in ("pymc", "geometry"):
            changed.__dict__.pop(cached, None)
        return changed

    def assume(self, *, beta: Any = None, sd: Any = None, cor: Any = None, **parameters: Any) -> Assumed:
        """Values of all parameters, from which studies can be simulated; see :func:`bayeslmm.assume`."""
        from .planning.assumed import assumed

        return assumed(self, beta=beta, sd=sd, cor=cor, **parameters)

    if not TYPE_CHECKING:  # type checkers know the verbs, and say which name is none

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that failed by an AttributeError: that one is the cause
                return object.__getattribute__(self, name)
            if not name.startswith("_") and "design" in self.__dict__:
                from .results.unfitted import unfitted

                hint = unfitted(name, has_reml=self.design.family.has_reml)
                if hint:
                    raise RefusedVerbError(hint)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        d = self.design
        groups = ", ".join(
            f"{group.name} ({group.n_levels:,} levels: {', '.join(group.columns)})"
            for group in d.every_group
            if group.is_grouping
        )
        smooths = ", ".join(f"{smooth.name} ({smooth.n_levels} columns)" for smooth in d.smooths)
        dropped = f", {d.n_dropped:,} dropped (missing values)" if d.n_dropped else ""
        head = "\n".join(
            [
                f"Mixed-effects model, family {d.family}",
                f"Formula: {d.formula.text}",
                f"Rows: {len(d.y):,} used{dropped}",
                f"Fixed: {d.fixed_words}",
                *d.contrast_lines,
                *d.predictor_lines,
                f"Groups: {groups or 'none'}",
                *([f"Residuals: {d.residual.text}"] if d.residual is not None else []),
                *([f"Smooths: {smooths}"] if smooths else []),
            ]
        )
        width = terminal_width()
        head = head if width is None else wrapped_lines(head, width)
        return head if d.residual is not None else f"{head}\nPriors:\n{self.priors}"

    def _repr_html_(self) -> str:
        return model_text(self.design, self.priors)._repr_html_()


def lmer(formula: str, data: pd.DataFrame, REML: bool = True, **options: Any) -> PointFit:
    """``Model(formula, data, **options).fit_reml()``, or ``fit_ml()`` with ``REML=False``, under lme4's name."""
    model = Model(formula, data, **options)
    return model.fit_reml() if REML else model.fit_ml()


def glmer(
    formula: str, data: pd.DataFrame, family: str = "gaussian", *, nAGQ: int | None = None, **options: Any
) -> PointFit:
    """``Model(formula, data, family=family, **options).fit_ml(nAGQ=nAGQ)``, under lme4's name.

    Of a normal response `lmer`, as there.
    """
    model = Model(formula, data, family=family, **options)
    return model.fit_reml() if model.design.family.has_reml and nAGQ is None else model.fit_ml(nAGQ=nAGQ)


def assume(
    source: Any,
    data: Any = None,
    *,
    beta: Any = None,
    sd: Any = None,
    cor: Any = None,
    family: str | None = None,
    link: str | None = None,
    **parameters: Any,
) -> Assumed:
    """A model with values of its parameters, from which :func:`bayeslmm.plan` simulates studies.

    Parameters
    ----------
    source : str, Model, PointFit, PosteriorFit or Assumed
        A formula with its table; or a model. Of a fit its estimates (of a posterior the means of its draws) stay where
        no other value is given.
    data : DataFrame, optional
        Beside a formula: one row an observation. The response need not be there.
    beta : mapping or sequence, optional
        Fixed effects by name, or all in order.
    sd : number, sequence or mapping, optional
        Standard deviations of the random effects: by grouping factor a number, a sequence in the order of its columns
        or a mapping by column. What is not a mapping by factor is for the only factor.
    cor : number, matrix or mapping, optional
        Correlations of a factor's effects, by factor or for the only one: a number where there is one, else a matrix.
        Zero by default.
    family, link : str, optional
        Beside a formula; as of `Model`.
    **parameters
        Those of the family: ``sigma=25.0``, ``shape=2.0``, ``cutpoint=[-1, 0, 1]``.

    Returns
    -------
    Assumed
        Prints the values.

    Raises
    ------
    InputError
        A name that is not there, a value that is missing, negative or no number, or correlations that no effects can
        have.
    NotAvailableError
        Smooths, relationship matrices and multi-membership.

    Examples
    --------
    >>> import bayeslmm as blm, pandas as pd
    >>> wards = pd.DataFrame({"arm": ["a", "b"] * 10, "ward": range(20)})
    >>> table = wards.merge(pd.DataFrame({"day": range(4)}), how="cross")
    >>> truth = blm.assume("y ~ arm + (1 | ward)", table, beta={"Intercept": 50, "arm[b]": 4}, sd=3, sigma=6)
    >>> truth.beta.tolist(), truth.sigma
    ([50.0, 4.0], 6.0)
    """
    from .planning.assumed import assumed, with_response

    if isinstance(source, str):
        if data is None:
            raise InputError("assume(formula): a table is needed beside it, one row an observation")
        word = "gaussian" if family is None else family
        frame = with_response(parse_formula(source), data, family_of(word, link), parameters)
        source = Model(source, frame, family=word, link=link)
    elif data is not None or family is not None or link is not None:
        raise InputError(f"assume: data, family and link stand beside a formula; {type(source).__name__} has its own")
    return assumed(source, beta=beta, sd=sd, cor=cor, **parameters)


def _nodes(nAGQ: Any, family: Family) -> int | None:
    """The nodes of a rule that a user asked for."""
    if nAGQ is None:
        return None
    if isinstance(nAGQ, bool) or not isinstance(nAGQ, int) or not 1 <= nAGQ <= 101 or nAGQ % 2 == 0:
        raise InputError(f"fit_ml(nAGQ={nAGQ!r}): nodes are an odd number from 1 to 101, such as 9 or 25")
    if family.has_reml:
        raise NotAvailableError(
            f"fit_ml(nAGQ={nAGQ}): the effects of a normal response are integrated out exactly; leave nAGQ out"
        )
    return nAGQ


def _probes(solver: Any, probes: Any, family: Family) -> int | None:
    """The probes of the solver that a user asked for: none of elimination; None where the size decides."""
    if not is_one_of(solver, SOLVERS):
        raise InputError(f"solver={solver!r}: it is {', '.join(map(repr, SOLVERS))}")
    if probes is not None:
        if isinstance(probes, bool) or not isinstance(probes, int) or not FEWEST <= probes <= MOST:
            raise InputError(f"probes={probes!r}: a whole number from {FEWEST} to {MOST:,}, such as {PROBES}")
        if solver != "iterative":
            raise InputError(f"probes={probes}: probes are those of solver='iterative'")
    if not family.has_reml and solver == "iterative":
        raise NotAvailableError(f"solver='iterative' is for normal responses, not for those of {family}")
    if solver == "auto":
        return None
    return 0 if solver == "direct" else probes or PROBES


def fit_imputed(
    formula: str, tables: Sequence[Any], *, how: str = "reml", sampling: Mapping[str, Any] | None = None, **options: Any
) -> Imputed:
    """One model fitted to several imputed tables, and the fits as one.

    Parameters
    ----------
    formula : str
    tables : sequence of tables
        As of `Model`: the same rows with missing values filled in differently, by scikit-learn, mice or another
        imputer.
    how : {"reml", "ml", "posterior"}
        What is fitted to each.
    sampling : mapping, optional
        Of posteriors: what :meth:`Model.fit` takes.
    **options
        As of `Model`: ``family``, ``weights``, ``priors``, ...

    Returns
    -------
    Imputed
        ``fixef()`` by Rubin's rules, or of all draws together; ``parameters()``, ``means()``, ``comparisons()``,
        ``predict()``, ``ranef()``, ``icc()``, of point fits ``test()``; of posteriors ``stacked``, the posterior of all
        draws with its other verbs; ``verdict``, ``fits``.

    Raises
    ------
    InputError
        Fewer than two tables, or tables of other rows, columns or levels, or that lost other rows to missing values.

    Examples
    --------
    >>> import numpy as np, bayeslmm as blm
    >>> sleep, rng = blm.load_dataset("sleepstudy"), np.random.default_rng(1)
    >>> tables = [sleep.assign(Days=sleep["Days"] + rng.normal(0, 0.3, len(sleep)).round(1)) for _ in range(5)]
    >>> found = blm.fit_imputed("Reaction ~ Days + (Days | Subject)", tables)
    >>> bool(found.fixef().loc["Days", "between_share"] > 0)
    True
    """
    from .results.imputed import Imputed

    kinds = ("reml", "ml", "posterior")
    if not is_one_of(how, kinds):
        raise InputError(f"fit_imputed(how={how!r}): it is {', '.join(map(repr, kinds))}")
    if sampling is not None and how != "posterior":
        raise InputError("fit_imputed(sampling=...): options of the sampler belong to how='posterior'")
    if isinstance(tables, str) or not isinstance(tables, Sequence):
        raise InputError(f"fit_imputed: tables are a list of tables, one an imputation, not {type(tables).__name__}")
    fits: list[Any] = []
    for k, table in enumerate(tables, start=1):
        try:
            model = Model(formula, table, **options)
        except BayesLMMError as error:
            raise type(error)(f"fit_imputed: table {k} of {len(tables)}: {error}") from None
        if how == "posterior":
            fits.append(model.fit(**(sampling or {})))
        else:
            fits.append(model.fit_reml() if how == "reml" else model.fit_ml())
    return Imputed(fits=tuple(fits))
