"""Every family on data and under priors that leave little to fit: a right answer, or an error that names the cause."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors, families
from bayeslmm.engine import agq
from bayeslmm.results import alike

ROWS, GROUPS = 60, 10
SHORT = {"draws": 60, "tune": 100, "chains": 2, "random_seed": 1, "progressbar": False}
CONTINUOUS = (
    "gaussian",
    "student_t",
    "lognormal",
    "gamma",
    "inverse_gaussian",
    "weibull",
    "exgaussian",
    "beta",
    "ordinal",
)
NAMES = [name for name in families.FAMILIES if not name.startswith(("censored", "gaussian_known"))]


def table(name):
    """Rows of a family, two for every other level, with factors of ten and two levels and one a row."""
    rng = np.random.default_rng(1)
    g, x = np.arange(ROWS) % GROUPS, rng.normal(size=ROWS)
    eta = 0.3 * x + 0.4 * rng.normal(size=GROUPS)[g]
    columns = {"x": x, "g": [f"g{k}" for k in g], "h": [f"h{k % 2}" for k in g], "i": np.arange(ROWS), "m": 8}
    family = families.family_of(name)
    if family.has_categories:
        y = np.digitize(eta + rng.logistic(size=ROWS), [-0.5, 0.8])
    elif family.has_trials:
        y = rng.binomial(8, 1.0 / (1.0 + np.exp(-eta)))
    elif family.is_binary:
        y = (rng.uniform(size=ROWS) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    elif family.is_discrete:
        y = rng.poisson(np.exp(eta + 0.5)) + ("truncated" in name)
    elif name == "beta":
        y = 1.0 / (1.0 + np.exp(-eta - 0.5 * rng.normal(size=ROWS)))
    else:
        y = eta + rng.normal(size=ROWS) if name in ("gaussian", "student_t") else np.exp(eta)
    return pd.DataFrame({"y": y, **columns})


def model(name, bar="(1 | g)", *, priors=None, **change):
    left = "p(y, m)" if families.family_of(name).has_trials else "y"
    return blm.Model(f"{left} ~ x + {bar}", table(name).assign(**change), family=name, priors=priors)


@pytest.mark.parametrize("name", NAMES)
def test_a_flat_sd_of_two_levels_is_refused(name):
    with pytest.raises(errors.PriorError, match="takes at least 3 levels"):
        model(name, "(1 | h)", priors={"sd": blm.flat()}).fit(**SHORT)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
def test_a_constant_response_is_refused_or_its_variance_is_zero(name):
    """Trials that all succeed and bernoulli rows that are all one are separated; equal counts have no variance."""
    family = families.family_of(name)
    if name in CONTINUOUS:
        with pytest.raises(errors.DataError, match="nothing to explain|categor"):
            model(name, y=table(name)["y"].iloc[0]).fit_ml()
        return
    fit = model(name, y=8 if family.has_trials else 1 if family.is_binary else 3).fit_ml()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "separat" in fit.verdict or "singular" in fit.verdict
        assert "nan" not in str(fit.summary()).lower()


@pytest.mark.parametrize("name", ["bernoulli", "ordinal", "gaussian", "lognormal", "exgaussian"])
def test_rows_that_are_one_a_level_do_not_tell_its_variance(name):
    for fit in ("fit_ml", "fit"):
        with pytest.raises(errors.UnidentifiedTermError, match="60 levels for 60 rows"):
            getattr(model(name, "(1 | i)"), fit)()


@pytest.mark.parametrize(
    "priors", [{"x": blm.Prior("Normal", mu=1e6, sigma=1e-3)}, {"sd": blm.Prior("HalfNormal", sigma=1e-8)}]
)
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")  # they contradict the data
def test_narrow_priors_give_draws_within_them_or_doubt(priors):
    """Linear predictors of a million leave log densities of -5e17, in which nine is less than rounding."""
    post = model("bernoulli", priors=priors).fit(**SHORT)
    assert np.isfinite(post.draws("beta")).all()
    if "sd" in priors:
        assert post.draws("sd_g").max() < 1e-7 and "by quadrature" in " ".join(post.verdict.split())
    else:
        assert abs(post.draws("beta")[..., 1] - 1e6).max() < 1.0 or not post.diagnosis.converged


@pytest.mark.parametrize("name", ["bernoulli", "poisson"])
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
def test_a_narrow_uniform_prior_of_an_sd_goes_to_the_sampler_that_knows_its_ends(name):
    """Quadrature breaks down between them, and NUTS in loops has no such coordinates: PyMC's has."""
    post = model(name, priors={"sd": blm.Prior("Uniform", lower=0.799, upper=0.801)}).fit(**SHORT)
    sds = post.draws("sd_g")
    assert 0.799 <= sds.min() <= sds.max() <= 0.801


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
def test_nuts_begins_within_narrow_priors():
    """Farther out their density is so low that steps become tiny, and chains stay where they are."""
    narrow = blm.Prior("HalfNormal", sigma=1e-8)
    assert model("truncated_poisson", priors={"sd": narrow}).fit(**SHORT).draws("sd_g").max() < 1e-7
    far = {"x": blm.Prior("Normal", mu=1e6, sigma=1e-3)}
    assert abs(model("student_t", priors=far).fit(**SHORT).draws("beta")[..., 1] - 1e6).max() < 1.0
    with pytest.raises(errors.FitError, match="none of 100 starts has a positive density"):
        model("poisson", priors=far).fit(**SHORT)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "exgaussian"])
