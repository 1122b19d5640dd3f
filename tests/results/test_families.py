"""Posteriors of every family as a user meets them: truth recovered, glmer's numbers, verbs, seeds, refusals."""

from __future__ import annotations

import agreement
import numpy as np
import pandas as pd
import pytest
from plain import FAMILIES
from scipy import stats

import bayeslmm as blm
from bayeslmm.errors import FitError, InputError, NotAvailableError, UnidentifiedTermError
from bayeslmm.families import family_of
from bayeslmm.results.nuts import geometry_of, geometry_table

# short runs on purpose: R-hat of 2 x 500 draws is above 1.01 now and then
pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")

SHORT = {"draws": 500, "tune": 500, "chains": 2, "progressbar": False, "random_seed": 1}
LEVELS, SLOPE, SD = 40, 0.5, 0.6
TRUE = {
    "gaussian": {"sigma": 0.7},
    "student_t": {"sigma": 0.7, "nu": 4.0},
    "lognormal": {"sigma": 0.7},
    "bernoulli": {},
    "binomial": {},
    "poisson": {},
    "negbinomial": {"shape": 3.0},
    "gamma": {"shape": 3.0},
    "beta": {"phi": 12.0},
    "ordinal": {"cutpoint": np.array([-1.0, 0.2, 1.5])},
}
DRAW = {
    "gaussian": lambda rng, mu, m, p: rng.normal(mu, p["sigma"]),
    "student_t": lambda rng, mu, m, p: mu + p["sigma"] * rng.standard_t(p["nu"], len(mu)),
    "lognormal": lambda rng, mu, m, p: np.exp(rng.normal(mu, p["sigma"])),
    "bernoulli": lambda rng, mu, m, p: rng.binomial(1, mu),
    "binomial": lambda rng, mu, m, p: rng.binomial(m, mu),
    "poisson": lambda rng, mu, m, p: rng.poisson(mu),
    "negbinomial": lambda rng, mu, m, p: rng.negative_binomial(p["shape"], p["shape"] / (p["shape"] + mu)),
    "gamma": lambda rng, mu, m, p: rng.gamma(p["shape"], mu / p["shape"]),
    "beta": lambda rng, mu, m, p: rng.beta(mu * p["phi"], (1 - mu) * p["phi"]),
}


def simulated(family, *, rows=1000, seed=11, slopes=False):
    """0.3 + 0.5 x, by group ± 0.6 and with ``slopes`` ± 0.4 x, correlation −0.5."""
    rng = np.random.default_rng(seed)
    g, x = np.arange(rows) % LEVELS, rng.normal(size=rows)
    b = rng.multivariate_normal([0, 0], [[SD**2, -0.5 * SD * 0.4], [-0.5 * SD * 0.4, 0.16]], LEVELS)
    eta = 0.3 + SLOPE * x + b[g, 0] + (b[g, 1] * x if slopes else 0.0)
    m = rng.integers(1, 12, rows)
    if family == "ordinal":
        y = (rng.logistic(size=rows) + eta)[:, None] > TRUE[family]["cutpoint"] + 0.3
        y = y.sum(axis=1)
    else:
        y = DRAW[family](rng, family_of(family).mean(eta), m, TRUE[family])
    return pd.DataFrame({"y": y, "x": x, "g": g, "m": m})


def model_of(family, *, right="x + (1 | g)", data=None, **options):
    left = "p(y, m)" if family == "binomial" else "y"
    data = simulated(family) if data is None else data
    return blm.Model(f"{left} ~ {right}", data, family=family, **options)


def distance(draws, truth):
    """Posterior sds between mean and truth, the largest."""
    flat = draws.reshape(draws.shape[0] * draws.shape[1], -1)
    return float(np.max(np.abs(flat.mean(axis=0) - truth) / flat.std(axis=0, ddof=1)))


@pytest.fixture(scope="module")
def fits():
    """Posteriors by family, sampled when first asked for."""
    known = {}

    def of(family):
        if family not in known:
            known[family] = model_of(family).fit(**SHORT)
        return known[family]

    return of


