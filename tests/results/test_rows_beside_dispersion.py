"""Effects of single rows beside a parameter by which the family's rows vary: told apart by the form alone, or not."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.design.identification import beside_dispersion, limits_of


def rows(seed, n=80):
    rng = fixed_rng(seed)
    d = pd.DataFrame(
        {"x": rng.normal(size=n), "row": [f"r{i:03d}" for i in range(n)], "g": np.repeat(np.arange(8), 10)}
    )
    eta = 0.5 + 0.3 * d.x + rng.normal(0, 0.4, 8)[d.g]
    noise = rng.normal(0, 0.6, n)
    share = 1 / (1 + np.exp(-(eta - 0.5 + noise)))
    return d.assign(
        g="g" + d.g.astype(str),
        twice=np.arange(n) // 2,
        positive=np.exp(eta + noise),
        count=rng.poisson(np.exp(eta + 1 + noise)),
        share=share.clip(1e-6, 1 - 1e-6),
        trials=12,
        hits=rng.binomial(12, share),
        real=eta + noise,
    )


def fitted(formula, family, data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return blm.Model(formula, data, family=family).fit_ml(), [w.category for w in caught]


CASES = [
    ("positive", "gamma", "shape"),
    ("positive", "inverse_gaussian", "shape"),
    ("positive", "weibull", "shape"),
    ("share", "beta", "phi"),
    ("count", "negbinomial", "shape"),
    ("count", "nbinom1", "phi"),
    ("p(hits, trials)", "beta_binomial", "phi"),
]


@pytest.mark.parametrize(("y", "family", "parameter"), CASES)
def test_the_verdict_says_that_the_form_alone_tells_them_apart(y, family, parameter):
    data = rows(1)
    fit, caught = fitted(f"{y} ~ x + (1 | row)", family, data)
    assert fit.solution.status in ("converged", "boundary")
    assert f"(1 | row): 80 levels for 80 rows, one row per level. Such effects and {parameter} both" in fit.verdict
    assert {errors.WeaklyIdentifiedWarning, errors.SingularFitWarning} & set(caught)
    verdict = blm.check(fit, progressbar=False)["identification"]
    assert verdict.level == "look" and parameter in verdict.words
    assert parameter in str(blm.Model(f"{y} ~ x + (1 | row)", data, family=family).explain())
    for formula in (f"{y} ~ x + (1 | twice)", f"{y} ~ x + (1 | g)"):
        assert beside_dispersion(blm.Model(formula, data, family=family).design) is None


@pytest.mark.parametrize(("y", "family", "parameter"), CASES)
def test_no_end_of_the_two_is_better(y, family, parameter):
    """The model without the effects, and that without the parameter's spread, are as good at most."""
    limits = {"negbinomial": "poisson", "nbinom1": "poisson", "beta_binomial": "binomial"}
    for seed in (1, 2):
        data = rows(seed)
        whole, _ = fitted(f"{y} ~ x + (1 | row)", family, data)
        without_rows, _ = fitted(f"{y} ~ x", family, data)
        if family in limits:
            without_parameter = blm.Model(f"{y} ~ x + (1 | row)", data, family=limits[family]).fit_ml(nAGQ=25).loglik
        elif family == "beta":  # logit-normal
            logit = np.log(data.share / (1 - data.share))
            normal = blm.Model("z ~ x", data.assign(z=logit)).fit_ml().loglik
            without_parameter = normal - np.log(data.share * (1 - data.share)).sum()
        else:
            without_parameter = blm.Model(f"{y} ~ x", data, family="lognormal").fit_ml().loglik
        assert whole.loglik > max(without_rows.loglik, without_parameter) - 0.1, (seed, whole.verdict)
        if parameter in whole.solution.limits:
            assert whole.loglik == pytest.approx(without_parameter, abs=0.02)
            assert "goes to" in whole.verdict


def test_effects_that_add_to_a_normal_part_are_refused():
    """That an exponential part stands beside it does not tell them apart."""
    data = rows(1)
    for family in ("gaussian", "student_t", "exgaussian"):
        with pytest.raises(errors.UnidentifiedTermError, match=re.escape("only sd(row)² + sigma² is known")):
            blm.Model("real ~ x + (1 | row)", data, family=family)
        blm.Model("real ~ x + (1 | twice)", data, family=family)
    blm.Model("real ~ x + (1 | row)", data, family="exgaussian", priors={"sigma": 0.1})  # known: then they are told


def test_a_flat_prior_of_a_shape_without_end_is_refused():
    data = rows(1)
    assert "shape" in limits_of(blm.Model("positive ~ x + (1 | row)", data, family="gamma").design)
    assert not limits_of(blm.Model("positive ~ x + (1 | g)", data, family="gamma").design)
    with pytest.raises(errors.PriorError, match="the random effects are all that varies as shape grows"):
        blm.Model("positive ~ x + (1 | row)", data, family="gamma", priors={"shape": blm.flat()})


def test_a_fit_at_such_an_end_is_saved_and_loaded(tmp_path):
    fit, _ = fitted("positive ~ x + (1 | row)", "gamma", rows(1))
    blm.save(fit, tmp_path / "fit.zip")
    again = blm.load(tmp_path / "fit.zip")
    assert again.verdict == fit.verdict and again.loglik == fit.loglik


@pytest.mark.parametrize("row", [np.arange(80), np.arange(80) // 2])
def test_slopes_of_rows_are_judged_by_rank(row):
    """A level with two rows and two effects spreads single rows as well, one with an intercept does not."""
    data = rows(1).assign(row=row, half=np.arange(80) % 2)
    design = blm.Model("positive ~ x + (half | row)", data, family="gamma").design if row[1] == 0 else None
    if design is not None:
        assert beside_dispersion(design) is not None
    else:
        assert beside_dispersion(blm.Model("positive ~ x + (1 | row)", data, family="gamma").design) is not None


def test_curvature_far_out_in_a_link_reaches_no_impossible_parameter():
    """Coefficients of a zero's probability that go to infinity together: a hundredth of one alone made it one."""
    from bayeslmm.engine import laplace_fit
    from bayeslmm.engine.laplace import Approximation

    data = rows(1)
    y = data["count"] * (data.x > -1.0)
    design = blm.Model("y ~ x + (1 | g)", data.assign(y=y), family="zero_inflated_poisson", zi="~ x").design
    about = Approximation(design)
    psi = laplace_fit._start(about, 1.0)
    largest = max(column @ np.array([0.0, 1.0]) for column in about.parameters.X[0][y > 0])
    psi[-2:] = -6000.0, 6020.0 / largest  # a positive row is next to being impossible, where 60 more make it so
    value, gradient, inner = about.at(psi)
    about.last = inner
    hessian = laplace_fit.curvature(about, psi, gradient, inner, ~about.held, 1e-14 * np.eye(about.size))
    assert np.isfinite(value) and np.isfinite(hessian).all()
