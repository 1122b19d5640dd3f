"""What must hold for every family and link in the table: what breaks a law, or lacks a part, cannot join it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

import bayeslmm.families as families
from bayeslmm.errors import NotAvailableError
from bayeslmm.families import BY_NUTS, FAMILIES, Family, family_of
from bayeslmm.families.densities import each_row, numbers

PAIRS = [(name, link) for name, kind in FAMILIES.items() for link in kind.links]
WITH_MEAN = [pair for pair in PAIRS if FAMILIES[pair[0]].has_mean]
TRIALS, CATEGORIES, WEIGHT = 6.0, 4, 1.7
POSITIVE = {"sigma": 0.6, "nu": 5.5, "zi": 0.3, "hu": 0.3}  # others 2.3: of a shape or a precision
CUTPOINTS = np.array([-0.8, 0.3, 1.4])


def parameters_of(family):
    """One value of each parameter."""
    if not family.positive_parameters:
        return {name: CUTPOINTS for name in family.parameters}
    return {name: np.array(POSITIVE.get(name, 2.3)) for name in family.parameters}


def vector(family, parameters):
    return np.concatenate([np.atleast_1d(parameters[name]) for name in family.parameters] or [np.zeros(0)])


def linear_predictors(link):
    return np.array([0.4, 0.7, 1.3]) if link in ("inverse", "sqrt", "identity") else np.array([-0.7, 0.2, 0.9])


def log_density(family, y, eta, parameters, *, weight=1.0):
    """log p(y | η) of responses (n,), in the units of y."""
    y = np.asarray(y, dtype=float)
    trials, weights = np.full(len(y), TRIALS if family.has_trials else 1.0), np.full(len(y), weight)
    out = np.empty(len(y))
    working = np.ascontiguousarray(family.working_response(y))
    each_row(
        *numbers(family),
        family.normaliser_takes_y,
        working,
        trials,
        weights,
        np.full(len(y), eta),
        vector(family, parameters),
        out,
    )
    return out + family.constants(y, trials, weights)


def outcomes(family):
    """All responses that matter: every category, count or number of successes; of a continuous one None."""
    if not family.is_discrete:
        return None
    if family.has_categories:
        return np.arange(CATEGORIES, dtype=float)
    if family.has_trials:
        return np.arange(TRIALS + 1.0)
    return np.arange(2.0) if family.is_binary else np.arange(family.least, 400.0)


def support(family):
    """Ends of the support of a continuous response, as `Family.impossible` has it."""
    below, above = family.impossible(np.array([-1.0, 2.0]))
    return (0.0 if below else -np.inf), (1.0 if above else np.inf)


def expectation(family, of, eta, parameters, *, weight=1.0):
    """E of(y) by summing or integrating the density."""
    values = outcomes(family)
    if values is not None:
        return float(of(values) @ np.exp(log_density(family, values, eta, parameters, weight=weight)))

    def integrand(y):
        y = np.array([y])
        return float(of(y)[0] * np.exp(log_density(family, y, eta, parameters, weight=weight)[0]))

    low, high = support(family)
    middle = 0.5 if high == 1.0 else 1.0
    return sum(integrate.quad(integrand, *ends, limit=200)[0] for ends in ((low, middle), (middle, high)))


def spread(family, parameters, weight=1.0):
    """The parameters as `cdf` and `draw` take them: sigma divided by the weights."""
    return parameters | ({"sigma": parameters["sigma"] / np.sqrt(weight)} if "sigma" in parameters else {})


# -- the table


def test_every_file_of_a_family_is_in_the_table():
    """One file a family: what defines one is registered, under the name of its file."""
    folder = Path(families.__file__).parent
    defined = {
        path.stem
        for path in folder.glob("*.py")
        if "(Family):" in path.read_text() or "    name = " in path.read_text()
    }
    assert defined == {*FAMILIES, *BY_NUTS}
    assert all(Path(inspect.getfile(kind)).stem == name for name, kind in (FAMILIES | BY_NUTS).items())


def test_a_family_that_lacks_a_part_cannot_be_made():
    class Half(Family):
        name, links = "half", ("identity",)

    with pytest.raises(TypeError, match="abstract.*cdf.*draw.*graph.*variance"):
        Half(link="identity")


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_family_says_of_itself_is_whole(name):
    kind = FAMILIES[name]
    family = kind(link=kind.links[0])
    assert hasattr(kind, "row") and kind.__doc__ and f"``{name}``" not in kind.__doc__
    assert name in (families.__doc__ or "")  # the table that users read
    assert bool(kind.distribution) == kind.has_mean
    assert bool(kind.needs) == bool(np.any(family.impossible(np.array([-1.5, 0.0, 0.5, 2.0]))))
    y = np.array([0.2, 0.4, 0.7]) if not kind.is_discrete else np.array([0.0, 1.0, 1.0])
    for parameter in kind.every_parameter:
        default = family.default_prior(parameter, y)
        assert default.reason and all(np.isfinite(value) for value in default.arguments.values())
        if kind.positive_parameters:
            assert family.guess(parameter, 0.5) > 0.0


# -- the density


@pytest.mark.parametrize("shape", [0.05, 1.0, 300.0])
@pytest.mark.parametrize("eta", [-16.0, -20.0, -30.0, -36.0])
def test_what_is_rarely_more_than_zero_is_one(eta, shape):
    """log P(1 | y > 0) = −μ (1 + 1/shape) / 2 + O(μ²); the logs that make it up are of the size of η."""
    family = FAMILIES["truncated_negbinomial"](link="log")
    row = FAMILIES["truncated_negbinomial"].row
    value, by_eta, by_shape, _ = row(numbers(family)[1], 1.0, TRIALS, WEIGHT, eta, np.array([shape]))
    slope = -np.exp(eta) * (1.0 + 1.0 / shape) / 2.0
    assert value + np.log(shape) == pytest.approx(slope, rel=1e-5, abs=1e-13)
    assert by_eta == pytest.approx(slope, rel=1e-5, abs=1e-13)
    assert by_shape + 1.0 / shape == pytest.approx(np.exp(eta) / (2.0 * shape**2), rel=1e-5, abs=1e-13 / shape)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_derivatives_are_those_of_differences(name, link):
    family, kind = family_of(name, link), FAMILIES[name]
    number, parameters = numbers(family)[1], vector(family, parameters_of(family))
    values = outcomes(family)
    responses = values[:5] if values is not None else (0.3, 0.8) if support(family)[1] == 1.0 else (0.3, 1.9)
    h = 1e-6

    def value(eta, p, y):
        return kind.row(number, y, TRIALS, WEIGHT, eta, p)[0]

    for eta in linear_predictors(link):
        for y in map(float, family.working_response(np.array(responses))):
            _, by_eta, *by = kind.row(number, y, TRIALS, WEIGHT, eta, parameters)
            # rounding 1e-16 |value|/h and truncation h² of the third derivative, both some 1e-9
            assert by_eta == pytest.approx(
                (value(eta + h, parameters, y) - value(eta - h, parameters, y)) / (2 * h), rel=1e-6, abs=1e-7
            )
            if family.has_categories:
                around = [(k, part) for k, part in zip((int(y), int(y) - 1), by, strict=True) if 0 <= k < 3]
            else:
                around = list(zip(range(len(parameters)), by, strict=False))
            for k, part in around:
                step = h * np.eye(len(parameters))[k]
                difference = value(eta, parameters + step, y) - value(eta, parameters - step, y)
                assert part == pytest.approx(difference / (2 * h), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_bends_are_differences_of_one_another(name, link):
    """Each derivative by η is that of the one before, and those by a parameter are differences in that parameter."""
    family, kind = family_of(name, link), FAMILIES[name]
    number, parameters = numbers(family)[1], vector(family, parameters_of(family))
    values = outcomes(family)
    responses = values[:5] if values is not None else (0.3, 0.8) if support(family)[1] == 1.0 else (0.3, 1.9)
    h = 1e-5

    def bends(eta, p, y):
        return np.array(kind.bends(number, y, TRIALS, WEIGHT, eta, p))

    for eta in linear_predictors(link):
        for y in map(float, family.working_response(np.array(responses))):
            here = bends(eta, parameters, y)
            assert here[0] == pytest.approx(kind.row(number, y, TRIALS, WEIGHT, eta, parameters)[0], rel=1e-13)
            along = (bends(eta + h, parameters, y) - bends(eta - h, parameters, y)) / (2 * h)
            # truncation h² of a fourth derivative, rounding 1e-16/h of the derivatives: both some 1e-10 of their size
            size = 1e-7 * (1.0 + np.abs(here[:4]).max())
            np.testing.assert_allclose(here[1:4], along[:3], rtol=1e-7, atol=size)
            if family.has_categories:
                around = [(k, part) for k, part in zip((int(y), int(y) - 1), (4, 7), strict=True) if 0 <= k < 3]
            else:
                around = list(zip(range(len(parameters)), (4, 7), strict=False))
            for k, part in around:
                step = h * np.eye(len(parameters))[k]
                by = (bends(eta, parameters + step, y) - bends(eta, parameters - step, y)) / (2 * h)
                np.testing.assert_allclose(here[part : part + 3], by[:3], rtol=1e-7, atol=size)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_the_density_is_one_in_sum_and_its_distribution_function_is_cdf(name, link):
    family = family_of(name, link)
    parameters, weight = parameters_of(family), WEIGHT if family.has_residual else 1.0
    trials = np.array([TRIALS]) if family.has_trials else None
    low, high = (-np.inf, np.inf) if family.is_discrete else support(family)
    for eta in linear_predictors(link)[:2]:
        # quad's own tolerance is 1.5e-8; counts up to 400 leave out less than 1e-12
        assert expectation(family, np.ones_like, eta, parameters, weight=weight) == pytest.approx(1.0, abs=1e-7)
        for y in outcomes(family)[:4] if family.is_discrete else (0.35, 0.8):
            below, up_to = family.cdf(np.array([y]), np.array([eta]), spread(family, parameters, weight), trials)
            if family.is_discrete:
                mass = np.exp(log_density(family, [y], eta, parameters, weight=weight)[0])
                assert up_to[0] - below[0] == pytest.approx(mass, abs=1e-10)
            else:
                part, _ = integrate.quad(
                    lambda v, eta=eta: np.exp(log_density(family, [v], eta, parameters, weight=weight)[0]), low, y
                )
                assert up_to[0] == below[0] == pytest.approx(part, abs=1e-7)
    assert high > low


@pytest.mark.parametrize(("name", "link"), WITH_MEAN)
def test_moments_are_those_of_the_density(name, link):
    family = family_of(name, link)
    parameters, weight = parameters_of(family), WEIGHT if family.has_residual else 1.0
    trials, m = (np.array([TRIALS]), TRIALS) if family.has_trials else (None, 1.0)
    weights = np.array([weight]) if family.has_residual else None
    for eta in linear_predictors(link)[:2]:
        mean = family.expected(np.array([eta]), parameters, weights)[0]
        assert expectation(family, lambda y: y / m, eta, parameters, weight=weight) == pytest.approx(mean, rel=1e-6)
        variance = family.variance(np.array([mean]), parameters, trials=trials, weights=weights)[0]
        second = expectation(family, lambda y, mean=mean: (y / m - mean) ** 2, eta, parameters, weight=weight)
        assert second == pytest.approx(variance, rel=1e-5)  # heavy tails of t(5.5): quad stops at 1e-6


@pytest.mark.parametrize(("name", "link"), WITH_MEAN)
def test_the_mean_hangs_on_the_parameters_that_a_family_names(name, link):
    family = family_of(name, link)
    parameters, eta = parameters_of(family), linear_predictors(link)
    mean = family.expected(eta, parameters)
    moved = {
        key for key in parameters if np.any(family.expected(eta, parameters | {key: 1.1 * parameters[key]}) != mean)
    }
    assert moved == family.mean_parameters


@pytest.mark.parametrize("name", [name for name, kind in FAMILIES.items() if not kind.has_mean])
def test_without_a_mean_there_is_no_variance(name):
    family = family_of(name)
    with pytest.raises(NotAvailableError):
        family.variance(np.zeros(1), parameters_of(family))


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_draws_follow_the_distribution_function(name, link):
    """Normal scores of draws are standard normal: by Kolmogorov's test, alarm once in a million families."""
    family = family_of(name, link)
    parameters, n = parameters_of(family), 4000
    rng = np.random.default_rng(1)
    eta = np.resize(linear_predictors(link), n)
    if family.has_mean:
        parameters = {key: np.broadcast_to(value, n) for key, value in parameters.items()}
    trials = np.full(n, TRIALS) if family.has_trials else None
    y = family.draw(eta, parameters, trials, rng)
    assert y.shape == (n,)
    if family.mean_is_probability and not family.is_discrete:
        y = np.clip(y, 1e-300, 1.0 - 1e-16)  # shares may round to 0 or 1
    assert not family.impossible(y / TRIALS if family.has_trials else y).any()
    scores = family.normal_scores(y, eta, parameters, trials, rng)
    assert stats.kstest(scores, "norm").pvalue > 1e-6
    # and the test can fail: of draws around another linear predictor
    assert stats.kstest(family.normal_scores(y, eta + 0.5, parameters, trials, rng), "norm").pvalue < 1e-6


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_the_graph_is_the_density(name, link):
    import pymc as pm
    import pytensor

    family = family_of(name, link)
    parameters, eta = parameters_of(family), linear_predictors(link)
    values = outcomes(family)
    y = np.array([0.3, 0.8, 0.6]) if values is None else values[[0, 1, min(2, len(values) - 1)]]
    weight = WEIGHT if family.has_residual else 1.0
    with pm.Model() as model:
        family.graph(
            pytensor.tensor.as_tensor(eta),
            {key: pytensor.tensor.as_tensor(p) for key, p in parameters.items()},
            trials=np.full(3, TRIALS) if family.has_trials else None,
            weights=np.full(3, weight) if family.has_residual else None,
            categories=np.arange(CATEGORIES),
            options={"observed": y},
        )
    logp = model.logp(sum=False)[0].eval(mode="FAST_COMPILE")
    expected = [log_density(family, [value], e, parameters, weight=weight)[0] for value, e in zip(y, eta, strict=True)]
    np.testing.assert_allclose(logp, expected, rtol=1e-9, atol=1e-10)