def cbpp(family="binomial", **options):
    formula = {"binomial": "p(incidence, size) ~ period + (1 | herd)"}.get(
        family, "incidence ~ period + (1 | herd) + offset(np.log(size))"
    )
    return blm.Model(formula, blm.load_dataset("cbpp"), family=family, **options)


@pytest.fixture(scope="module")
def herds():
    return cbpp().fit(random_seed=1, progressbar=False)


# -- truth


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_recovered(fits, family):
    post = fits(family)
    assert post.diagnosis.divergences in (0, None)
    # 4 posterior sds: a normal posterior misses by as much once in 16,000; about 30 parameters are looked at
    beta = [SLOPE] if family == "ordinal" else [0.3, SLOPE]
    assert distance(post.draws("beta"), beta) < 4.0
    assert distance(post.draws("sd_g"), SD) < 4.0
    for name, value in TRUE[family].items():
        # cutpoints were moved along with the intercept of the simulation
        assert distance(post.draws(name), value) < 4.0, name
    # and the check can fail: neither no effect nor twice as large a sd is believed, of 1000 rows in 40 groups
    assert distance(post.draws("beta")[..., -1], 0.0) > 4.0
    assert distance(post.draws("sd_g"), 2 * SD) > 3.0


def test_parameters_of_a_lognormal_model_are_recovered_by_the_exact_sampler():
    post = model_of("lognormal").fit(**SHORT)
    assert "exact sampler" in post.verdict
    assert distance(post.draws("beta"), [0.3, SLOPE]) < 4.0
    assert distance(post.draws("sigma"), 0.7) < 4.0


def test_correlated_slopes_are_recovered():
    post = model_of("poisson", right="x + (x | g)", data=simulated("poisson", slopes=True)).fit(**SHORT)
    assert distance(post.draws("beta"), [0.3, SLOPE]) < 4.0
    assert distance(post.draws("sd_g"), [SD, 0.4]) < 4.0
    correlation = post.draws("cor_g")[..., 0, 1]
    assert distance(correlation, -0.5) < 4.0 and correlation.mean() < 0
    np.testing.assert_array_equal(post.draws("cor_g")[..., 0, 0], 1.0)
    assert list(post.var_corr()["g"].columns) == ["Intercept", "x"]


@pytest.mark.reference
def test_cbpp_is_what_glmer_says(herds):
    """``glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), nAGQ = 25)`` of lme4."""
    table = herds.fixef()
    z = (table["mean"] - [-1.39923, -0.99140, -1.12782, -1.57947]) / table["sd"]
    # the mean of a posterior and the top of a likelihood differ by its skewness, of the order of 0.1 sds with 56 rows;
    # the priors are 2.5 log odds wide, beside standard errors of 0.3
    assert np.abs(z).max() < 0.35
    sd = herds.draws("sd_herd")
    # the mean of a posterior that is skewed to the right; and the maximum of a likelihood takes the fixed effects for
    # known, so it is too small with 15 herds, as s² with n in place of n − 1
    assert 0 < sd.mean() - 0.6475 < sd.std()


# -- samplers and seeds


def test_nuts_on_the_pymc_model_draws_the_same_posterior(herds):
    """The first of two tests that compile a graph."""
    other = cbpp().fit(random_seed=2, nuts_sampler="nutpie", progressbar=False)
    assert other.idata.posterior.attrs["sampler"] == "NUTS (nutpie)"
    assert set(other.idata.posterior.data_vars) == set(herds.idata.posterior.data_vars)
    found = agreement.disagreement(herds, other)
    # 60 quantities: one in 16,000 is beyond 4 standard errors by chance, one in 260 of such comparisons
    assert found["largest"].max() < 4.0, found.to_string()


def test_the_same_seed_gives_the_same_draws_on_any_number_of_cores():
    first, again, two = (cbpp().fit(**SHORT | {"cores": cores}) for cores in (1, 1, 2))
    other = cbpp().fit(**SHORT | {"cores": 1, "random_seed": 2})
    for name in first.idata.posterior.data_vars:
        np.testing.assert_array_equal(first.draws(name), again.draws(name))
        np.testing.assert_array_equal(first.draws(name), two.draws(name))
        assert not np.array_equal(first.draws(name), other.draws(name))


