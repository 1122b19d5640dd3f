"""The posterior fit: the same verbs as the point fit, answered with distributions. Each is a function of `Draws`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import pandas as pd

from ..errors import InputError
from . import (
    curves,
    effect_estimates,
    effects,
    expected,
    heterogeneity,
    loo,
    means,
    posterior_tables,
    posterior_tidy,
    pseudo_r2,
    quantities,
    refits,
    sensitivity,
    streamed,
    summary,
    wald,
)
from . import hypotheses as hypotheses_of
from .beside import beside_data
from .draws import Draws, add_group, of_all_groups
from .fit import Fit
from .parameter_draws import parameter_table
from .ranks import rank_groups
from .reading import tables_for_reading
from .summaries import check_interval
from .tables import square
from .targets import Transform
from .text import Text
from .variance import Values


@tables_for_reading
@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class PosteriorFit(Fit, Draws):
    """Posterior of a mixed model.

    Attributes
    ----------
    design : Design
        What was fitted.
    priors : Priors
        Every prior with its scale and reason.
    idata : xarray.DataTree
        Draws; any ArviZ function takes it.
    diagnosis : Diagnosis
        R-hat, effective sample sizes, divergences, E-BFMI and what follows from them.
    settings : Settings
        How it was sampled.
    ci_prob : float
        Probability of the intervals in tables (0.95); verbs take others.
    ci_kind : {"eti", "hdi"}
        Whether these are equal-tailed or of highest density.
    """

    _refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("loglik", "deviance", "aic", "bic", "df_resid", "criterion", "is_singular"),
            "a posterior has no maximum to report; model.fit_reml() or fit_ml() has",
        ),
        "sigma": "a posterior has draws of it: post.draws('sigma'), post.parameters('family')",
        "test": "a posterior has probabilities: post.hypothesis('x > 0'); a point fit tests equations",
        "profile": "profiles are of a likelihood, model.fit_ml().profile(); a posterior has its draws",
        "bootstrap": "a posterior has its draws instead of replicates",
        "update": "a posterior keeps the used rows only; model.update(formula).fit() is of the changed formula",
    }

    def with_priors(self, priors: Mapping[Any, Any], **settings: Any) -> PosteriorFit:
        """The posterior under other priors, sampled in the same way.

        Parameters
        ----------
        priors : mapping
            Priors that replace or join those given before, under the keys that `bayeslmm.Model` takes.
        **settings
            What to change in the sampling: ``random_seed``, ``draws``, ...

        Examples
        --------
        >>> import bayeslmm as blm
        >>> model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
        >>> post = model.fit(random_seed=1)
        >>> other = post.with_priors({"sd": blm.Prior("HalfNormal", sigma=20)})
        >>> bool(other.draws("sd_Batch").mean() < post.draws("sd_Batch").mean())
        True
        """
        return with_verbs(refits.under_priors(self, priors, settings))

    def refit(self, y: Any, **settings: Any) -> PosteriorFit:
        """The same model and priors with another response, such as a simulated one; nothing is compiled anew.

        Parameters
        ----------
        y : array-like (nobs,), or Series with the index labels of the rows used
            Successes for binomial; 0 and 1, or the two categories, for bernoulli; the categories of an ordinal
            response, or the numbers that :meth:`predict` gives.
        **settings
            What to change in the sampling: ``random_seed``, ``draws``, ...

        Raises
        ------
        DataError
            Another number of values, or values that the family cannot have.
        """
        return with_verbs(refits.draws_on_response(self, y, settings))

    def compute_log_likelihood(self) -> None:
        """Add the group ``log_likelihood`` to ``idata``: log p(y_i | β, b, σ), (chain, draw, obs)."""
        sensitivity.add_log_likelihood(self)

    def compute_log_prior(self) -> None:
        """Add the group ``log_prior`` to ``idata``: the log prior density of every fixed effect, sd, correlation, σ."""
        sensitivity.add_log_prior(self)

    def compute_posterior_predictive(self, *, random_seed: int | None = None) -> None:
        """Add the group ``posterior_predictive`` to ``idata``: a new response of every row for every draw.

        In the same groups, y (chain, draw, obs), on the scale of ``observed_data``: successes of a binomial response,
        the numbers of the categories of an ordinal one. For ``plot_ppc_dist``, ``loo_pit`` and others of ArviZ.

        Parameters
        ----------
        random_seed : int, optional
            Same seed, same numbers.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> post = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit(random_seed=1)
        >>> post.compute_posterior_predictive(random_seed=1)
        >>> dict(post.idata.posterior_predictive.sizes)
        {'chain': 4, 'draw': 1000, 'obs': 30}
        """
        add_group(self, "posterior_predictive", expected.posterior_predictive(self, random_seed))

    def prior_sensitivity(self) -> pd.DataFrame:
        """Sensitivity of every parameter to power scaling of the priors and of the likelihood, by ArviZ.

        Above 0.05 a posterior moves noticeably with the prior; with a sensitivity to the likelihood as well, prior and
        data pull it in different directions (Kallioinen, Paananen, Bürkner & Vehtari 2024). Adds the groups
        ``log_prior`` and ``log_likelihood`` to ``idata``.

        Returns
        -------
        DataFrame
            ``prior``, ``likelihood`` and ``diagnosis`` by parameter.
        """
        return sensitivity.summary(self)

    def prior_influence(self) -> pd.DataFrame:
        """Sensitivity of every parameter to power scaling of all priors together, by ArviZ.

        As the column ``prior`` of :meth:`prior_sensitivity`, without looking at the rows.

        Returns
        -------
        DataFrame
            effect, group, term as in :meth:`tidy`; prior_sensitivity, above 0.05 where the posterior moves noticeably.
        """
        return sensitivity.of_priors(self)

    # -- tables ----------------------------------------------------------------------------------------------

    def fixef(self, *, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """Fixed effects: mean, sd, median, interval and P(> 0), one row a coefficient.

        Parameters
        ----------
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability of the interval, and whether it is equal-tailed or of highest density.
        """
        return posterior_tables.fixef(self, ci_prob, ci_kind)

    def vcov(self) -> pd.DataFrame:
        """Posterior covariance matrix of the fixed effects."""
        return posterior_tables.vcov(self)

    def confint(self, *, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """Intervals of the fixed effects, sds, correlations and parameters of the family.

        Returns
        -------
        DataFrame
            Columns effect, group, term, estimate (mean), conf_low, conf_high, as of the point fit.
        """
        columns = ["effect", "group", "term", "estimate", "conf_low", "conf_high"]
        return parameter_table(self, ("fixed", "ran_pars", "family"), ci_prob, ci_kind)[columns]

    def ranef(
        self, *, wide: bool = False, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None
    ) -> Any:
        """Posterior of the random effects b.

        Parameters
        ----------
        wide : bool
            One row a level, one column a term (posterior means).
        draws : bool
            An ``xarray.Dataset`` of draws ``b_<group>`` (chain, draw, level, term) instead of a table.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval.
        """
        return posterior_tables.ranef(self, wide, draws, ci_prob, ci_kind)

    def coef(
        self, *, wide: bool = False, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None
    ) -> Any:
        """Posterior of β + b for every level of every grouping factor, over the union of fixed and random terms.

        A fixed term that a bar codes differently is told in the bar's columns, as by the point fit.

        Parameters
        ----------
        wide, ci_prob, ci_kind
            As in :meth:`ranef`.
        draws : bool
            An ``xarray.Dataset`` of draws ``coef_<group>`` (chain, draw, level, ``<group>_coef``).
        """
        return posterior_tables.coef(self, wide, draws, ci_prob, ci_kind)

    def rank_groups(
        self,
        group: str | None = None,
        *,
        term: str = "Intercept",
        top: int = 10,
        highest: bool = True,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> pd.DataFrame:
        """How sure the order of the levels of a grouping factor is.

        Parameters
        ----------
        group : str, optional
            The factor; needed where there are several.
        term : str
            The random effect that ranks the levels.
        top : int
            How many places count as the top; with fewer levels, all but one.
        highest : bool
            Whether rank 1 is the highest effect, or the lowest.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval of the rank.

        Returns
        -------
        DataFrame
            Index level; columns mean (of the effect), p_top (probability of a rank of ``top`` or better),
            expected_rank, rank_low, rank_high (whole places); best expected rank first.

        Raises
        ------
        InputError
            No such factor or term, or ``top`` is no number of places.

        References
        ----------
        Laird & Louis (1989), Empirical Bayes ranking methods, J. Educ. Stat. 14.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> post = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit(random_seed=1)
        >>> ranks = post.rank_groups(top=1)
        >>> ranks.index[0], bool(ranks["p_top"].iloc[0] > 0.5)
        ('E', True)
        """
        prob, kind = (self.ci_prob if ci_prob is None else ci_prob, self.ci_kind if ci_kind is None else ci_kind)
        return rank_groups(self, group, term=term, top=top, highest=highest, ci_prob=prob, ci_kind=kind)

    # -- variances -------------------------------------------------------------------------------------------

    def var_corr(self, *, draws: bool = False) -> dict[str, Any]:
        """Covariance matrix of the random effects of each grouping factor.

        Parameters
        ----------
        draws : bool
            ``xarray.DataArray`` s (chain, draw, term, term) instead of the posterior means as DataFrames.
        """
        return posterior_tables.var_corr(self, draws)

    def variance_components(
        self, *, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None
    ) -> Any:
        """Posterior of variance, sd, share of the total and correlations; rows as in the point fit's table.

        ``p_positive``, the probability of a number above zero, is told of correlations: the others cannot be negative,
        and ``hypothesis("sd(x | g) > 1")`` tells the probability that they are large enough to matter.

        The residual is that of the scale of the linear predictor, where the family has one
        (:func:`bayeslmm.results.variance.residual_variance`).
        """
        design, values = of_all_groups(self)
        quantity = quantities.components(design, values)
        return self._tell(quantity, draws, ci_prob, ci_kind, signs=True, values=values)

    def icc(
        self,
        *,
        at: Mapping[str, Sequence[Any]] | str | None = None,
        by_group: bool = True,
        draws: bool = False,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> Any:
        """Posterior of the intraclass correlations: adjusted, unadjusted, by grouping factor; or at given values.

        Parameters
        ----------
        at : mapping or str, optional
            Values by variable, ``{"Days": [0, 5, 9]}``, or the name of one for a curve over its range. The other
            variables are held at the observed value nearest to their mean.
        by_group : bool
            Whether to add a row for each grouping factor, and for a factor nested in others the cumulative one. With
            ``at`` there are ``adjusted`` and, of several factors, each one's.
        draws : bool
            An ``xarray.DataArray`` (chain, draw, icc), with ``at`` (chain, draw, row), instead of a table.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval.

        Raises
        ------
        NotAvailableError
            The model has no random effects, or its family no residual variance.
        InputError
            ``at`` names no variable of the model.

        Notes
        -----
        The definitions of the point fit (:func:`bayeslmm.results.variance.icc`), put to every draw. An ICC cannot be
        negative; ``hypothesis("icc > 0.1")`` tells the probability of one that matters. Other families are
        compared on the scale of the linear predictor (Nakagawa, Johnson & Schielzeth 2017).
        """
        return self._tell(quantities.icc(self.design, at, by_group), draws, ci_prob, ci_kind)

    def within_correlation(
        self,
        at: Mapping[str, Sequence[Any]] | str,
        *,
        group: str | None = None,
        wide: bool = False,
        draws: bool = False,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> Any:
        """Correlation of two observations of one level of a grouping factor, at two values of the predictors.

        Parameters
        ----------
        at, draws, ci_prob, ci_kind
            As in :meth:`icc`; every pair of the rows of ``at`` is compared.
        group : str, optional
            The factor whose level they share (and so those that it is nested in); needed where there are several.
        wide : bool
            A symmetric matrix of posterior means instead of one row a pair.

        Returns
        -------
        DataFrame or DataArray
            The two rows with mean, sd, median, conf_low, conf_high and p_positive of the correlation.
        """
        quantity, grid = quantities.within_correlation(self.design, at, group)
        table = self._tell(quantity, draws, ci_prob, ci_kind, signs=True)
        return square(table["mean"], grid) if wide and not draws else table

    def r2(self, *, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None) -> Any:
        """R² marginal and conditional of every draw (Nakagawa et al. 2017), summarised or as a DataArray."""
        return self._tell(quantities.r2(self.design), draws, ci_prob, ci_kind)

    def bayes_r2(self, *, draws: bool = False, ci_prob: float | None = None, ci_kind: str | None = None) -> Any:
        """Bayesian R² of Gelman, Goodrich, Gabry & Vehtari (2019): Var(fitted) / (Var(fitted) + residual variance).

        Of the observed groups and on the scale of the response; :meth:`r2` is of any group, on that of the linear
        predictor. The residual variance is that of the model, averaged over the rows.

        Raises
        ------
        NotAvailableError
            For ordinal responses, which have no variance.
        """
        quantity = quantities.Quantity(
            verb="bayes_r2",
            name="r2",
            labels=pd.DataFrame({"r2": ["bayes"]}),
            of=lambda _: expected.bayes_r2(self)[..., None],
        )
        return self._tell(quantity, draws, ci_prob, ci_kind)

    def pseudo_r2(
        self, baseline: PosteriorFit, *, ci_prob: float | None = None, ci_kind: str | None = None
    ) -> pd.DataFrame:
        """Proportional reduction of each variance against a baseline model, (base − this) / base, with its interval.

        The draws of the two posteriors are paired at random: two fits know nothing of each other, so the interval is
        that of independent variances, whatever their seeds.

        Parameters
        ----------
        baseline : PosteriorFit
            Of the same rows and response, such as the model without predictors.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval.

        Returns
        -------
        DataFrame
            Rows as of the point fit. Columns baseline, model, pseudo_r2 (medians), sd, conf_low, conf_high, p_positive,
            note.

        Raises
        ------
        InputError
            The baseline is no posterior, or of other data.
        """
        return pseudo_r2.of_posterior(self, baseline, ci_prob, ci_kind)

    def _tell(
        self,
        quantity: quantities.Quantity,
        draws: bool,
        ci_prob: float | None,
        ci_kind: str | None,
        *,
        signs: bool = False,
        values: Values | None = None,
    ) -> Any:
        """A quantity of every draw, summarised or as it is."""
        numbers = quantity.of(self.values if values is None else values)
        if draws:
            return quantity.draws(numbers)
        return quantity.table(self.summarise(numbers, ci_prob, ci_kind, signs=signs))

    def heterogeneity(self, *, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """How much true effects differ beyond their known standard errors: posterior of τ², τ, I², H²; Cochran's Q.

        Parameters
        ----------
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval.

        Returns
        -------
        DataFrame
            Rows as of the point fit, without ``QM``; columns group, quantity, mean, sd, median, conf_low, conf_high; df
            and p_value of ``Q``, which is a statistic of the data.

        Raises
        ------
        NotAvailableError
            The standard errors are not known.
        """
        return heterogeneity.of_posterior(self, ci_prob, ci_kind)

    # -- prediction of left-out rows -------------------------------------------------------------------------

    def loo(
        self,
        unit: str = "observation",
        *,
        conditional: bool = False,
        draws: int | None = None,
        refit: bool | None = None,
    ) -> Any:
        """Expected log predictive density of a row, or of a whole group, that was left out.

        The two answer different questions: a new pupil of a known school, or a new school. Random effects are
        integrated out again without the row or group, so that only few parameters are reweighted, by Pareto-smoothed
        importance sampling (Vehtari et al. 2024). That is reliable where the usual, conditional LOO of a multilevel
        model fails, for rows of small groups. For normal models p(y_i | the others, hyperparameters) is exact and the
        fixed effects are integrated out as well; for other families the effects of one factor (of rows that with the
        most levels) are, by adaptive quadrature; smooths, related levels and memberships keep
        their draws. The results are kept in ``idata`` (``loo``, ``loo_<factor>``, ``conditional_loo``) for the next
        call.

        Parameters
        ----------
        unit : str
            ``"observation"``, or a grouping factor in which all others are nested.
        conditional : bool
            The usual LOO of rows by ArviZ, which reweights draws of the random effects themselves. It estimates the
            same quantity as ``unit="observation"``, with larger Pareto k.
        draws : int, optional
            How many draws of the posterior are used, evenly chosen; by default all, of many rows fewer.
        refit : bool, optional
            Whether units with a Pareto k above ``good_k`` are left out in earnest, and the posterior of the others
            sampled (their k is 0 then). It is min(0.7, 1 − 1/log10 draws) for rows, and 0.5 at most for groups. By
            default they are, but for the conditional LOO.

        Returns
        -------
        arviz_stats.ELPDDataLOO
            ``elpd``, ``se``, ``p`` (effective number of parameters), ``elpd_i`` and ``pareto_k`` by unit; ``unit`` and
            ``conditional`` say what it is.

        Raises
        ------
        InputError
            No such unit; groups with ``conditional``.
        NotAvailableError
            Groups that are not independent of each other (crossed factors), or with more effects than quadrature can
            integrate out; `bayeslmm.kfold` refits without them.

        Warns
        -----
        SamplingWarning
            A Pareto k above ``good_k`` that was not refitted.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> post = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy")).fit(random_seed=1)
        >>> bool(post.loo().elpd > post.loo("Subject").elpd)
        True
        """
        return loo.loo(self, unit, conditional=conditional, draws=draws, refit=refit)

    # -- rows ------------------------------------------------------------------------------------------------

    @streamed.of_rows
    def fitted(self, *, draws: bool = False) -> Any:
        """Expected responses of the rows of the fit, in their groups: posterior means (nobs,).

        Probabilities for bernoulli and binomial responses, (nobs, categories) for ordinal ones, E(y) of a lognormal
        response. ``draws=True`` gives a DataArray (chain, draw, obs).
        """
        return expected.fitted_draws(self) if draws else expected.fitted(self)

    @streamed.of_rows
    def residuals(self, kind: str = "raw", *, draws: bool = False) -> Any:
        """Residuals (nobs,), averaged over the draws; ``draws=True`` gives a DataArray (chain, draw, obs).

        Parameters
        ----------
        kind : {"raw", "pearson", "scaled"}
            ``raw``: y − E(y), of successes over trials for binomial. ``pearson``: over the square root of the variance
            function (of one unit of sigma²: for normal responses √weight times raw). ``scaled``: over the sd of y.
        draws : bool
            Whether to give the residuals of every draw.

        Raises
        ------
        NotAvailableError
            For ordinal responses.
        """
        return expected.residuals(self, kind, draws=draws)

    @streamed.of_new_rows
    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        *,
        groups: str | Mapping[str, str] = "observed",
        kind: str = "mean",
        draws: bool | int = False,
        shares: bool = False,
        random_seed: int | None = None,
        offset: Any = None,
        trials: Any = None,
        transform: Transform | None = None,
        parameter: str | None = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
        with_data: bool = False,
    ) -> Any:
        """Predictions for new rows, or for the rows of the fit, with all uncertainty of the posterior.

        Parameters
        ----------
        newdata : DataFrame, optional
            Needs the predictors, and the columns of the grouping factors that are ``observed``. Of ``new`` ones rows
            without labels are all of one group.
            Or what gives rows in chunks, as `Model` takes them: the answer is that kind of table.
        groups : str or dict by grouping factor
            ``observed``: groups of the fit. ``new``: groups not seen before; every label gets its own draw of the
            effects. ``average``: the group with b = 0. ``population``: the expected response averaged over groups,
            which for links other than the identity is not that of the average group.
            ``observed_or_new``, ``observed_or_average``, ``observed_or_population``: groups of the fit where a row has
            one, and otherwise as the second word says (lme4's ``allow.new.levels``); a column ``target_<factor>`` says
            which it was, row by row.
        kind : {"mean", "response"}
            The expected response, or an observation, which adds the family's noise (of new rows that of the weight in
            the model's column of weights, or of one).
            Observations of categories are the numbers that the categories are, or their places 1, 2, ... if they have
            labels (of a bernoulli response 0 and 1); :meth:`simulate` gives labels.
        draws : bool or int
            A DataArray (chain, draw, obs) instead of a table; a number: about that many draws, evenly spaced.
        shares : bool
            Whether to add what part of the variance is due to fixed effects, each grouping factor and the residual:
            columns ``share_fixed``, ``share_<factor>``, ``share_residual``.
        random_seed : int, optional
            For new groups and observations.
        offset : str or array-like, optional
            Replaces an offset that was given to the model as an array.
        trials : str or array-like, optional
            Of binomial observations in ``newdata``: a column of it, values, or a number. ``kind="response"`` needs
            them.
        transform : callable, optional
            Predicts this function of a normal response: ``np.square`` for ``sqrt(weight)``. The mean is E f(y), over
            residual noise and, for ``population``, over groups; not f of the mean.
        parameter : str, optional
            A parameter of the family, such as ``"zi"``, instead of the response; only its own predictors, and columns
            of the groups that it has effects of, are needed.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval.
        with_data : bool
            A table that also has the model's columns of the rows, whose response it is (``target``) and which interval.

        Returns
        -------
        DataFrame or DataArray
            mean, sd, median, conf_low, conf_high with the index of ``newdata``, missing where a predictor is missing.
            Of ordinal means one row an observation and ``category``.

        Raises
        ------
        UnseenLevelError
            A group that the fit has not seen, with ``observed``; an unseen level of a fixed factor, always.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
        >>> post = model.fit(random_seed=1)
        >>> tomorrow = blm.grid(post, Days=10, by={"Subject": ["308"]})
        >>> known = post.predict(tomorrow, random_seed=1)
        >>> bool((known["sd"] < post.predict(tomorrow, groups="new", random_seed=1)["sd"]).all())
        True
        """
        table = expected.predict(
            self,
            newdata,
            groups,
            kind=kind,
            draws=draws,
            shares=shares,
            random_seed=random_seed,
            offset=offset,
            trials=trials,
            transform=transform,
            parameter=parameter,
            summarise=lambda values: self.summarise(values, ci_prob, ci_kind),
        )
        return beside_data(table, self.design, newdata, groups, ci_prob, ci_kind) if with_data else table

    def simulate(
        self, n: int = 1, *, random_seed: int | None = None, groups: str | Mapping[str, str] = "new"
    ) -> pd.DataFrame:
        """New responses for the rows of the fit from ``n`` draws of the posterior, (nobs, n): ``sim_1``, ``sim_2``, ...

        In the categories of the data where these have labels: a column can be the response of another model.
        Groups as in :meth:`predict`: drawn anew; kept with ``"observed"``; without effects with ``"average"``; one for
        every row with ``"population"``.
        """
        return expected.simulate(self, n, random_seed, groups)

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
    ) -> Any:
        wald.refuse_ddf(plan.verb, ddf)
        if adjust != "none":
            raise InputError(f"{plan.verb}(adjust={adjust!r}): a posterior has no p-values to adjust")
        asked: dict[str, Any] = {"draws": draws, "random_seed": random_seed, "ci_prob": ci_prob, "ci_kind": ci_kind}
        if parameter is not None:
            return effect_estimates.on_parameter(self, plan, parameter, groups, **asked)
        return effect_estimates.by_draws(self, plan, groups, offset=offset, **asked)

    def hypothesis(
        self,
        hypotheses: str | Sequence[str],
        *,
        rope: float | tuple[float, float] | None = None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> pd.DataFrame:
        """Probabilities of statements about parameters, and what the data say for them.

        Parameters
        ----------
        hypotheses : str or sequence of str
            Inequalities and equations, separated by commas, in the names of the tables: ``"Days > 10"``,
            ``"sd(Days | Subject) > 5"``, ``"cor(Intercept, Days | Subject) < 0"``, ``"sigma < 30"``, ``"icc > 0.1"``,
            ``"Diet[2] = Diet[3]"``, with + - * / ** and exp, log, sqrt, abs. Of single levels
            ``"ranef(Days | Subject[308]) > 0"``, and ``coef(...)`` with the fixed effect.
        rope : float or (low, high), optional
            A region around equality that is as good as none, of left − right: its half-width or its ends.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval of left − right.

        Returns
        -------
        DataFrame
            One row a statement: mean, sd, median, conf_low, conf_high, p_positive of left − right; ``probability`` of
            an inequality; ``bayes_factor`` for the statement, by 20,000 draws of the priors (missing where one is
            flat): of an inequality against its opposite, zero or infinite where no draw or every draw fulfils it, of an
            equation the Savage–Dickey ratio of densities (missing where fewer than ten draws come close to equality).
            Those of a sum of fixed effects of a normal model with normal priors are averages over draws of the
            hyperparameters, given which it is normal, and the prior's is exact; others are by a normal kernel.
            ``p_mcse`` and ``bf_mcse``, the Monte Carlo errors of both, by the effective number of draws; ``in_rope``,
            the probability of the region.

        Raises
        ------
        InputError
            A name that is no parameter, no relation, or arithmetic that has no finite value in some draw.

        References
        ----------
        Dickey (1971), The weighted likelihood ratio, Ann. Math. Stat. 42; Gelfand & Smith (1990), Sampling-based
        approaches to calculating marginal densities, JASA 85; Kruschke (2018), Rejecting or accepting
        parameter values in Bayesian estimation, AMPPS 1.

        Examples
        --------
        >>> import bayeslmm as blm
        >>> model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
        >>> found = model.fit(random_seed=1).hypothesis("Days > 5, sd(Days | Subject) > 1")
        >>> bool((found["probability"] > 0.99).all())
        True
        """
        return hypotheses_of.hypothesis(self, hypotheses, rope=rope, ci_prob=ci_prob, ci_kind=ci_kind)

    def _marginal(
        self, of: Any, ddf: str | None, ci_prob: float | None, ci_kind: str | None, **request: Any
    ) -> means.Means:
        wald.refuse_ddf("trends" if request.get("trend") else "means", ddf)
        return means.marginal_means(
            self.design,
            means.of_draws(self, ci_kind),
            of,
            ci_prob=self.ci_prob if ci_prob is None else ci_prob,
            **request,
        )

    # -- tables ----------------------------------------------------------------------------------------------

    def tidy(
        self,
        effects: str | Sequence[str] = ("fixed", "ran_pars", "family"),
        *,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> pd.DataFrame:
        """One row a parameter, with broom.mixed's columns and the diagnostics of the draws.

        Parameters
        ----------
        effects : str or sequence of {"fixed", "ran_pars", "ran_vals", "ran_coefs", "family"}
            As of the point fit; ``family`` are parameters such as ``nu`` and ``cutpoint``.
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the interval.

        Returns
        -------
        DataFrame
            Columns effect, group, level, term, estimate (mean), std_error (sd), conf_low, conf_high, p_positive, rhat,
            ess_bulk, ess_tail, those that apply. ``p_positive``, the probability of a number above zero, is missing of
            sds and other parameters that cannot be negative: ask ``hypothesis("sd(x | g) > 1")``.
        """
        return posterior_tidy.tidy(self, effects, ci_prob, ci_kind)

    def glance(self, *, loo: bool | None = None) -> pd.DataFrame:
        """One row: nobs, posterior means of sigma, icc and R² (both kinds), :meth:`loo`, diagnostics of the draws.

        Parameters
        ----------
        loo : bool, optional
            Whether to leave rows out, which of many thousand takes seconds; by default if :meth:`loo` did so before.
        """
        return posterior_tidy.glance(self, loo=loo)

    @streamed.of_rows
    def augment(self) -> pd.DataFrame:
        """The used rows with ``_fitted``, ``_fixed`` (b = 0), ``_fitted_sd``, ``_resid`` and ``_scaled_resid``.

        Means over the draws; of an ordinal response the probabilities ``_p[...]`` of its categories instead.
        """
        return posterior_tidy.augment(self)

    def smooth(
        self,
        name: str | None = None,
        *,
        at: Sequence[float] | None = None,
        derivative: bool = False,
        draws: bool = False,
        ci_prob: float | None = None,
    ) -> Any:
        """The course of a smooth with pointwise and simultaneous bands, centred over the rows of the fit.

        Parameters
        ----------
        name, at, derivative
            As of a point fit.
        draws : bool
            A DataArray (chain, draw, point) instead of a table.
        ci_prob : float, optional
            Probability of the bands; that of the fit by default.

        Returns
        -------
        DataFrame
            smooth, the factor of ``by``, the variable, mean, sd, conf_low, conf_high (quantiles),
            simultaneous_low and simultaneous_high, which hold the whole curve, and p_positive, of each point.
        """
        return curves.of_posterior(self, name, at, derivative, ci_prob, draws)

    def smooths(self, *, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """Every smooth: draws of its sd (σ/√λ) and of its effective degrees of freedom, straight line included.

        The degrees of freedom are those of a point fit at the sds of each of up to 500 draws, for other than normal
        responses with the working weights of rough estimates.

        Returns
        -------
        DataFrame
            smooth, quantity (``sd``, ``edf``), mean, sd, median, conf_low, conf_high.
        """
        return curves.draws_of_degrees_of_freedom(self, ci_prob, ci_kind)

    def parameters(self, part: str) -> pd.DataFrame:
        """Summary with P(> 0), R-hat and ESS of ``"fixed"``, ``"family"`` or what varies between levels of a factor.

        A factor that is itself called so is ``"fixed (factor)"`` here.
        """
        return posterior_tables.parameters(self, part)

    # -- print -----------------------------------------------------------------------------------------------

    def summary(self, *, ci_prob: float | None = None, ci_kind: str | None = None) -> Text:
        """brms-style tables: group-level, population-level and family parameters, and the verdict.

        Parameters
        ----------
        ci_prob, ci_kind : float, {"eti", "hdi"}, optional
            Probability and kind of the intervals.
        """
        shown = replace(
            self,
            ci_prob=self.ci_prob if ci_prob is None else ci_prob,
            ci_kind=self.ci_kind if ci_kind is None else ci_kind,
        )
        check_interval(shown.ci_prob, shown.ci_kind)
        return summary.posterior_summary(shown)


def with_verbs(record: Draws) -> PosteriorFit:
    """A posterior's draws under the verbs of a fit."""
    return PosteriorFit(**{entry.name: getattr(record, entry.name) for entry in fields(record)})
