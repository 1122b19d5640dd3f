"""Probabilities of statements about parameters."""

import warnings

import numpy as np
import pandas as pd
import pytest
import shifted
from scipy import stats

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results.hypotheses import _evidence
from bayeslmm.results.prior_draws import prior_draws
from bayeslmm.results.statements import parse


@pytest.fixture(scope="module")
def model():
    return blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def post(model):
    return model.fit(random_seed=1)


def test_probabilities_are_shares_of_draws(post):
    found = post.hypothesis("Days > 10, sd(Days | Subject) > 5, cor(Intercept, Days | Subject) < 0, sigma <= 25")
    names = post.design.names
    draws = [
        post.draws("beta")[..., 1] > 10,
        post.draws(names.sd["Subject"])[..., 1] > 5,
        post.draws(names.cor["Subject"])[..., 0, 1] < 0,
        post.draws("sigma") <= 25,
    ]
    np.testing.assert_allclose(found["probability"], [each.mean() for each in draws])


def test_arithmetic_is_that_of_the_draws(post):
    beta = post.draws("beta")
    found = post.hypothesis("exp(Days / 10) - 2 * Intercept ** 0.5 > -(3 + 1)").iloc[0]
    difference = np.exp(beta[..., 1] / 10) - 2 * np.sqrt(beta[..., 0]) + 4
    assert found["mean"] == pytest.approx(difference.mean())
    assert found["probability"] == (difference > 0).mean()


def test_the_icc_can_be_asked_about(post):
    icc = post.icc(draws=True).sel(icc="adjusted") if "icc" in post.icc(draws=True).coords else None
    draws = post.icc(draws=True).to_numpy()[..., 0] if icc is None else icc.to_numpy()
    assert post.hypothesis("icc > 0.7")["probability"].iloc[0] == pytest.approx((draws > 0.7).mean())


def test_names_may_be_written_without_their_spaces(post):
    wanted = post.hypothesis("sd(Days | Subject) > 5, cor(Intercept, Days | Subject) < 0, icc > 0.7")
    found = post.hypothesis("sd(Days|Subject) > 5, cor(Intercept,Days|Subject) < 0, icc(Subject) > 0.7")
    np.testing.assert_array_equal(found["probability"], wanted["probability"])


def test_a_bayes_factor_is_the_ratio_of_odds(model):
    wide = model.update(priors={"Days": blm.Prior("Normal", mu=0, sigma=20)}).fit(random_seed=1)
    found = wide.hypothesis("Days > 10").iloc[0]
    prior = stats.norm(0, 20).sf(10)
    p = found["probability"]
    # 20,000 draws of the prior: odds to 2 %
    assert found["bayes_factor"] == pytest.approx(p / (1 - p) / (prior / (1 - prior)), rel=0.05)


def test_of_an_equation_it_is_savages_and_dickeys_ratio(model):
    wide = model.update(priors={"Days": blm.Prior("Normal", mu=0, sigma=20)}).fit(random_seed=1, draws=4000)
    found = wide.hypothesis("Days = 10").iloc[0]
    beta = wide.draws("beta")[..., 1].ravel()
    after = stats.norm(beta.mean(), beta.std()).pdf(10)  # the posterior of a slope with 18 subjects is near normal
    assert found["bayes_factor"] == pytest.approx(after / stats.norm(0, 20).pdf(10), rel=0.1)
    assert np.isnan(found["probability"])


