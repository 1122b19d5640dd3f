"""Verdicts on the fit as a whole: optimiser, sampler, priors, prediction, collinearity."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..engine import agq, laplace_error
from ..predictive.ppc import ppc
from ..predictive.record import label_of
from ..results.diagnosis import K_HAT_LIMIT, Diagnosis
from ..results.point import PointFit
from ..results.posterior import PosteriorFit
from ..results.text import number
from ..results.variance import RESIDUAL
from .verdict import FEWEST_DRAWS, LEVELS, LIMITS, Verdict, no_answer, worst

DATA_SETS = 400
# statistics of averages and of spread; extremes and shapes may fail without harm to them
CENTRAL = ("mean", "sd", "median", "between_group_sd", "icc", "share_of_zeros")


def optimiser(fit: PointFit | PosteriorFit) -> Verdict:
    """Whether the search for the estimates ended at a stationary point."""
    if isinstance(fit, PosteriorFit):
        return no_answer("optimiser", "a posterior is not optimised")
    solution = fit.solution
    numbers = pd.DataFrame({"gradient": [solution.gradient_norm], "evaluations": [solution.evaluations]})
    if solution.status == "separated":
        return Verdict(
            name="optimiser",
            level="no",
            numbers=numbers,
            words=f"{fit.verdict}.",
            remedy="Join categories, leave the predictor or the term out, or take priors: fit().",
        )
    if solution.status != "failed":
        words = f"at a stationary point (gradient {solution.gradient_norm:.1g}), {solution.evaluations} evaluations."
        return Verdict(name="optimiser", level="ok", words=words, numbers=numbers)
    return Verdict(
        name="optimiser",
        level="no",
        numbers=numbers,
        words=f"stopped away from a stationary point, gradient {solution.gradient_norm:.2g}.",
        remedy="Do not use these numbers. Scale the predictors, simplify the bars, or take the posterior.",
    )


def integration(fit: PointFit | PosteriorFit, random_seed: int) -> Verdict:
    """How far the rule by which the effects were integrated out is from the likelihood, at the estimates."""
    name = "integration"
    if isinstance(fit, PosteriorFit):
        return no_answer(name, "a posterior needs no integral")
    if not fit.solution.nodes or not fit.design.every_group:
        return no_answer(name, "the likelihood is exact")
    if fit.design.of_categories:
        return no_answer(name, "how far Laplace's approximation is off is measured with one linear predictor alone")
    if fit.solution.status in ("separated", "failed"):
        return no_answer(name, f"the fit has {fit.solution.status}")
    by_rule = None if fit.solution.reml else agq.error(fit.design, fit.solution)
    sampled = laplace_error.error(fit.design, fit.solution, random_seed=random_seed) if by_rule is None else None
    if by_rule is None and sampled is None:
        return no_answer(name, "effects that hang together are too many to be drawn")
    off, chance = (sampled.value, sampled.monte_carlo) if sampled is not None else (float(by_rule or 0.0), 0.0)
    rule = "Laplace's approximation" if fit.solution.nodes == 1 else f"quadrature with {fit.solution.nodes} nodes"
    limit = LIMITS["integration"]
    level = limit.level(max(abs(off) - 2.0 * chance, 0.0))
    doubt = f" (Monte Carlo error {chance:.2f})" if sampled is not None else ""
    is_off = "is off" if level != "ok" else "may be off"
    return Verdict(
        name=name,
        level=level,
        numbers=pd.DataFrame({"off": [off], "monte_carlo_error": [chance]}),
        words=f"{rule} {is_off} by about {off:.2f} units of log likelihood at the estimates{doubt}.",
        remedy="" if level == "ok" else _finer(fit),
    )


def _finer(fit: PointFit) -> str:
    if agq.has_rule(fit.design, 9) and not fit.solution.reml:
        return "Leave nAGQ out: fit_ml() takes the nodes that it needs."
    return "Hold the sds against the posterior, model.fit(): compare_estimates shows both."


def sampler(fit: PointFit | PosteriorFit) -> Verdict:
    """What the draws say of themselves: R-hat, effective sample sizes, divergences, E-BFMI, k-hat."""
    if isinstance(fit, PointFit):
        return no_answer("sampler", "a point fit has no draws")
    d = fit.diagnosis
    figures = {
        "max_rhat": d.max_rhat,
        "min_ess_bulk": d.min_ess_bulk,
        "min_ess_tail": d.min_ess_tail,
        "divergences": d.divergences,
        "min_ebfmi": d.min_ebfmi,
        "k_hat": d.k_hat,
    }
    finite_figures = {name: value for name, value in figures.items() if value is not None}
    numbers = pd.DataFrame([finite_figures])
    if not d.reasons:
        return Verdict(name="sampler", level="ok", words=f"{fit.verdict}.", numbers=numbers)
    level = _of_draws(d, fit.n_chains)
    return Verdict(
        name="sampler",
        level=level,
        words="; ".join(d.reasons) + ".",
        numbers=numbers,
        remedy="Do not use these draws." if level == "no" else "Means can be read off; for tails draw more.",
    )


def _of_draws(d: Diagnosis, chains: int) -> str:
    """No for whatever may hide a part of the posterior; a look for draws that are few."""
    worse = [d.divergences or 0, (d.min_ebfmi or 1.0) < 0.3, (d.k_hat or 0.0) > K_HAT_LIMIT]
    ess = min(d.min_ess_bulk, d.min_ess_tail)
    if any(worse) or not np.isfinite([d.max_rhat, ess]).all():
        return "no"
    level_of_ess = LIMITS["ess"].level(chains / ess)
    return worst([LIMITS["rhat"].level(d.max_rhat), level_of_ess, "look"])


def priors(fit: PointFit | PosteriorFit) -> Verdict:
    """How far the posterior moves when the priors are made stronger or weaker (Kallioinen et al. 2024)."""
    name = "prior sensitivity"
    if isinstance(fit, PointFit):
        return no_answer(name, "a point fit has no priors")
    if fit.n_chains * fit.n_draws < FEWEST_DRAWS:
        return no_answer(name, f"the draws are fewer than {FEWEST_DRAWS}")
    table = fit.prior_influence()
    limit = LIMITS["prior"]
    size = table["prior_sensitivity"].fillna(0.0)
    table["level"] = [limit.level(s) for s in size]
    level = worst(table["level"].tolist())
    named = table["term"] + np.where(
        table["group"].isin(["", RESIDUAL]) | table["group"].isna(), "", " | " + table["group"].fillna("")
    )
    if level == "ok":
        top = int(np.argmax(size))
        words = f"no parameter moves noticeably with the priors ({named[top]} most: {size[top]:.3f}; noticeable 0.05)."
        return Verdict(name=name, level=level, words=words, numbers=table)
    moved = size[size >= limit.look].sort_values(ascending=False)
    parameters = ", ".join(f"{named[i]} ({s:.2f})" for i, s in moved.items())
    return Verdict(
        name=name,
        level=level,
        words=f"{parameters} move{'s' if len(moved) == 1 else ''} with the priors (noticeable 0.05).",
        numbers=table,
        remedy="Defend the priors or change them: prior_sensitivity() tells weak data from priors that contradict "
        "them, with_priors() shows the difference.",
    )


def prediction(fit: PointFit | PosteriorFit, random_seed: int) -> Verdict:
    """Whether data sets simulated from the fit, of new groups, look like the data."""
    check = ppc(fit, groups="new", draws=DATA_SETS, random_seed=random_seed)
    table = check.table.copy()
    table["label"] = [label_of(row) for _, row in table.iterrows()]
    table["distance"] = ((table["observed"] - table["mean"]) / table["sd"]).abs().where(lambda d: np.isfinite(d), 0.0)
    limit = LIMITS["prediction"]
    failed = table["label"].isin(check.failed)
    central = table["stat"].isin(CENTRAL) | table["stat"].str.startswith("share[")
    table["level"] = [
        "ok" if not f else min(limit.level(d), "no" if c else "look", key=lambda level: -LEVELS.index(level))
        for f, c, d in zip(failed, central, table["distance"], strict=True)
    ]
    level = worst(table["level"].tolist())
    suffix = " of new groups" if fit.design.groups else ""
    if level == "ok":
        words = f"{len(table)} statistics of the data are as in data sets{suffix} from the model."
        return Verdict(name="prediction", level=level, words=words, numbers=table)
    flagged = table[table["level"] != "ok"].sort_values("distance", ascending=False)
    statistics = "; ".join(
        f"{r['label']} is {number(r['observed'], r['sd'])}, expected {number(r['conf_low'], r['sd'])} to "
        f"{number(r['conf_high'], r['sd'])}"
        for _, r in flagged.iterrows()
    )
    remedy = "Averages can be trusted, single predictions in the tails less: another family may do better."
    if central[flagged.index].any():
        remedy = "Another family or a missing term; blm.ppc and plot_ppc show where."
    zeros = flagged[flagged["stat"] == "share_of_zeros"]
    if len(zeros) and fit.design.family.for_zeros and zeros["observed"].iloc[0] > zeros["mean"].iloc[0]:
        named = " or ".join(map(repr, fit.design.family.for_zeros))
        remedy = f"Give the zeros a part of their own: family={named}, whose share zi or hu may hang on predictors."
    return Verdict(
        name="prediction",
        level=level,
        words=f"data sets{suffix} from the model differ from the data: {statistics}.",
        remedy=remedy,
        numbers=table,
    )


def collinearity(fit: PointFit | PosteriorFit) -> Verdict:
    """Variance inflation of the fixed effects, diag(R⁻¹) of their correlations, and columns that had to be dropped."""
    design = fit.design
    spread = fit.vcov()
    is_known = np.isfinite(np.diag(spread))  # the others hang on variances that the data do not tell
    names = [name for name, known in zip(design.x_names, is_known, strict=True) if name != "Intercept" and known]
    dropped = f"{', '.join(design.aliased)} dropped: linearly dependent on the others." if design.aliased else ""
    if len(names) < 2 and not dropped:
        return no_answer(
            "collinearity", f"fewer than two predictors{'' if is_known.all() else ' whose errors are told'}"
        )
    covariance = spread.loc[names, names].to_numpy()
    se = np.sqrt(np.diag(covariance))
    factor = (
        np.diag(np.linalg.pinv(covariance / np.outer(se, se), hermitian=True, rcond=1e-12)) if names else np.ones(0)
    )
    table = pd.DataFrame({"term": names, "inflation": factor})
    limit = LIMITS["collinearity"]
    table["level"] = [limit.level(v) for v in factor]
    level = worst([*table["level"], *(["look"] if dropped else [])])
    worst_term = ""
    if names:
        top = int(np.argmax(factor))
        worst_term = (
            f"the variance of {names[top]} is {number(factor[top], digits=3)} times that with uncorrelated predictors, "
            "the most."
        )
    remedy = "" if level == "ok" else "Centre predictors before products and squares of them, or drop one."
    return Verdict(
        name="collinearity", level=level, words=f"{dropped} {worst_term}".strip(), remedy=remedy, numbers=table
    )
