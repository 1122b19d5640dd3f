"""The REML or ML fit: lme4's numbers under the verbs every fit answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from ..errors import InputError
from ..tools.arrays import Array
from ..tools.caller import names_of_caller
from ..tools.lazy import later
from . import effects, streamed, wald
from .alike import told_alike, verdict
from .beside import beside_data
from .estimates import Estimates
from .fit import Fit
from .fitted import fitted, residuals
from .reading import tables_for_reading
from .tables import square
from .targets import Transform
from .text import Text

if TYPE_CHECKING:
    from . import (
        curves,
        effect_estimates,
        heterogeneity,
        intervals,
        means,
        parameter_rows,
        point_tables,
        predict,
        pseudo_r2,
        quantities,
        refits,
        summary,
        tidy,
    )
    from . import hypotheses as hypotheses_of
else:
    globals().update(
        later(
            __package__,
            *("curves", "effect_estimates", "heterogeneity", "intervals", "means", "parameter_rows", "point_tables"),
            *("predict", "pseudo_r2", "quantities", "refits", "summary", "tidy"),
        ),
        hypotheses_of=later(__package__, "hypotheses")["hypotheses"],
    )


@tables_for_reading
@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PointFit(Fit, Estimates):
    """A REML or ML fit of a mixed model, or of a (generalised) linear model where there is no bar.

    That of a normal response is exact; the effects of other responses are integrated out by Laplace's approximation,
    with the observed information (docs/point-fits.md).

    Attributes
    ----------
    design : Design
        What was fitted.
    solution : PointSolution
        The estimates as arrays.
    origin : Origin
        The user's table, weights and offset as they were given.
    """

    _refused: ClassVar[Mapping[str, str]] = {
        "hypothesis": "a point fit has no probabilities; test(...) tests equations, model.fit().hypothesis() has them",
        "rank_groups": "a point fit knows no probability of a rank; model.fit().rank_groups() does",
        "bayes_r2": "the Bayesian R² is defined by draws of a posterior; r2() is the one for both",
        "with_priors": "a point fit has no priors; model.fit() has",
        "priors": "a point fit has no priors; model.fit() has",
        "prior_sensitivity": "a point fit has no priors; model.fit() has",
        "prior_influence": "a point fit has no priors; model.fit() has",
        "draws": "a point fit has no draws; bootstrap() gives replicates, model.fit() a posterior",
        "idata": "a point fit has no draws; model.fit() gives a posterior",
        "loo": "leave-one-out prediction is averaged over a posterior: model.fit().loo(). A point fit has aic and bic",
    }

    # -- numbers ---------------------------------------------------------------------------------------------

    @property
    def verdict(self) -> str:
        """``converged``, ``boundary`` (singular), ``not identified`` or ``failed``, in words.

        Not identified: estimates that are as good have other variances. What they say alike is given, the rest is
        missing in every table.
        """
        return verdict(self)

    # -- tables ----------------------------------------------------------------------------------------------

    def fixef(self, *, ddf: str | None = wald.DDF, ci_prob: float = 0.95) -> pd.DataFrame:
        """Fixed effects: estimate, std_error, df, statistic, p_value and interval, one row a coefficient.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger", None}
            Degrees of freedom of t tests and t intervals, as lmerTest. Kenward–Roger (``"kr"``; REML fits only) also
            adjusts the standard errors. None (``"z"``): no p-values, and intervals of the normal distribution (``df``
            infinite), as lme4. A linear model has exact tests by either name.
        ci_prob : float
            Probability of the interval.

        Raises
        ------
        InputError
            Unknown ``ddf``, or Kenward–Roger for an ML fit.
        NotAvailableError
            Kenward–Roger with more than 6,000 random effects.
        """
        return point_tables.fixef(self, ddf=ddf, ci_prob=ci_prob)

    def confint(
        self,
        method: str = "wald",
        *,
        ci_prob: float = 0.95,
        ddf: str | None = wald.DDF,
        draws: int = 1000,
        random_seed: int | None = None,
        cores: int | None = None,
        progressbar: bool = True,
    ) -> pd.DataFrame:
        """Confidence intervals.

        Parameters
        ----------
        method : {"wald", "profile", "boot"}
            ``wald``: fixed effects ± t se, at once, those of :meth:`fixef`. ``profile``: by the profile likelihood of
            every parameter (deviance of ML, as lme4). ``boot``: percentiles of a parametric bootstrap.
        ci_prob : float
            Probability of the intervals.
        ddf : {"satterthwaite", "kenward-roger", None}
            For ``wald``: degrees of freedom as in :meth:`fixef`; None for z.
        draws, random_seed, cores : int, optional
            For ``boot``: simulated data sets, seed (same seed, same intervals, whatever the cores) and processes
            (all cores).
        progressbar : bool
            Whether to show progress of ``profile`` and ``boot``.

        Returns
        -------
        DataFrame
            Columns effect (``ran_pars`` or ``fixed``), group, term (``sd__Days``, ``cor__Intercept.Days``,
            ``sd__Observation`` for sigma), estimate, conf_low, conf_high. ``wald`` has the fixed effects only, and
            their ``df`` (infinite for z).
        """
        return intervals.confint(
            self,
            method=method,
            ci_prob=ci_prob,
            ddf=ddf,
            draws=draws,
            random_seed=random_seed,
            cores=cores,
            progressbar=progressbar,
        )

    def profile(self, *, ci_prob: float = 0.99, progressbar: bool = True) -> pd.DataFrame:
        """Profile curves for plotting: effect, group, term, value and ζ = sign·√(deviance − minimum).

        A straight line means that Wald intervals are right. Bates et al. (2015), section 5.1.
        """
        return intervals.profile(self, ci_prob=ci_prob, progressbar=progressbar)

    def bootstrap(
        self, draws: int = 1000, *, random_seed: int | None = None, cores: int | None = None, progressbar: bool = True
    ) -> pd.DataFrame:
        """Estimates from data sets simulated from this fit (lme4's ``bootMer``, all effects drawn anew).

        Returns
        -------
        DataFrame
            One row a data set, one column a parameter (group, term). ``attrs`` has the share of ``singular`` refits
            and the number that ``failed``, whose rows are missing.
        """
        rows = intervals.bootstrap_table(
            self, draws=draws, random_seed=random_seed, cores=cores, progressbar=progressbar
        )
        rows.loc[:, np.isnan(intervals.estimates_of(self))] = np.nan
        return rows

    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the fixed effects, σ̂² A_x⁻¹."""
        return point_tables.vcov(self)

    def ranef(self, *, wide: bool = False, ci_prob: float = 0.95) -> pd.DataFrame:
        """Conditional modes of the random effects with their conditional sds (lme4's condSD).

        Parameters
        ----------
        wide : bool
            One row a level, one column a term (modes only) instead of one row a number.
        ci_prob : float
            Probability of the interval mode ± z condSD, variances taken as known (``df`` infinite).
        """
        return point_tables.ranef(self, wide=wide, ci_prob=ci_prob)

    def coef(self, *, wide: bool = False, ci_prob: float = 0.95, ddf: str | None = wald.DDF) -> pd.DataFrame:
        """β + b for every level of every grouping factor, over the union of fixed and random terms.

        A fixed term that a bar codes differently (``scale(x)`` beside ``(x | g)``, contrasts beside ``(0 + f | g)``) is
        told in the bar's columns, so that the coefficients of a level times its columns are its fitted values.

        Parameters
        ----------
        wide : bool
            One row a level, one column a term (estimates only) instead of one row a number.
        ci_prob : float
            Probability of the interval estimate ± t std_error. The standard error is that of β̂ + b̂ as a predictor of
            β + b, variances taken as known: the uncertainty of both and how they hang together (docs/theory.md, 9.8).
        ddf : {"satterthwaite", None}
            Degrees of freedom, as of a plug-in interval of :meth:`predict`; None for z.
        """
        return point_tables.coef(self, wide=wide, ci_prob=ci_prob, ddf=ddf)

    def smooth(
        self,
        name: str | None = None,
        *,
        at: Sequence[float] | None = None,
        derivative: bool = False,
        ci_prob: float = 0.95,
        random_seed: int | None = 1,
    ) -> pd.DataFrame:
        """The course of a smooth with pointwise and simultaneous bands, centred over the rows of the fit.

        Parameters
        ----------
        name : str, optional
            Such as ``"s(x)"``, or ``"s(x):fa"`` of a level of ``by``; all smooths by default.
        at : sequence of float, optional
            Points; 101 over the range of the data by default.
        derivative : bool
            The slope of the curve instead.
        ci_prob : float
            Probability of the bands.
        random_seed : int, optional
            The width of simultaneous bands is simulated (Ruppert, Wand & Carroll 2003, section 6.5).

        Returns
        -------
        DataFrame
            smooth, the factor of ``by``, the variable, estimate, std_error, conf_low and conf_high of every point, and
            simultaneous_low and simultaneous_high, which hold the whole curve. Variances are taken as known.

        Raises
        ------
        InputError
            The model has no such smooth.
        """
        return curves.of_point(self, name, at, derivative, ci_prob, random_seed)

    def smooths(self) -> pd.DataFrame:
        """Every smooth: its sd (σ/√λ), its effective degrees of freedom, straight line included, and the most of them.

        As mgcv's ``edf``: the trace of the smooth's block of (CᵀC + P)⁻¹CᵀC.
        """
        return curves.degrees_of_freedom(self)

    # -- variances -------------------------------------------------------------------------------------------

    def var_corr(self) -> dict[str, pd.DataFrame]:
        """Covariance matrix of the random effects of each grouping factor."""
        return point_tables.var_corr(self)

    def variance_components(self, **boot: Any) -> pd.DataFrame:
        """Variances, sds and correlations of every term, the residual, and each factor's share of the total.

        Columns: group, term, quantity (``variance``, ``sd``, ``cor``, ``share``), estimate; conf_low and conf_high with
        ``bootstrap``, as in :meth:`icc`. The share is taken at the average row: see
        :func:`bayeslmm.results.variance.components`. Where the data tell only a combination of variances, they are
        missing, and it is a row of its own: group ``sd(a)² + sd(b)²``, quantity ``combination``.
        """
        return intervals.variance_components(self, **intervals.boot_options("variance_components", boot))

    def icc(
        self,
        *,
        at: Mapping[str, Sequence[Any]] | str | None = None,
        by_group: bool = True,
        bootstrap: int = 0,
        ci_prob: float = 0.95,
        random_seed: int | None = None,
        cores: int | None = None,
        progressbar: bool = True,
    ) -> pd.DataFrame:
        """Intraclass correlation: adjusted, unadjusted and by grouping factor; or ICC(x) at given values.

        Parameters
        ----------
        at : mapping or str, optional
            Values by variable, ``{"Days": [0, 5, 9]}``, or the name of one for a curve over its range. The other
            variables are held at the observed value nearest to their mean.
        by_group : bool
            Whether to add a row for each grouping factor, and for a factor nested in others the cumulative one. With
            ``at`` there are ``adjusted`` and, of several factors, each one's.
        bootstrap : int
            Simulated data sets for a percentile interval; 0 for none.
        ci_prob, random_seed, cores, progressbar
            Of the bootstrap, as in :meth:`confint`.

        Returns
        -------
        DataFrame
            ``estimate``, with ``conf_low`` and ``conf_high`` if asked for. Definitions and sources:
            :func:`bayeslmm.results.variance.icc`.

        Raises
        ------
        NotAvailableError
            The model has no random effects.
        InputError
            ``at`` names no variable of the model.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> fit = blm.lmer("like ~ sex + PrivPub + (1 | school/class)", blm.load_dataset("science"))
        >>> round(fit.icc(by_group=True).loc["school:class in school", "estimate"], 3)
        0.095
        """
        return intervals.quantity_table(
            self,
            quantities.icc(self.design, at, by_group),
            bootstrap=bootstrap,
            ci_prob=ci_prob,
            random_seed=random_seed,
            cores=cores,
            progressbar=progressbar,
        )

    def within_correlation(
        self, at: Mapping[str, Sequence[Any]] | str, *, group: str | None = None, wide: bool = False, **boot: Any
    ) -> pd.DataFrame:
        """Correlation of two observations of one level of a grouping factor, at two values of the predictors.

        Parameters
        ----------
        at : mapping or str
            As in :meth:`icc`; every pair of its rows is compared. A row with itself: two observations at equal values.
        group : str, optional
            The factor whose level they share (and so those that it is nested in); needed where there are several.
        wide : bool
            A symmetric matrix of estimates instead of one row a pair.
        **boot
            ``bootstrap``, ``ci_prob``, ... as in :meth:`icc`.

        Returns
        -------
        DataFrame
            The variables, the same with ``_other``, ``estimate``.
        """
        quantity, grid = quantities.within_correlation(self.design, at, group)
        boot = intervals.boot_options("within_correlation", boot)
        table = intervals.quantity_table(self, quantity, **boot)
        return square(table["estimate"], grid) if wide else table

    def r2(self, **boot: Any) -> pd.DataFrame:
        """R² marginal (fixed part) and conditional (fixed part and random effects); Nakagawa et al. (2017).

        ``bootstrap`` and what belongs to it as in :meth:`icc`.
        """
        return intervals.quantity_table(self, quantities.r2(self.design), **intervals.boot_options("r2", boot))

    @told_alike
    def pseudo_r2(self, baseline: PointFit) -> pd.DataFrame:
        """Proportional reduction of each variance against a baseline model: (base − this) / base.

        The residual variance is level 1, the variances of each grouping factor stand beside it (Raudenbush & Bryk 2002,
        eq. 4.20). It can be negative, which the column ``note`` says. For linear models fitted by ML it is R², by REML
        the adjusted R².

        Parameters
        ----------
        baseline : PointFit
            Of the same rows and response, such as the model without predictors.

        Returns
        -------
        DataFrame
            Columns baseline, model, pseudo_r2, note; rows ``Residual``, the intercept of each grouping factor under the
            factor's name, and slopes (``ses | school``) that both models have.

        Raises
        ------
        InputError
            The baseline is no point fit, or of other data.
        """
        return pseudo_r2.of_point(self, baseline)

    def heterogeneity(self, *, ci_prob: float = 0.95) -> pd.DataFrame:
        """How much true effects differ beyond their known standard errors: τ², τ, I², H², Cochran's Q.

        For models with ``se=``, as of a meta-analysis; metafor's numbers. τ² is the variance that a grouping factor
        adds to the true effect of a row, I² its share of the variance of a typical row's estimate (0 to 1), H² is
        1/(1 − I²) (Higgins & Thompson 2002). Where rows have one random intercept each, intervals are those of the
        Q-profile (Viechtbauer 2007); otherwise :meth:`confint` has those of the sds.

        Parameters
        ----------
        ci_prob : float
            Probability of the intervals.

        Returns
        -------
        DataFrame
            Columns group (empty: all together), quantity (``tau2``, ``tau``, ``I2``, ``H2``, ``Q``, ``QM``), estimate,
            conf_low, conf_high, df, p_value. ``Q`` tests whether the effects differ beyond the predictors; ``QM``
            whether the predictors tell anything (Wald's χ²).

        Raises
        ------
        NotAvailableError
            The standard errors are not known.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> fit = blm.Model("y ~ 1 + (1 | trial)", blm.load_dataset("bcg"), se="se").fit_reml()
        >>> fit.heterogeneity().set_index("quantity").estimate.round(3).to_dict()
        {'tau2': 0.313, 'tau': 0.56, 'I2': 0.922, 'H2': 12.856, 'Q': 152.233}
        """
        return heterogeneity.of_point(self, ci_prob)

    # -- rows ------------------------------------------------------------------------------------------------

    @streamed.of_rows
    def fitted(self) -> Array:
        """Expected responses (nobs,), groups at their conditional modes: of a normal response Xβ̂ + Zb̂ + offset.

        Of successes a probability; of an ordinal response those of its categories (nobs, K).
        """
        return fitted(self)

    @streamed.of_rows
    def residuals(self, kind: str = "raw") -> Array:
        """Residuals (nobs,) of the expected response, of successes over trials.

        Parameters
        ----------
        kind : {"raw", "pearson", "scaled", "deviance"}
            ``raw``: y − fitted. ``pearson``: over the square root of the variance function (of one unit of sigma²: for
            normal responses √weight times raw). ``scaled``: over the sd of y given the modes. ``deviance``: signed
            square roots of the unit deviances: of a row whose density is not largest at the mean, of twice the gain in
            log density by the best linear predictor it could have, other parameters as estimated. Where standard
            errors are known, ``pearson`` and ``scaled`` are over these.

        Raises
        ------
        NotAvailableError
            For ordinal responses but ``deviance``; for censored ones.
        """
        return residuals(self, kind)

    @streamed.of_new_rows
    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        *,
        groups: str | Mapping[str, str] = "observed",
        kind: str = "mean",
        interval: str | None = None,
        ci_prob: float = 0.95,
        ddf: str | None = wald.DDF,
        draws: int | None = None,
        shares: bool = False,
        random_seed: int | None = None,
        offset: Any = None,
        trials: Any = None,
        transform: Transform | None = None,
        parameter: str | None = None,
        cores: int | None = None,
        progressbar: bool = True,
        with_data: bool = False,
    ) -> Any:
        """Predictions for new rows, or for the rows of the fit.

        Parameters
        ----------
        newdata : DataFrame, optional
            Needs the predictors, and the columns of the grouping factors that are ``observed`` or, where they differ
            from the estimate of the mean, ``new``.
            Or what gives rows in chunks, as `Model` takes them: the answer is that kind of table.
        groups : str or dict by grouping factor
            ``observed``: groups of the fit, at their conditional modes. ``average``: the group with b = 0.
            ``new``: groups not seen before; every label is one. ``population``: averaged over groups. The last three
            have the same mean here, unless ``transform`` bends it; their intervals and draws differ.
            ``observed_or_new``, ``observed_or_average``, ``observed_or_population``: groups of the fit where a row has
            one, and otherwise as the second word says (lme4's ``allow.new.levels``); a column ``target_<factor>`` says
            which it was, row by row.
        kind : {"mean", "response", "link"}
            The expected response, or an observation, which adds residual noise (of new rows that of the weight in the
            model's column of weights, or of one), or the linear predictor.
        interval : {None, "plug-in", "simulated"}
            ``plug-in``: estimate ± t std_error, by the joint covariance of β̂ and b̂, variances taken as known.
            ``simulated``: quantiles of draws that carry the uncertainty of the variances as well, by a parametric
            bootstrap.
        ci_prob : float
            Probability of the interval.
        ddf : {"satterthwaite", "kenward-roger", None}
            Degrees of freedom of a plug-in interval, as in :meth:`fixef`: for what the estimation of β and the residual
            add to the variance; the variance of random effects counts as known, so that a row with much of it comes
            near z. Kenward–Roger is for rows without random effects. None for z.
        draws : int, optional
            Without ``interval``: parametric draws instead of estimates, which take the estimates as known. Data sets
            behind a simulated interval (1,000).
        shares : bool
            Whether to add what part of the variance behind the interval is due to fixed effects, each grouping factor
            and the residual: columns ``share_fixed``, ``share_<factor>``, ``share_residual``.
        random_seed : int, optional
            Of draws and of a simulated interval.
        offset : str or array-like, optional
            Replaces an offset that was given to the model as an array.
        trials : str, int or array-like, optional
            Of new binomial observations: a column of ``newdata``, or numbers.
        transform : callable, optional
            Predicts this function of the response: ``np.square`` for ``sqrt(weight)``. The mean is E f(y), over
            residual noise and, for ``population``, over groups; not f of the mean.
        parameter : str, optional
            A parameter of the family, such as ``"zi"``, instead of the response: estimates, or with
            ``interval="plug-in"`` their Wald intervals in its link. Only its own predictors are needed.
        cores, progressbar : int, bool, optional
            Of the refits behind a simulated interval.
        with_data : bool
            A table that also has the model's columns of the rows, whose response it is (``target``) and which interval.

        Returns
        -------
        Series, DataFrame or DataArray
            Estimates with the index of ``newdata`` (``attrs`` holds ``target_<factor>`` of a mixed target); with
            ``interval`` the columns estimate, std_error, df (plug-in), conf_low, conf_high and interval, which says its
            kind; with ``draws`` alone (draw, obs). Missing where a predictor is.

        Raises
        ------
        UnseenLevelError
            A group that the fit has not seen, with ``observed``; an unseen level of a fixed factor, always.

        Notes
        -----
        Plug-in variances: docs/theory.md, eq. 9.8. Simulated intervals: Laird & Louis (1987), type III.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
        >>> tomorrow = blm.grid(fit, Days=10, by={"Subject": ["308"]})
        >>> fit.predict(tomorrow, kind="response", interval="plug-in").round(0).iloc[0, :5].tolist()
        [450.0, 30.0, 276.0, 391.0, 510.0]
        """
        table = predict.predict(
            self,
            newdata,
            groups,
            kind=kind,
            interval=interval,
            ci_prob=ci_prob,
            ddf=ddf,
            draws=draws,
            shares=shares,
            random_seed=random_seed,
            offset=offset,
            trials=trials,
            transform=transform,
            parameter=parameter,
            cores=cores,
            progressbar=progressbar,
        )
        return beside_data(table, self.design, newdata, groups, ci_prob, None) if with_data else table

    def simulate(
        self, n: int = 1, *, random_seed: int | None = None, groups: str | Mapping[str, str] = "new"
    ) -> pd.DataFrame:
        """New responses for the rows of the fit, (nobs, n): columns ``sim_1``, ``sim_2``, ...

        Groups as in :meth:`predict`: drawn anew, as lme4's ``simulate``; kept at their conditional modes with
        ``"observed"``; without effects with ``"average"``; one drawn for every row with ``"population"``.
        """
        return predict.simulate(self, n, random_seed, groups)

    @told_alike
    def _effects(
        self,
        plan: effects.Plan,
        groups: str | Mapping[str, str],
        draws: bool,
        random_seed: int | None,
        offset: Any,
        ci_prob: float | None,
        ci_kind: str | None,
        ddf: str | None,
        adjust: str,
        parameter: str | None = None,
    ) -> pd.DataFrame:
        if draws or ci_kind is not None:
            raise InputError(
                f"{plan.verb}(draws=, ci_kind=): a point fit has no draws, and one kind of interval; a posterior has"
            )
        if parameter is not None:
            return parameter_rows.by_delta(self, plan, parameter, 0.95 if ci_prob is None else ci_prob, adjust)
        return effect_estimates.by_delta(
            self, plan, groups, offset=offset, ci_prob=0.95 if ci_prob is None else ci_prob, ddf=ddf, adjust=adjust
        )

    def test(self, hypotheses: str | Sequence[str], *, ddf: str | None = wald.DDF) -> pd.DataFrame:
        """One F test that all equations about the fixed effects hold.

        Parameters
        ----------
        hypotheses : str or sequence of str
            Equations between sums of coefficients times numbers, in the names of :meth:`fixef`: ``"Days = 10"``,
            ``"Diet[2] = Diet[3] = Diet[4] = 0"``, ``"a + b = 2*c, d = 0"``.
        ddf : {"satterthwaite", "kenward-roger", None}
            Degrees of freedom of the denominator, as in :meth:`fixef`; None for Wald's χ².

        Returns
        -------
        DataFrame
            One row: num_df, den_df, f, p_value; with ``ddf=None`` chisq, df, p_value. Equations that follow from others
            are not counted.

        Raises
        ------
        InputError
            A name that is no coefficient, an inequality, or what is not linear.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> fit = blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
        >>> fit.test("Intercept = 250, Days = 10").round(2).iloc[0].tolist()
        [2.0, 17.0, 0.08, 0.93]
        """
        return hypotheses_of.test(self, hypotheses, ddf)

    def _marginal(
        self, of: Any, ddf: str | None, ci_prob: float | None, ci_kind: str | None, **request: Any
    ) -> means.Means:
        if ci_kind is not None:
            raise InputError("means(ci_kind=): a point fit has one kind of interval; a posterior has two")
        return means.marginal_means(
            self.design, means.of_estimates(self, ddf), of, ci_prob=0.95 if ci_prob is None else ci_prob, **request
        )

    # -- other fits ------------------------------------------------------------------------------------------

    def refit(self, y: Any) -> PointFit:
        """The same model fitted to another response, such as a column of :meth:`simulate`.

        Parameters
        ----------
        y : array-like (nobs,), or Series with the index labels of the rows used
            Response on the scale of the formula's left side.
        """
        return refits.on_response(self, y)

    def update(self, formula: str, *, data: pd.DataFrame | None = None) -> PointFit:
        """A fit by the same criterion of a changed formula, in which ``.`` stands for what it was.

        Parameters
        ----------
        formula : str
            As R's ``update``: ``". ~ . + x"``, ``". ~ . - x"``, ``"log(y) ~ ."``, or a whole formula.
        data : DataFrame, optional
            Another table; by default the one the fit was made from.
        """
        return refits.updated(self, formula, data, names_of_caller())

    def tidy(
        self, effects: str | Sequence[str] = ("fixed", "ran_pars"), *, ddf: str | None = wald.DDF, ci_prob: float = 0.95
    ) -> pd.DataFrame:
        """One row a parameter, with broom.mixed's columns.

        Parameters
        ----------
        effects : str or sequence of {"fixed", "ran_pars", "ran_vals", "ran_coefs"}
            Fixed effects; sds (``sd__Days``), correlations (``cor__Intercept.Days``) and sigma (``sd__Observation``);
            conditional modes; coefficients of every level.
        ddf : {"satterthwaite", "kenward-roger", None}
            Degrees of freedom of the fixed effects, as in :meth:`fixef`.
        ci_prob : float
            Probability of the intervals.

        Returns
        -------
        DataFrame
            Columns effect, group, level, term, estimate, std_error, df, statistic, p_value, conf_low, conf_high, those
            that apply.
        """
        return tidy.tidy(self, effects, ddf=ddf, ci_prob=ci_prob)

    def glance(self) -> pd.DataFrame:
        """One row: nobs, sigma, loglik, deviance, aic, bic, df_resid, reml_criterion, icc and R² (both kinds)."""
        return tidy.glance(self)

    @streamed.of_rows
    def augment(self) -> pd.DataFrame:
        """The used rows with ``_fitted``, ``_fixed`` (without groups), ``_resid`` and ``_scaled_resid``."""
        return tidy.augment(self)

    # -- print -----------------------------------------------------------------------------------------------

    def summary(self, *, ddf: str | None = wald.DDF) -> Text:
        """What lme4 and lmerTest print: criterion, scaled residuals, random effects, fixed effects, verdict.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger", None}
            Degrees of freedom of the t tests (``"kr"`` for short); None or ``"z"`` leaves them out.
        """
        return summary.point_summary(self, ddf)