def test_centring_changes_the_coordinates_and_not_the_posterior(herds):
    model = cbpp()
    runs = []
    for weight in (0.0, 1.0):
        post = model.fit(random_seed=3, progressbar=False, centring={"herd": weight})
        table = geometry_table(model.design, geometry_of(model.design, model.priors, post.settings)[0])
        assert list(table["centring"]) == [weight]
        assert (table["around"][0] == "zero") == (weight == 0.0)
        assert not np.array_equal(post.draws("beta"), herds.draws("beta"))
        found = agreement.disagreement(herds, post)
        assert found["largest"].max() < 4.0, found.to_string()  # 60 quantities, as above
        runs.append(post)
    assert not np.array_equal(runs[0].draws("beta"), runs[1].draws("beta"))


def test_a_lognormal_model_is_a_normal_model_of_the_logarithm():
    data = simulated("lognormal")
    ours = model_of("lognormal", data=data).fit(**SHORT)
    other = model_of("gaussian", data=data.assign(y=np.log(data["y"]))).fit(**SHORT)
    assert "exact sampler" in ours.verdict and "exact sampler" in other.verdict
    for name in other.idata.posterior.data_vars:
        np.testing.assert_allclose(ours.draws(name), other.draws(name), rtol=1e-8)  # roundings of the logs