def test_no_room_but_the_families_asks_for_a_name():
    """A family's name is printed, saved and looked up; what it can do is asked of its capabilities."""
    package = Path(families.__file__).parents[1]
    names = "|".join({*FAMILIES, *BY_NUTS} - {"beta"})  # which the fixed effects are called as well
    asked = re.compile(rf"family\.name\s*(==|!=|in\b|not in\b)|(==|!=)\s*[\"']({names})[\"']")
    found = [
        f"{path.relative_to(package)}:{number}"
        for path in sorted(package.rglob("*.py"))
        if path.parent.name != "families"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asked.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(("name", "link"), [(n, link) for n, link in PAIRS if family_of(n, link).is_log_concave])
def test_log_densities_that_are_said_to_be_concave_are(name, link):
    """Second derivatives by η are not positive, far out as well; rounding next to zero is let pass."""
    from bayeslmm.families.densities import each_bend

    family = family_of(name, link)
    rng = np.random.default_rng(1)
    eta = rng.uniform(-12.0, 6.0, 2000)
    y = outcomes(family)
    y = rng.choice(y[:40], eta.size) if y is not None else rng.gamma(1.0, 3.0, eta.size)
    trials = np.full(eta.size, TRIALS if family.has_trials else 1.0)
    out = np.empty((3, eta.size))
    each_bend(*numbers(family), y, trials, np.ones(eta.size), eta, vector(family, parameters_of(family)), out)
    finite = np.isfinite(out[2])
    assert finite.mean() > 0.99 and np.all(out[2][finite] <= 1e-12)


def test_a_density_of_its_own_does_not_inherit_that_it_is_concave():
    assert family_of("bernoulli").is_log_concave and family_of("poisson").is_log_concave
    assert not family_of("beta_binomial").is_log_concave and not family_of("nbinom1").is_log_concave
