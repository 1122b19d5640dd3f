"""The iterative solver beside elimination: solutions, traces, estimates, and whether its errors are what they say."""

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng
from streaming.chunked import in_chunks

import bayeslmm as blm
from bayeslmm.engine import iterative, iterative_fit, layout, pls, reml
from bayeslmm.engine.scaling import Problem, scale
from bayeslmm.errors import InputError, NotAvailableError, SingularFitWarning

PROBES = 200
FORMULAS = ("y ~ x + (1 | a) + (1 | b)", "y ~ x + v + (x | a) + (x || b)", "y ~ x + (1 | a) + (x | b) + (1 | c)")


def table(rng, rows=1200, levels=(80, 50, 12)):
    """Three crossed factors; rows have weights, and ``v`` is of the levels of the second factor."""
    codes = [np.concatenate([np.arange(J), rng.integers(0, J, rows - J)]) for J in levels]
    x, v = rng.normal(3.0, 1.0, rows), rng.normal(size=levels[1])
    effects = [rng.normal(size=(J, 2)) * (1.0, 0.5) for J in levels]
    y = 1.0 + x + 0.5 * v[codes[1]] + rng.normal(0.0, 1.5, rows)
    for code, b in zip(codes, effects, strict=True):
        y = y + b[code, 0] + b[code, 1] * x
    weights = rng.uniform(0.5, 2.0, rows)
    return pd.DataFrame({"y": y, "x": x, "v": v[codes[1]], "w": weights} | dict(zip("abc", codes, strict=True)))


def problem_of(formula, data, **options):
    return Problem.of(blm.Model(formula, data, **options).design)


def scaled_and_lams(formula, rng, *, singular=False):
    problem = problem_of(formula, table(rng), weights="w")
    scaled = scale(problem)
    lams = []
    for template in problem.templates:
        theta = np.where(
            template.is_diagonal, rng.uniform(0.3, 1.5, template.n_theta), rng.normal(size=template.n_theta)
        )
        lams.append(template.factor(theta))
    if singular:
        lams[0][-1, :] = 0.0
        lams[1] = 0.0 * lams[1]
    return scaled, lams