def test_far_from_the_draws_an_equation_has_the_bayes_factor_of_quadrature():
    """At three sds a kernel is some 12 % too high; p(y | μ) / p(y) by sums over the two sds, and over μ."""
    data = blm.load_dataset("dyestuff")
    priors = {"Intercept": blm.Prior("Normal", mu=1500, sigma=100)}
    priors |= dict.fromkeys(("sd", "sigma"), blm.Prior("HalfNormal", sigma=60))
    post = blm.Model("Yield ~ 1 + (1 | Batch)", data, priors=priors).fit(random_seed=1, progressbar=False)
    y, (J, n) = data["Yield"].to_numpy().reshape(6, 5), (6, 5)
    within = float(np.sum((y - y.mean(axis=1, keepdims=True)) ** 2))
    sigma, sd = np.meshgrid(np.linspace(20, 160, 141), np.linspace(0.5, 400, 400))
    of_means = sd**2 + sigma**2 / n  # the variance of a batch's mean
    log_prior = stats.norm.logpdf(sigma, scale=60) + stats.norm.logpdf(sd, scale=60)
    log_rest = -J * (n - 1) * np.log(sigma) - within / (2 * sigma**2) - J / 2 * np.log(of_means) + log_prior

    def likelihood(mu):
        squares = np.sum((y.mean(axis=1) - mu) ** 2)
        return float(np.sum(np.exp(log_rest - squares / (2 * of_means) + 200.0)))

    grid = np.linspace(1100, 1900, 401)
    marginal = np.sum([likelihood(mu) * stats.norm(1500, 100).pdf(mu) for mu in grid]) * (grid[1] - grid[0])
    mean, spread = post.fixef().loc["Intercept", ["mean", "sd"]]
    for away in (0.0, 1.5, 3.0):
        mu = round(float(mean + away * spread), 1)
        found = post.hypothesis(f"Intercept = {mu}").iloc[0]
        wanted = likelihood(mu) / marginal
        assert abs(found["bayes_factor"] - wanted) < 3.5 * found["bf_mcse"], (away, wanted)
        assert found["bf_mcse"] < 0.12 * wanted


@pytest.mark.parametrize(
    ("formula", "data", "options", "equation"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {}, "Intercept + 2 * Days = 275"),
        ("Reaction ~ Days + (Days || Subject)", "sleepstudy", {"family": "lognormal"}, "Days = 0.036"),
        ("score ~ Machine + (1 | Worker:Machine)", "machines", {}, "Machine[B] = Machine[C] - 6"),
        ("y ~ 1 + (1 | trial)", "bcg", {"se": "se"}, "Intercept = -0.6"),
    ],
)
def test_near_the_draws_both_densities_agree(formula, data, options, equation, monkeypatch):
    """Averages over hyperparameters, and a kernel over draws of the fixed effects."""
    from bayeslmm.results import hypotheses

    post = blm.Model(formula, blm.load_dataset(data), **options).fit(random_seed=1, progressbar=False)
    averaged = post.hypothesis(equation).iloc[0]
    monkeypatch.setattr(hypotheses, "densities_at_equality", lambda *_: None)
    by_kernel = post.hypothesis(equation).iloc[0]
    assert averaged["bayes_factor"] != by_kernel["bayes_factor"]
    assert averaged["bayes_factor"] == pytest.approx(by_kernel["bayes_factor"], rel=0.12)  # the prior's kernel as well
    assert averaged["bf_mcse"] < by_kernel["bf_mcse"]


def test_what_is_no_sum_of_fixed_effects_keeps_the_kernel(post, model):
    from bayeslmm.results.conditional import densities_at_equality

    def averaged(record, text):
        return densities_at_equality(parse(text, ["Days", "Intercept", "sigma"], "hypothesis")[0], [record])

    assert averaged(post, "Days = 10") is not None
    for text in ("Days > 10", "Days * Days = 100", "sigma = 25"):
        assert averaged(post, text) is None
    few = {"draws": 50, "chains": 2, "random_seed": 1, "progressbar": False}
    heavy = model.update(priors={"Days": blm.Prior("StudentT", nu=4, mu=0, sigma=20)}).fit(**few)
    assert averaged(heavy, "Days = 10") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Machin[B] = 0", r"no 'Machin\[B\]' here; did you mean 'Machine\[B\]'"),
        ("Machine[b] - Machine[C] = 0", r"no 'Machine\[b\]' here; did you mean 'Machine\[B\]'"),
        ("Machine[D] = 0", r"did you mean 'Machine\["),
        ("intercept = 0", "did you mean 'Intercept'"),
        ("", "such as 'Intercept = 0'"),
    ],
)
def test_levels_that_are_not_there_lead_to_those_that_are(text, message):
    machines = blm.lmer("score ~ Machine + (1 | Worker)", blm.load_dataset("machines"))
    with pytest.raises(errors.InputError, match=message):
        machines.test(text)


