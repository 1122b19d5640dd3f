"""Families and links: inverse pairs, slopes, defaults, and where the default priors get their place and scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from plain import FAMILIES
from scipy import special, stats

from bayeslmm.design.build import build_design
from bayeslmm.design.priors import resolve_priors
from bayeslmm.errors import InputError
from bayeslmm.families import GAUSSIAN, LINKS, family_of

PROBABILITIES = ("logit", "probit", "cloglog", "cauchit")
FIRST = {
    "gaussian": "identity",
    "student_t": "identity",
    "lognormal": "identity",
    "bernoulli": "logit",
    "binomial": "logit",
    "poisson": "log",
    "negbinomial": "log",
    "gamma": "log",  # R's is 1/η, which half of the normal random effects make negative
    "beta": "logit",
    "ordinal": "logit",
}
PARAMETERS = {
    "gaussian": ("sigma",),
    "student_t": ("sigma", "nu"),
    "lognormal": ("sigma",),
    "bernoulli": (),
    "binomial": (),
    "poisson": (),
    "negbinomial": ("shape",),
    "gamma": ("shape",),
    "beta": ("phi",),
    "ordinal": ("cutpoint",),
}
PAIRS = [(family, link) for family, kind in FAMILIES.items() for link in kind.links]


def etas(link):
    """Linear predictors on which a link is one to one."""
    if link == "sqrt":
        return np.linspace(0.05, 4.0, 41)
    if link == "inverse":
        return np.concatenate([-np.linspace(0.2, 4.0, 20), np.linspace(0.2, 4.0, 20)])
    return np.linspace(-3.0, 3.0, 41)


# -- links


@pytest.mark.parametrize("link", LINKS)
def test_both_directions_are_inverse(link):
    family = next(family_of(f, k) for f, k in PAIRS if k == link)
    eta = etas(link)
    # cloglog at 3 leaves 2e-9 of a probability below one, known to 1e-16: seven digits of its log
    np.testing.assert_allclose(family.eta(family.mean(eta)), eta, rtol=1e-6, atol=1e-12)
    mean = np.linspace(0.001, 0.999, 41)
    np.testing.assert_allclose(family.mean(family.eta(mean)), mean, rtol=1e-12)


@pytest.mark.parametrize("link", LINKS)
def test_slope_is_that_of_differences(link):
    family = next(family_of(f, k) for f, k in PAIRS if k == link)
    eta, h = etas(link), 1e-5
    differences = (family.mean(eta + h) - family.mean(eta - h)) / (2 * h)
    # truncation h² μ'''/6: a part of 3e-9 for 1/η at 0.2; rounding 1e-16/h
    np.testing.assert_allclose(family.slope(eta), differences, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(
    ("link", "distribution"),
    [("logit", stats.logistic), ("probit", stats.norm), ("cloglog", stats.gumbel_l), ("cauchit", stats.cauchy)],
)
def test_links_of_probabilities_are_distribution_functions(link, distribution):
    eta = np.array([-30.0, -8.0, -1.0, 0.0, 2.0, 30.0])
    family = family_of("bernoulli", link)
    # the arctangent of a far tail is a difference from 1/2, good to 1e-16
    np.testing.assert_allclose(family.mean(eta), distribution.cdf(eta), rtol=1e-10, atol=1e-16)
    np.testing.assert_allclose(family.slope(eta), distribution.pdf(eta), rtol=1e-10, atol=1e-16)
    if link != "cauchit":  # which has no sd
        assert LINKS[link].latent_sd == pytest.approx(distribution.std(), rel=1e-12)


def test_means_of_lists_are_floats():
    assert family_of("poisson").mean([0, 1]).dtype == np.float64
    assert float(family_of("poisson").eta(1)) == 0.0


# -- names


def test_every_written_family_is_tested_here():
    assert set(FAMILIES) == set(FIRST) == set(PARAMETERS)
    assert {link for _, link in PAIRS} == set(LINKS)


@pytest.mark.parametrize("name", FIRST)
def test_defaults(name):
    family = family_of(name)
    assert (family.name, family.link) == (name, FIRST[name])
    assert family == family_of(name, FIRST[name])
    assert family.parameters == PARAMETERS[name]
    assert str(family) == f"{name} ({FIRST[name]} link)"


def test_without_a_name_it_is_gaussian():
    assert GAUSSIAN == family_of("gaussian")


@pytest.mark.parametrize("name", ["normal", "Gaussian", "", "t", None, 3, ["poisson"], GAUSSIAN])
def test_an_unknown_family_lists_those_that_exist(name):
    with pytest.raises(InputError) as caught:
        family_of(name)
    assert all(known in str(caught.value) for known in FIRST)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", FIRST)
def test_an_unknown_link_lists_those_of_the_family(name):
    with pytest.raises(InputError) as caught:
        family_of(name, "nolink")
    told = str(caught.value)
    assert f"links of {name} are {', '.join(FAMILIES[name].links)}" in told and "'nolink'" in told


@pytest.mark.parametrize(
    ("name", "link"), [("lognormal", "log"), ("poisson", "logit"), ("bernoulli", "log"), ("gamma", "sqrt")]
)
def test_links_of_other_families_are_refused(name, link):
    with pytest.raises(InputError, match=f"{link}.*{name}"):
        family_of(name, link)


def test_which_families_are_normal_and_which_have_a_residual():
    normal = {pair for pair in PAIRS if family_of(*pair).is_normal}
    assert normal == {("gaussian", "identity"), ("lognormal", "identity")}
    assert {f for f, link in PAIRS if family_of(f, link).has_residual} == {"gaussian", "student_t", "lognormal"}


# -- where the prior of the intercept sits, and the scale of all


COUNTS = np.array([1.0, 2.0, 3.0, 6.0])  # mean 3, sum 12
SPREAD = np.sqrt(14.0 / 3.0)  # its sd: deviations −2, −1, 0, 3 over n − 1
SHARES = np.array([0.1, 0.2, 0.6, 0.7])  # mean 0.4
TRIALS = np.array([4.0, 4.0, 4.0, 8.0])  # sum 20

CENTRES = [
    ("gaussian", "identity", COUNTS, None, 3.0),
    ("gaussian", "log", COUNTS, None, np.log(3.0)),
    ("gaussian", "inverse", COUNTS, None, 1 / 3),
    ("student_t", "identity", COUNTS, None, 3.0),
    ("lognormal", "identity", COUNTS, None, np.log(36.0) / 4),  # mean of logs
    ("bernoulli", "logit", np.array([0.0, 1, 1, 1]), None, special.logit(0.7)),  # 3.5 of 5
    ("bernoulli", "probit", np.array([0.0, 1, 1, 1]), None, stats.norm.ppf(0.7)),
    ("binomial", "logit", COUNTS, TRIALS, special.logit(12.5 / 21)),
    ("binomial", "cauchit", COUNTS, TRIALS, stats.cauchy.ppf(12.5 / 21)),
    ("poisson", "log", COUNTS, None, np.log(12.5 / 4)),
    ("poisson", "sqrt", COUNTS, None, np.sqrt(12.5 / 4)),
    ("poisson", "identity", COUNTS, None, 12.5 / 4),
    ("negbinomial", "log", COUNTS, None, np.log(12.5 / 4)),
    ("gamma", "log", COUNTS, None, np.log(3.0)),
    ("gamma", "inverse", COUNTS, None, 1 / 3),
    ("gamma", "identity", COUNTS, None, 3.0),
    ("beta", "logit", SHARES, None, special.logit(0.4)),
    ("beta", "cloglog", SHARES, None, np.log(-np.log(0.6))),
    ("ordinal", "logit", COUNTS, None, 0.0),
    ("ordinal", "probit", COUNTS, None, 0.0),
]


@pytest.mark.parametrize(("name", "link", "y", "trials", "expected"), CENTRES)
def test_centre(name, link, y, trials, expected):
    assert family_of(name, link).centre(y, trials) == pytest.approx(expected, rel=1e-12)


SCALES = [
    ("gaussian", "identity", SPREAD, "sd(y)"),
    ("gaussian", "log", 1.0, "log unit"),
    ("gaussian", "inverse", SPREAD / 9, "sd(y) on the inverse scale"),  # |d(1/μ)/dμ| = 1/μ²
    ("student_t", "identity", SPREAD, "sd(y)"),
    ("lognormal", "identity", np.std(np.log(COUNTS), ddof=1), "sd(log y)"),
    ("poisson", "log", 1.0, "log unit"),
    ("poisson", "sqrt", SPREAD / (2 * np.sqrt(3)), "sd(y) on the sqrt scale"),
    ("poisson", "identity", SPREAD, "sd(y) on the identity scale"),
    ("negbinomial", "log", 1.0, "log unit"),
    ("gamma", "log", 1.0, "log unit"),
    ("gamma", "inverse", SPREAD / 9, "sd(y) on the inverse scale"),
    ("gamma", "identity", SPREAD, "sd(y) on the identity scale"),
    # the sd behind a threshold over the logistic's π/√3; a Cauchy variable has none and takes the logistic's
    *[
        (name, link, ratio, "log odds")
        for name in ("bernoulli", "binomial", "beta", "ordinal")
        for link, ratio in (("logit", 1.0), ("probit", np.sqrt(3) / np.pi), ("cloglog", 0.5**0.5), ("cauchit", 1.0))
    ],
]


@pytest.mark.parametrize(("name", "link", "expected", "unit"), SCALES)
def test_scale(name, link, expected, unit):
    scale, told, _ = family_of(name, link).scale(COUNTS)
    assert scale == pytest.approx(expected, rel=1e-12) and told == unit


@pytest.mark.parametrize(("name", "link"), [pair for pair in PAIRS if pair[0] not in ("gaussian", "student_t")])
def test_extreme_responses_have_a_finite_centre_and_scale(name, link):
    """No event at all, events only, and the same everywhere."""
    responses = {
        **dict.fromkeys(("poisson", "negbinomial"), (0, 4)),
        **dict.fromkeys(("gamma", "lognormal"), (1e-9, 1e9)),
        **{"bernoulli": (0, 1), "binomial": (0, 5), "beta": (1e-9, 1 - 1e-9), "ordinal": (0, 3)},
    }[name]
    trials = np.full(6, 5.0) if name == "binomial" else None
    for value in responses:
        y = np.full(6, float(value))
        family = family_of(name, link)
        assert np.isfinite(family.centre(y, trials))
        scale = family.scale(y)[0]
        assert np.isfinite(scale) and (scale > 0 or name == "lognormal")  # of which a constant is refused


@pytest.mark.parametrize("name", ["gaussian", "student_t"])
def test_a_mean_without_a_logarithm_is_refused(name):
    with pytest.raises(InputError, match="mean of the response is -2, which has no logarithm"):
        family_of(name, "log").centre(np.array([-3.0, -1.0]), None)


@pytest.mark.parametrize("name", ["gaussian", "student_t"])
def test_a_mean_without_an_inverse_is_refused(name):
    with pytest.raises(InputError, match="mean of the response"):
        family_of(name, "inverse").centre(np.array([-1.0, 1.0]), None)


@pytest.mark.parametrize("name", ["gaussian", "student_t"])
@pytest.mark.parametrize("link", ["identity", "log", "inverse"])
def test_sigma_is_in_the_units_of_the_response(name, link):
    """An error of y does not pass through the link."""
    data = pd.DataFrame({"y": 100.0 * np.tile(COUNTS, 3), "g": np.arange(12) % 4})
    design = build_design("y ~ 1 + (1 | g)", data, family=family_of(name, link))
    sigma = dict(resolve_priors(design).get("sigma").params)["sigma"]
    assert sigma == pytest.approx(data["y"].std(), rel=1e-12)