def test_offsets_that_no_data_tell_are_named(name):
    """Where they leave nothing to the link; on the scale of the response they are a number like others."""
    left = "p(y, m)" if families.family_of(name).has_trials else "y"
    offset = 500.0 * (-1.0) ** np.arange(ROWS)
    try:
        verdict = blm.Model(f"{left} ~ x + (1 | g)", table(name), family=name, offset=offset).fit_ml().verdict
    except errors.FitError as refused:
        verdict = str(refused)
    told = "offset goes from -500 to 500" in verdict
    assert told or "perfect" in verdict or not verdict.startswith(("failed", "the search"))


def test_a_search_that_breaks_down_under_quadrature_is_refused(monkeypatch):
    """As an exgaussian one of offsets of ±500 did, at its end."""

    def break_down(*_):
        raise FloatingPointError("the modes of the effects were not reached")

    monkeypatch.setattr(agq, "_optimum", break_down)
    with pytest.raises(errors.FitError, match="broke down.*very large predictors, offsets"):
        model("poisson").fit_ml(nAGQ=9)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
@pytest.mark.parametrize("name", ["truncated_poisson", "negbinomial", "hurdle_negbinomial", "zero_inflated_poisson"])
def test_levels_at_the_least_count_but_one_end_in_an_answer(name):
    low = 1 if families.family_of(name).least else 0
    fit = model(name, y=np.where(table(name)["g"] == "g0", table(name)["y"], low)).fit_ml(nAGQ=1)
    assert fit.solution.status in ("converged", "boundary")
    assert np.isfinite(fit.loglik) and "nan" not in str(fit.summary()).lower()


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
def test_a_search_without_rest_says_what_is_seen():
    fit = model("negbinomial").fit_ml(nAGQ=1)

    def verdict(**change):
        return alike.verdict(replace(fit, solution=replace(fit.solution, status="failed", **change)))

    assert "shape goes to infinity, where the family is poisson. Take that family" in verdict(limits=("shape",))
    wide = tuple(np.full_like(covariance, 400.0) for covariance in fit.solution.covariances)
    assert "effects of g have an sd of 20.00 on the scale of the log link" in verdict(limits=(), covariances=wide)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
@pytest.mark.parametrize("seed", [0, 2])
def test_an_approximation_without_maximum_says_so(seed, tmp_path):
    """Long tails of inverse Gaussian times: at some mode the curvature goes to zero, and the number to infinity."""
    rng = fixed_rng(seed)  # numbers at which that happens; of the other seed no finer rule has a value
    g, x = np.arange(96) % 12, rng.normal(size=96)
    y = rng.gamma(1.0, np.exp(1.0 + rng.permutation(np.linspace(-2.0, 2.0, 12))[g] + x))
    fit = blm.Model("y ~ x + (1 | g)", pd.DataFrame({"y": y, "x": x, "g": g}), family="inverse_gaussian").fit_ml(nAGQ=1)
    assert fit.solution.status == "failed" and "effects of g are less certain given the data" in fit.verdict
    with pytest.raises(errors.StorageError, match="less certain given the data"):
        blm.save(fit, tmp_path / "fit.nc")


def test_a_perfect_fit_of_times_is_refused():
    """The search gets stuck long before the shape is infinite: 8e4 here."""
    with pytest.raises(errors.FitError, match="fits the data perfectly"):
        model("weibull").fit_ml()


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.ConvergenceWarning")  # a search that rounding ends says so
def test_counts_of_many_digits_are_not_said_to_be_off_by_their_rounding():
    for name in ("poisson", "truncated_poisson"):
        fit = model(name, y=table(name)["y"] + 1e15).fit_ml()
        assert fit.solution.rule_error == 0.0 or fit.solution.status == "failed"