def test_flat_priors_have_no_bayes_factor(model):
    flat = model.update(priors={"Days": blm.flat()}).fit(random_seed=1)
    found = flat.hypothesis("Days > 10").iloc[0]
    assert np.isnan(found["bayes_factor"])
    assert 0.0 < found["probability"] < 1.0


def test_a_region_of_practical_equivalence(post):
    draws = post.draws("beta")[..., 1] - 10
    assert post.hypothesis("Days = 10", rope=2)["in_rope"].iloc[0] == (np.abs(draws) <= 2).mean()
    found = post.hypothesis("Days = 10", rope=(-1, 3))["in_rope"].iloc[0]
    assert found == ((draws >= -1) & (draws <= 3)).mean()


def test_thresholds_of_an_ordinal_response_have_names_and_priors():
    rng = np.random.default_rng(1)
    import pandas as pd

    data = pd.DataFrame({"g": np.repeat(np.arange(8), 6), "y": rng.integers(1, 4, 48)})
    post = blm.Model("y ~ 1 + (1 | g)", data, family="ordinal").fit(
        draws=200, tune=200, chains=2, random_seed=1, progressbar=False
    )
    names = [f"cutpoint[{level}]" for level in post.design.levels[:-1]]
    found = post.hypothesis(f"{names[0]} < {names[1]}").iloc[0]
    assert found["probability"] == 1.0


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("Dayz > 1", {}, "did you mean 'Days'"),
        ("Days", {}, "a statement holds"),
        ("sd(Dayz | Subject) > 1", {}, r"no 'sd\(Dayz \| Subject\)' here; did you mean 'sd\(Days \| Subject\)'"),
        ("sd(Days | Subj) > 1", {}, r"no 'sd\(Days \| Subj\)' here; did you mean 'sd\(Days \| Subject\)'"),
        ("var(Days | Subject) > 1", {}, r"squares of sds, such as 'sd\(Days \| Subject\)'"),
        ("icc(Class) > 1", {}, r"did you mean 'icc\(Subject\)'"),
        ("1 > 0", {}, "no parameter stands in it"),
        ("Days > 'x'", {}, "a statement holds names"),
        ("Days.real > 1", {}, "hypothesis"),
        ("[d for d in Days] > 1", {}, "a statement holds names|no arithmetic"),
        ("Days > 1", {"rope": -1}, "a half-width above zero"),
        ("Days > 1", {"rope": (2, 1)}, "two ends"),
        ("Days > 1", {"rope": "2"}, "two ends"),
        ("Days > 1", {"rope": True}, "two ends"),
        ("Days > 1", {"rope": (1, 2, 3)}, "two ends"),
        ("log(Days - 10) > 0", {}, "draws this is no finite number"),  # a draw that has no value is not one against
        ("Days / 0 > 1", {}, "draws this is no finite number"),
        ("exp(1000 * Days) > 2", {}, "draws this is no finite number"),
    ],
)
def test_what_is_no_statement_is_refused(post, text, options, message):
    with pytest.raises(errors.InputError, match=message):
        post.hypothesis(text, **options)


def test_each_kind_of_fit_leads_to_the_other(model, post):
    with pytest.raises(errors.RefusedVerbError, match="hypothesis"):
        post.test  # noqa: B018
    with pytest.raises(errors.RefusedVerbError, match="test"):
        model.fit_reml().hypothesis  # noqa: B018