def test_a_prior_that_only_pymc_knows_is_sampled_on_the_pymc_model():
    """The second of two tests that compile a graph."""
    post = cbpp(priors={"period[2]": blm.Prior("Laplace", mu=0, b=0.05)}).fit(**SHORT)
    told = " ".join(post.verdict.split())
    assert "NUTS (nutpie), since period[2] has the prior Laplace(mu=0, b=0.05)" in told
    assert "period[2] has the prior Laplace" in " ".join(str(post.summary()).split())
    assert abs(post.fixef()["mean"]["period[2]"]) < 0.5  # a prior as narrow as this holds back −1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nuts_sampler": "blackjax"}, NotAvailableError, "fails with PyMC.*use 'nutpie', 'pymc' or 'numpyro'"),
        ({"nuts_sampler": "stan"}, InputError, "'stan'.*samplers are 'nutpie', 'pymc', 'numpyro'"),
        ({"no_such_option": 1}, InputError, "pymc.sample refuses the options.*no_such_option"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        cbpp().fit(**SHORT | options)


@pytest.mark.parametrize(
    "options", [{"target_accept": 1.5}, {"target_accept": "high"}, {"max_treedepth": 0}, {"adaptation": "dense"}]
)
def test_options_of_nuts_that_cannot_be(options):
    with pytest.raises(InputError, match=next(iter(options))):
        cbpp().fit(**SHORT | {"draws": 50, "tune": 50} | options)


# -- default settings


KNOWN = {"sigma": blm.Prior("LogNormal", mu=0, sigma=0.01)}
SCHOOLS = pd.DataFrame(
    {"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "se": [15.0, 10, 16, 11, 9, 11, 10, 18], "school": list("ABCDEFGH")}
)  # Rubin (1981)


def schools(shifts):
    """Two rows a school, y ± shift · se, that weigh as one of variance se²."""
    two = pd.concat([SCHOOLS.assign(y=SCHOOLS["y"] + shift * SCHOOLS["se"]) for shift in shifts], ignore_index=True)
    return blm.Model("y ~ 1 + (1 | school)", two, weights=1 / (2 * two["se"] ** 2), priors=KNOWN)


def data_model(formula, name):
    return blm.Model(formula, blm.load_dataset(name))


EASY = {
    "dyestuff": lambda: data_model("Yield ~ 1 + (1 | Batch)", "dyestuff"),
    "dyestuff2": lambda: data_model("Yield ~ 1 + (1 | Batch)", "dyestuff2"),
    "pastes": lambda: data_model("strength ~ 1 + (1 | batch/cask)", "pastes"),
    "penicillin": lambda: data_model("diameter ~ 1 + (1 | plate) + (1 | sample)", "penicillin"),
    "sleepstudy": lambda: data_model("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "cbpp, binomial": lambda: cbpp(),
    "cbpp, poisson": lambda: cbpp("poisson"),
    "cbpp, negbinomial": lambda: cbpp("negbinomial"),
    "eight schools": lambda: schools((-1, 1)),
}


@pytest.mark.parametrize("name", EASY)
def test_no_divergences_at_default_settings(name):
    post = EASY[name]().fit(method="nuts", random_seed=1, progressbar=False)
    assert post.diagnosis.divergences == 0
    # looser than the verdict's 1.01 and 400: both are passed by chance where the worst of 30 quantities has 400 draws
    assert post.diagnosis.max_rhat < 1.02 and post.diagnosis.min_ess_bulk > 300


def test_divergences_would_be_seen():
    """Eight schools in the coordinates that are known to fail (Betancourt & Girolami 2015), with large steps."""
    post = schools((-1, 1)).fit(
        method="nuts", random_seed=1, progressbar=False, centring={"school": 1}, target_accept=0.7
    )
    assert post.diagnosis.divergences > 0 and "divergences" in post.verdict


def test_eight_schools_of_one_row_each_need_weights():
    """Only unequal weights tell the variance of the schools from that of the rows."""
    with pytest.raises(UnidentifiedTermError, match="8 levels for 8 rows, one row per level.*from the residual"):
        blm.Model("y ~ 1 + (1 | school)", SCHOOLS, priors=KNOWN)
    weighted = blm.Model("y ~ 1 + (1 | school)", SCHOOLS, weights=1 / SCHOOLS["se"] ** 2, priors=KNOWN)
    assert not any("not tell" in trap for trap in weighted.explain().traps)


def test_eight_schools_in_two_equal_rows_each():
    """A residual sd that the prior knows; rows say nothing of it."""
    post = schools((0, 0)).fit(method="nuts", random_seed=1, progressbar=False)
    assert post.diagnosis.divergences == 0


def test_rows_without_residuals_need_a_prior_that_keeps_sigma_from_zero():
    rows = pd.DataFrame({"y": [3.0, 1.0, 7.0, 4.0] * 6, "g": list("abcd") * 6})
    for prior in ({}, {"sigma": blm.Prior("Exponential", lam=1)}, {"sigma": blm.Prior("LogNormal", mu=0, sigma=3)}):
        with pytest.raises(FitError, match="perfectly"):
            blm.Model("y ~ 1 + (1 | g)", rows, priors=prior).fit(method="nuts", progressbar=False)
    known = {"sigma": blm.Prior("InverseGamma", alpha=50, beta=50)}
    post = blm.Model("y ~ 1 + (1 | g)", rows, priors=known).fit(method="nuts", random_seed=1, progressbar=False)
    # 24 rows of 4 levels, all of whose means are free: σ^−20 exp(0) beside the prior, to the shrinkage of the means
    assert post.draws("sigma").mean() == pytest.approx(50 / (50 + 20 - 1), abs=0.02)


# -- log likelihood


def row_densities(family, post, eta, at):
    y, p = post.design.y, {name: post.draws(name)[at] for name in post.design.family.parameters}
    mu = family_of(family).mean(eta)

    def ordinal(cutpoints):
        below = stats.logistic.cdf(np.concatenate([[-np.inf], cutpoints, [np.inf]]) - eta[:, None])
        return np.diff(below, axis=1)[np.arange(len(y)), y.astype(int)]

    return {
        "student_t": lambda: stats.t.logpdf(y, p["nu"], mu, p["sigma"]),
        "negbinomial": lambda: stats.nbinom.logpmf(y, p["shape"], p["shape"] / (p["shape"] + mu)),
        "ordinal": lambda: np.log(ordinal(p["cutpoint"])),
    }[family]()


@pytest.mark.parametrize("family", ["student_t", "negbinomial", "ordinal"])
def test_log_likelihood_is_scipys(fits, family):
    post, at = fits(family), (1, 17)
    post.compute_log_likelihood()
    beta, b = post.draws("beta")[at], post.draws("b_g")[at][:, 0]
    eta = post.design.X @ beta + b[post.design.groups[0].codes]
    found = post.idata.log_likelihood["y"].to_numpy()
    assert found.shape == (2, 500, 1000)
    np.testing.assert_allclose(found[at], row_densities(family, post, eta, at), rtol=1e-8, atol=1e-9)


# -- verbs

WITHOUT_SHARES = {"beta"}  # no residual variance on the scale of the linear predictor


@pytest.mark.parametrize("family", FAMILIES)
def test_every_verb_answers_or_says_why_not(fits, family):
    post = fits(family)
    for verb in ("fixef", "ranef", "coef", "variance_components"):
        table = getattr(post, verb)()
        values = table.select_dtypes("number").to_numpy()
        assert len(table) and np.isfinite(values).all(), verb
    assert post.design.response in str(post.summary()) and family in str(post.summary())
    assert post.var_corr()["g"].iloc[0, 0] == pytest.approx((post.draws("sd_g") ** 2).mean())
    assert list(post.fixef().index) == (["x"] if family == "ordinal" else ["Intercept", "x"])
    assert len(post.ranef()) == LEVELS
    for verb in ("icc", "r2"):
        if family in WITHOUT_SHARES:
            with pytest.raises(NotAvailableError, match=rf"No ICC.*{family} \(logit link\): the residual variance"):
                getattr(post, verb)()
        else:
            assert getattr(post, verb)()["mean"].between(0, 1).all()
    rows = {"ordinal": ["cutpoint[0]", "cutpoint[1]", "cutpoint[2]"]}.get(family, list(TRUE[family]))
    if rows:
        assert list(post.parameters("family").index) == rows
    assert list(post.parameters("g").index) == ["sd(Intercept)"]
    assert post.parameters("fixed")["rhat"].max() < 1.05


@pytest.mark.parametrize(("part", "family"), [("family", "poisson"), ("no such", "gaussian")])
def test_parts_that_there_are_not(fits, part, family):
    try:
        assert fits(family).parameters(part).empty
    except (InputError, NotAvailableError) as error:
        assert part in str(error)


@pytest.mark.parametrize("family", FAMILIES)
def test_priors_of_every_family(fits, family):
    """The log prior has a value for every parameter, sensitivity and other priors are there."""
    post = fits(family)
    post.compute_log_prior()
    found = post.idata.log_prior
    assert set(found.data_vars) == {"beta", "sd_g", *TRUE[family]}
    assert all(np.isfinite(v.to_numpy()).all() for v in found.data_vars.values())
    table = post.prior_sensitivity()
    # ArviZ's limit for what is noticed: 1000 rows speak and default priors do not. What the rows say of the intercept
    # they mostly say of the effects of groups, so for it 0.05 of the likelihood is not to be had; nor, by chance, for
    # the sd of few groups
    assert (table["prior"] < 0.05).all() and (table["likelihood"] > table["prior"]).all()
    assert (table["likelihood"].drop("beta[Intercept]", errors="ignore") > 0.03).mean() > 0.5
    narrow = {"sd": blm.Prior("HalfNormal", sigma=0.02)}
    moved = post.with_priors(narrow, draws=200, tune=300)
    assert moved.n_draws == 200 and moved.draws("sd_g").mean() < 0.8 * post.draws("sd_g").mean()


@pytest.mark.parametrize(
    ("family", "link", "reason"),
    [("bernoulli", "cauchit", "a Cauchy variable has no variance"), ("poisson", "sqrt", "no simple form")],
)
def test_links_without_a_residual_variance_say_so(family, link, reason):
    data = simulated(family)
    post = model_of(family, data=data.assign(x=0.1 * data["x"]), link=link).fit(**SHORT | {"draws": 100})
    for verb in (post.icc, post.r2):
        with pytest.raises(NotAvailableError, match=rf"{family} \({link} link\): .*{reason}"):
            verb()
    assert list(post.variance_components()["quantity"]) == ["variance", "sd"]  # without shares and residual
    assert str(post.summary())