def standard_errors(values, exact):
    """How many of its standard errors the mean of values (N, ...) lies from a number; of rounding none."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) + 1e-9 * np.abs(exact) + 1e-9
    return np.abs((values.mean(axis=0) - exact) / error).max()


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("singular", [False, True], ids=["inside", "at a variance of zero"])
def test_solutions_are_those_of_elimination_and_traces_within_their_errors(formula, singular):
    scaled, lams = scaled_and_lams(formula, np.random.default_rng(7), singular=singular)
    direct = pls.reduce(layout.arrange(scaled.cross), lams)
    by_probes = iterative.reduce(iterative.halved(scaled.cross), lams, probes=PROBES)
    # conjugate gradients end at 1e-9 of the right-hand side, times the condition of what is left
    assert np.allclose(by_probes.XyVXy, direct.XyVXy, rtol=1e-6, atol=1e-6 * np.abs(direct.XyVXy).max())
    for one, other in zip(iterative.projected(by_probes), pls.projected(direct), strict=True):
        assert np.allclose(one, other, rtol=1e-6, atol=1e-6 * np.abs(other).max())
    inverse = pls.inverse(direct)
    # six standard errors of some ten numbers: once in millions of draws
    assert standard_errors(by_probes.traces.log_dets, direct.log_det_M) < 6.0
    for values, exact in zip(by_probes.traces.Gs, inverse.G, strict=True):
        assert standard_errors(values, exact) < 6.0
    for one, other in zip(by_probes.traces.diagonal, inverse.diagonal, strict=True):
        assert np.allclose(one, other, atol=0.05)  # of M⁻¹, whose entries are up to one; by 200 probes some 0.01


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("restricted", [True, False], ids=["REML", "ML"])
def test_estimates_are_those_of_elimination_within_the_stated_error(formula, restricted):
    problem = problem_of(formula, table(np.random.default_rng(8)))
    direct = reml.fit(problem, reml=restricted)
    fit = iterative_fit.fit(problem, reml=restricted, probes=PROBES, judged=True)
    told = fit.iterative

    def within(one, other, away):
        error = np.sqrt(np.sum((away - one) ** 2, axis=0))
        assert (error > 0.0).all()
        return np.all(np.abs(one - other) <= 6.0 * error + 1e-6 * np.abs(other))

    assert fit.status == direct.status == "converged"
    assert within(fit.beta, direct.beta, told.betas)
    assert within(fit.sigma, direct.sigma, told.sigmas)
    for k, (one, other) in enumerate(zip(fit.covariances, direct.covariances, strict=True)):
        free = np.abs(other) > 0.0  # between terms apart there is nothing
        assert within(one[free], other[free], told.covariances[k][:, free])
    assert abs(fit.criterion - direct.criterion) <= 6.0 * told.criterion_error
    for one, other in zip(fit.modes, direct.modes, strict=True):
        assert np.allclose(one, other, atol=0.01 * np.abs(other).max())
    for one, other in zip(fit.mode_covariances, direct.mode_covariances, strict=True):
        assert np.allclose(one, other, atol=0.05 * np.abs(other).max())
    for one, other in zip(fit.iterative.mode_slopes, reml.mode_slopes(problem, direct), strict=True):
        assert np.allclose(one, other, atol=0.01 * np.abs(other).max())


def test_the_stated_errors_are_how_far_other_signs_lead(monkeypatch):
    """Few levels with few rows each, where the probes tell little: the largest errors there are."""
    problem = problem_of("y ~ x + (1 | a) + (1 | b)", table(fixed_rng(9), rows=90, levels=(35, 25, 5)))
    fits = []
    for seed in range(24):
        monkeypatch.setattr(iterative, "SEED", seed)
        fits.append(iterative_fit.fit(problem, reml=True, probes=8))
    values = np.array([np.concatenate([c.ravel() for c in fit.covariances]) for fit in fits])
    stated = np.array(
        [
            [np.sqrt(np.sum((away - c) ** 2)) for away, c in zip(f.iterative.covariances, f.covariances, strict=True)]
            for f in fits
        ]
    )
    ratio = values.std(axis=0, ddof=1) / np.sqrt((stated**2).mean(axis=0))
    assert np.all((ratio > 0.5) & (ratio < 1.8)), ratio  # of 24 fits the sd is known to 15 %, of 8 probes to 25 % a fit
    criteria = np.array([fit.criterion for fit in fits])
    told = np.sqrt(np.mean([fit.iterative.criterion_error**2 for fit in fits]))
    assert 0.5 < criteria.std(ddof=1) / told < 1.8


def test_a_variance_of_zero_is_found():
    data = table(np.random.default_rng(10))
    data["y"] = np.random.default_rng(11).normal(size=len(data))
    model = blm.Model("y ~ x + (1 | a) + (1 | b)", data)
    with pytest.warns(SingularFitWarning):
        direct = model.fit_reml()
    with pytest.warns(SingularFitWarning):
        fit = model.fit_reml(solver="iterative")
    assert fit.solution.singular == direct.solution.singular
    for name, cov in direct.var_corr().items():
        assert np.allclose(fit.var_corr()[name], cov, atol=1e-4)


@pytest.fixture
def small(monkeypatch):
    """As if 20 dense columns were too many."""
    monkeypatch.setattr(layout, "MOST_DENSE", 20)


DATA = table(fixed_rng(12))


def test_it_is_chosen_where_the_rest_would_not_fit_and_says_so(small):
    model = blm.Model("y ~ x + (1 | a) + (1 | b)", DATA)
    fit = model.fit_reml()
    assert "conjugate gradients with 16 random probes" in fit.verdict
    assert "Monte Carlo error" in str(fit.summary())
    assert {"mcse"} <= {*fit.fixef(), *fit.variance_components(), *fit.icc(), *fit.r2()}
    assert fit.refit(DATA["y"] + 1.0).solution.probes == iterative_fit.PROBES
    nested = blm.Model(
        "y ~ x + (1 | a) + (1 | top)", DATA.assign(top=DATA["a"] // 2, y=DATA["y"] + 3.0 * np.sin(DATA["a"] // 2))
    )
    assert nested.fit_reml().solution.probes == 0  # nested levels leave no rest


def test_what_needs_elimination_is_refused_with_the_reason(small):
    model = blm.Model("y ~ x + (1 | a) + (1 | b)", DATA)
    fit = model.fit_reml()
    for refused in (
        lambda: model.fit(draws=10),
        lambda: model.fit_reml(solver="direct"),
        lambda: fit.confint("profile"),
        lambda: fit.fixef(ddf="kr"),
        lambda: fit.predict(DATA, groups="observed", interval="plug-in"),
        lambda: fit.bootstrap(draws=2, cores=1, progressbar=False),
    ):
        with pytest.raises(NotAvailableError, match=r"80 and 50 levels are crossed.*50 columns"):
            refused()


def test_verbs_answer_without_elimination(small, tmp_path):
    fit = blm.Model("y ~ x + (x | a) + (1 | b)", DATA).fit_ml()
    layout.MOST_DENSE = 10_000
    direct = blm.Model("y ~ x + (x | a) + (1 | b)", DATA).fit_ml()
    layout.MOST_DENSE = 20
    close = {"rtol": 0.02, "atol": 1e-3}  # Monte Carlo, and degrees of freedom by the average information
    for verb in ("fixef", "ranef", "coef", "vcov"):
        one, other = (getattr(each, verb)().select_dtypes("number") for each in (fit, direct))
        for column in {"estimate", "std_error"} & {*other} or other:
            assert np.allclose(one[column], other[column], **close), (verb, column)
    assert np.allclose(fit.fixef()["df"], direct.fixef()["df"], rtol=0.1)
    assert np.allclose(fit.predict(DATA, groups="observed"), direct.predict(DATA, groups="observed"), **close)
    assert fit.tidy() is not None
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    assert again.verdict == fit.verdict
    pd.testing.assert_frame_equal(again.fixef(), fit.fixef())


def test_one_of_two_factors_is_left_out_by_elimination():
    """What is left has nothing dense, and the iterative solver does not take it."""
    model = blm.Model("y ~ x + (1 | a) + (1 | b)", DATA)
    one, other = (blm.ranova(model.fit_reml(solver=solver)).table for solver in ("iterative", "direct"))
    assert np.allclose(one["chisq"].dropna(), other["chisq"].dropna(), atol=0.05)  # Monte Carlo, of both likelihoods


def test_rows_in_chunks_give_the_same(small):
    memory, chunks = (blm.Model("y ~ x + (1 | a) + (1 | b)", each).fit_reml() for each in (DATA, in_chunks(DATA)))
    assert chunks.solution.probes == iterative_fit.PROBES
    assert np.allclose(memory.fixef(), chunks.fixef(), rtol=1e-5)
    assert np.isclose(memory.loglik, chunks.loglik, rtol=1e-9)


def test_more_probes_begin_with_the_same_and_err_less():
    problem = problem_of("y ~ x + (1 | a) + (1 | b)", DATA)
    halves = iterative.halved(scale(problem).cross)
    assert np.array_equal(halves.probes(9)[:, :4], halves.probes(4))
    few, many = (iterative_fit.fit(problem, reml=True, probes=n).iterative.criterion_error for n in (16, 400))
    assert many < few / 2.0  # five times less, by errors of which 16 probes tell a fifth


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"solver": "cg"}, "solver='cg': it is 'auto', 'direct', 'iterative'"),
        ({"solver": "iterative", "probes": 2}, "probes=2: a whole number from 4"),
        ({"solver": "iterative", "probes": 8.0}, "probes=8.0"),
        ({"probes": 8}, "probes=8: probes are those of solver='iterative'"),
    ],
)
@pytest.mark.parametrize("verb", ["fit_reml", "fit_ml"])
def test_options_at_fault_are_told(options, words, verb):
    with pytest.raises(InputError) as refused:
        getattr(blm.Model("y ~ x + (1 | a) + (1 | b)", DATA), verb)(**options)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("formula", "options", "words"),
    [
        ("y ~ x + (1 | a)", {}, "fewer than two grouping factors"),
        ("y ~ s(x) + (1 | a) + (1 | b)", {}, "smooth"),
        ("y ~ x + (1 | a) + cs(x | b)", {}, "other than us and diag"),
        ("y ~ x + (1 | a) + (1 | b)", {"sigma": "~ x"}, "parameters besides sigma"),
        ("y ~ x + (1 | a) + (1 | b)", {"se": "w"}, "residual sd is known"),
        ("y ~ x + (1 | a) + (1 | b)", {"priors": {"sigma": 1.0}}, "a number in priors="),
        ("c ~ x + (1 | a) + (1 | b)", {"family": "poisson"}, "for normal responses"),
    ],
)
def test_models_it_cannot_take_are_refused(formula, options, words):
    model = blm.Model(formula, DATA, **options)
    with pytest.raises(NotAvailableError, match=words):
        (model.fit_ml if "family" in options else model.fit_reml)(solver="iterative")


def test_levels_that_cannot_be_told_apart_are_refused():
    with pytest.raises(blm.errors.UnidentifiedTermError):
        blm.Model("y ~ x + (1 | a) + (1 | twin)", DATA.assign(twin=DATA["a"] + 5)).fit_reml(solver="iterative")


def test_conjugate_gradients_solve_and_see_what_is_no_covariance():
    rng = np.random.default_rng(13)
    root = rng.normal(size=(30, 30))
    A, B = root @ root.T + np.eye(30), rng.normal(size=(30, 3))
    B[:, 1] = 0.0
    steps = iterative.conjugate_gradients(lambda right: A @ right, B)
    assert np.allclose(A @ steps.solution, B, atol=1e-6)
    with pytest.raises(FloatingPointError):
        iterative.conjugate_gradients(lambda right: -right, B)