def test_every_table_of_a_posterior_says_how_likely_a_number_is_above_zero(post):
    """And of a ratio, above one; the same as a hypothesis about it."""
    draws = post.draws("beta")
    assert post.fixef()["p_positive"].to_numpy() == pytest.approx((draws > 0).mean(axis=(0, 1)))
    asked = post.hypothesis("Days > 0")["probability"].iloc[0]
    assert post.fixef().loc["Days", "p_positive"] == pytest.approx(asked)
    effects = post.draws(post.design.names.b["Subject"])
    assert post.ranef()["p_positive"].to_numpy() == pytest.approx((effects > 0).mean(axis=(0, 1)).reshape(-1))
    assert 0.5 < post.coef().query("term == 'Days'")["p_positive"].mean() < 1.0
    components = post.variance_components()
    assert components.loc[components["quantity"] != "cor", "p_positive"].isna().all()  # they cannot be negative
    correlation = post.hypothesis("cor(Intercept, Days | Subject) > 0")["probability"].iloc[0]
    assert components.loc[components["quantity"] == "cor", "p_positive"].iloc[0] == pytest.approx(correlation)
    assert post.slopes("Days")["p_positive"].iloc[0] == pytest.approx(asked)
    difference, ratio = (post.comparisons("Days", kind=kind)["p_positive"].iloc[0] for kind in ("difference", "ratio"))
    assert ratio == pytest.approx(difference)
    tidy = post.tidy().set_index("term")["p_positive"]
    assert tidy["Days"] == pytest.approx(asked) and tidy["cor__Intercept.Days"] == pytest.approx(correlation)
    assert tidy.drop(["Intercept", "Days", "cor__Intercept.Days"]).isna().all()  # sds, which cannot be negative
    assert "p_positive" not in post.parameters("family") and "p_positive" not in post.icc()
    assert post.parameters("Subject")["p_positive"].notna().tolist() == [False, False, True]
    assert post.hypothesis("Days = 10")["p_positive"].iloc[0] == pytest.approx((draws[..., 1] > 10).mean())
    together = post.within_correlation({"Days": [0, 9]}, draws=True).to_numpy()
    assert post.within_correlation({"Days": [0, 9]})["p_positive"].to_numpy() == pytest.approx(
        (together > 0).mean(axis=(0, 1))
    )
    assert "P(>0)" in str(post.summary()).split("Population-level")[1].splitlines()[1]


def test_parameters_of_families_that_can_be_negative_have_the_probability_of_a_number_above_zero():
    """Cutpoints and coefficients of a parameter's predictor can, a shape cannot."""
    rng = shifted.fixed_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 10).astype(str), "x": rng.normal(size=80)})
    data["grade"] = pd.Categorical(rng.choice(list("abc"), 80), list("abc"), ordered=True)
    data["n"] = rng.poisson(3.0, 80)
    settings = {"draws": 50, "tune": 100, "chains": 2, "random_seed": 1, "progressbar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graded = blm.Model("grade ~ x + (1 | g)", data, family="ordinal").fit(**settings)
        counted = blm.Model("n ~ x + (1 | g)", data, family="negbinomial").fit(**settings)
    cutpoints = graded.parameters("family")
    drawn = graded.draws("cutpoint")
    assert cutpoints["p_positive"].to_numpy() == pytest.approx((drawn > 0).mean(axis=(0, 1)))
    assert "p_positive" not in counted.parameters("family")
    rows = counted.tidy(["fixed", "family"]).set_index("term")["p_positive"]
    assert rows.isna().to_dict() == {"Intercept": False, "x": False, "shape": True}


def test_far_from_all_draws_there_is_no_ratio_of_densities(post):
    with pytest.warns(errors.NotEstimableWarning, match=r"\d draws of the posterior come close"):
        assert np.isnan(post.hypothesis("Days = -50")["bayes_factor"].iloc[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Days = 0, Days = 1", "no coefficients fulfil"),
        ("Intercept = Days, Days = 2, Intercept = 3", "no coefficients fulfil"),
        ("abs(Days) = 1", "sums of coefficients"),  # linear wherever Days is above zero
        ("sqrt(Days ** 2) = 1", "sums of coefficients"),
        ("cor(Intercept, Days | Subject) = 0", r"no 'cor\(Intercept, Days \| Subject\)' here, it is about fixed"),
        ("ranef(Days | Subject[308]) = 0", "it is about fixed effects: Intercept, Days"),
    ],
)
def test_equations_that_no_coefficients_fulfil_are_refused(model, text, message):
    with pytest.raises(errors.InputError, match=message):
        model.fit_reml().test(text)
    once, twice = (model.fit_reml().test(t) for t in ("Days = 10", "Days = 10, 2 * Days = 20"))
    assert once.iloc[0].tolist() == pytest.approx(twice.iloc[0].tolist())


def slow_chains(rng, count, phi=0.6, chains=4, draws=250):
    """Chains of an autoregression whose draws have the standard normal distribution (count, chains, draws)."""
    noise = rng.normal(size=(count, chains, draws)) * np.sqrt(1 - phi**2)
    values = np.empty_like(noise)
    values[..., 0] = rng.normal(size=(count, chains))
    for t in range(1, draws):
        values[..., t] = phi * values[..., t - 1] + noise[..., t]
    return values


def test_monte_carlo_errors_are_how_far_repeated_samplers_lie_apart():
    """Of chains that move slowly, too: 120 of them tell a spread to 7 %."""
    statement = parse("x > 0.5, x = 0.5", ["x"], "hypothesis")
    chains = slow_chains(shifted.fixed_rng(11), 120)
    before = shifted.fixed_rng(12).normal(0, 2, (120, 1, 2000))
    for each, value, error in ((0, "probability", "p_mcse"), (0, "bayes_factor", "bf_mcse")) + (
        (1, "bayes_factor", "bf_mcse"),
    ):
        found = [_evidence(statement[each], a - 0.5, b - 0.5) for a, b in zip(chains, before, strict=True)]
        spread = np.std([one[value] for one in found])
        assert np.mean([one[error] for one in found]) == pytest.approx(spread, rel=0.25), (value, error)
    exact = stats.norm.pdf(0.5) / stats.norm(0, 2).pdf(0.5)
    assert np.mean([one["bayes_factor"] for one in found]) == pytest.approx(exact, rel=0.05)


def test_a_probability_of_one_has_an_error_too(post):
    found = post.hypothesis("Days > -100").iloc[0]
    assert found["probability"] == 1.0 and 0.0 < found["p_mcse"] < 1e-3
    assert np.isinf(found["bayes_factor"]) or found["bayes_factor"] > 1


def test_effects_of_levels_can_be_asked_about(post):
    beta, b = post.draws("beta"), post.draws(post.design.names.b["Subject"])
    level = list(map(str, post.design.groups[0].levels)).index("372")
    text = "ranef(Days | Subject[372]) < 0, coef(Days|Subject[372]) > coef(Days | Subject[308])"
    found = post.hypothesis([text, "coef(Intercept | Subject[372]) > 260"])
    slopes = beta[..., 1] + b[..., level, 1]
    first = list(map(str, post.design.groups[0].levels)).index("308")
    wanted = [b[..., level, 1] < 0, slopes > beta[..., 1] + b[..., first, 1], beta[..., 0] + b[..., level, 0] > 260]
    np.testing.assert_allclose(found["probability"], [each.mean() for each in wanted])
    odds = found["probability"].iloc[0] / (1 - found["probability"].iloc[0])
    assert found["bayes_factor"].iloc[0] == pytest.approx(odds, rel=0.1)  # before the data either sign is as likely
    assert post.hypothesis("ranef(Days | Subject[372]) = 0")["bayes_factor"].notna().all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ranef(Days | Subject[3099]) > 0", r"no level '3099'; did you mean '309'"),
        ("coef(Dayz | Subject[309]) > 0", r"no coef 'Dayz'; did you mean 'Days'"),
        ("ranef(Days | Subjects[309]) > 0", r"no grouping factor 'Subjects'; did you mean 'Subject'"),
        ("ranef(Days) > 0", r"written ranef\(Intercept \| Subject\[308\]\)"),
        ("coef(Days | Subject) > 0", r"written coef\(Intercept \| Subject\[308\]\)"),
    ],
)
def test_levels_that_are_not_there_are_refused(post, text, message):
    with pytest.raises(errors.InputError, match=message):
        post.hypothesis(text)


def test_priors_of_effects_nobody_asks_about_are_not_drawn(model):
    """Twenty thousand draws of the effects of all levels would be gigabytes where there are thousands of these."""
    design, priors = model.design, model.priors
    every = prior_draws(design, priors, draws=50, random_seed=1)
    some = prior_draws(design, priors, draws=50, random_seed=1, effects_of=())
    assert set(every) - set(some) == {design.names.b["Subject"]}
    for name, values in some.items():
        np.testing.assert_array_equal(values, every[name])
