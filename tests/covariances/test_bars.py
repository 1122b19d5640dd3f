"""Bars with a structure from formula to estimates: meaning, laws between models, boundaries, and what is refused."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.covariances import STRUCTURES
from bayeslmm.engine.criterion import Evaluation
from bayeslmm.formulas.formula import parse_formula, update_formula

PACKAGE = Path(blm.__file__).parent


def simulated(rng, *, groups=15, levels=4, times=2, rho=0.5, sd=1.5):
    """Rows of groups × levels of f × times, whose effects are autoregressive."""
    grid = pd.MultiIndex.from_product(
        [range(groups), [f"t{k}" for k in range(levels)], range(times)], names=["g", "f", "time"]
    )
    data = grid.to_frame(index=False).assign(x=rng.normal(size=len(grid)), z=rng.normal(size=len(grid)))
    steps = np.abs(np.subtract.outer(np.arange(levels), np.arange(levels)))
    b = rng.multivariate_normal(np.zeros(levels), sd**2 * rho**steps, groups)
    step = data["f"].str[1:].astype(int)
    y = 1 + data["x"] + b[data["g"], step] + rng.normal(size=len(data))
    return data.assign(y=y, step=step, h=np.arange(len(data)) % 5)


@pytest.fixture(scope="module")
def data():
    """No fit of which is singular."""
    return simulated(fixed_rng(1))


def reml(formula, data, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.SingularFitWarning)
        return _reml(formula, data, options)


def _reml(formula, data, options):
    return blm.Model(formula, data, **options).fit_reml()


def same_fit(one, other, *, cov=True):
    assert one.criterion == pytest.approx(other.criterion, rel=1e-10)
    np.testing.assert_allclose(one.solution.beta, other.solution.beta, rtol=1e-6, atol=1e-6)
    if cov:
        for a, b in zip(one.solution.covariances, other.solution.covariances, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # flat directions to the criterion's 1e-10


# -- what is written


@pytest.mark.parametrize(
    ("text", "name", "hom"),
    [
        ("(x | g)", "us", False),
        ("us(x | g)", "us", False),
        ("diag(x | g)", "diag", False),
        ("diag(x | g, hom=True)", "diag", True),
        ("cs(x | g)", "cs", False),
        ("cs(x | g, hom = TRUE)", "cs", True),
        ("ar1(0 + f | g)", "ar1", True),
        ("ar1(0 + f | g, hom = F)", "ar1", False),
    ],
)
def test_words_and_defaults_are_those_of_lme4(text, name, hom):
    (bar,) = parse_formula(f"y ~ {text}").bars
    assert (bar.structure.name, bar.structure.hom, bar.text) == (name, hom, text)


def test_nested_and_crossed_factors_have_the_structure_each():
    formula = parse_formula("y ~ x + cs(0 + f | a/b) + ar1(0 + f | c) + (1 | d)")
    assert [(bar.group_name, bar.structure.name) for bar in formula.bars] == [
        ("a", "cs"),
        ("a:b", "cs"),
        ("c", "ar1"),
        ("d", "us"),
    ]


def test_formulas_are_changed_by_bars_with_their_structure():
    old = parse_formula("y ~ x + cs(0 + f | g) + (1 | h)")
    assert update_formula(old, ". ~ . - cs(0 + f | g)").text == "y ~ x + (1 | h)"
    assert update_formula(old, ". ~ . + ar1(0 + f | k)").text == "y ~ x + cs(0 + f | g) + (1 | h) + ar1(0 + f | k)"
    with pytest.raises(errors.FormulaError, match="no bar"):
        update_formula(old, ". ~ . - (0 + f | g)")
    nested = parse_formula("y ~ x + cs(0 + f | a/b, hom=True)")
    assert update_formula(nested, ". ~ . - cs(0 + f | a, hom=True)").text == "y ~ x + cs(0 + f | a:b, hom=True)"


def test_functions_of_these_names_are_still_functions(data):
    def diag(x):
        return x

    assert "diag(x)" in blm.Model("y ~ diag(x) + (1 | g)", data, namespace={"diag": diag}).design.x_names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("us(x | g, hom=True)", "no hom=True"),
        ("cs(x || g)", r"bar is \|, not \|\|"),
        ("cs(x | g, hom=1)", "hom=True or hom=False"),
        ("cs(x | g, rho=True)", "hom=True or hom=False"),
        ("cs(x | g) * x", "bar cannot be an operand"),
        ("homcs(x | g)", r"cs\(x \| g, hom=True\)"),
        ("hetar1(0 + f | g)", r"ar1\(x \| g, hom=False\)"),
        ("toep(0 + f | g)", "us, diag, cs and ar1"),
        ("cs(x | g, hom=True", "never closed"),
    ],
)
def test_what_cannot_be_read_is_refused(text, told):
    with pytest.raises(errors.FormulaError, match=told):
        parse_formula(f"y ~ x + {text}")


@pytest.mark.parametrize(
    ("bar", "error", "told"),
    [
        ("cs(1 | g)", errors.UnidentifiedTermError, "one column"),
        ("ar1(0 + step | g)", errors.UnidentifiedTermError, "one column"),
        ("ar1(1 + x | g)", errors.DataError, "steps one after the other"),
        ("ar1(0 + f:h | g)", errors.DataError, "steps one after the other"),
        ("ar1(f | g)", errors.DataError, "steps one after the other"),
        ("ar1(0 + C(one) | g)", errors.DataError, "one level"),
        ("ar1(0 + week | g)", errors.DataError, "order of their letters"),
        ("cs(0 + f | g) + (0 + f | g)", errors.UnidentifiedTermError, "twice"),
        ("cs(0 + f | gr(g, cov=A))", errors.FormulaError, "independent"),
    ],
)
def test_columns_that_do_not_fit_are_refused(bar, error, told, data):
    week = np.array(["w1", "w2", "w10", "w11"])[data["step"]]
    with pytest.raises(error, match=told):
        blm.Model(f"y ~ x + {bar}", data.assign(one=1, week=week, h=data["h"].astype(str)))


def test_texts_in_an_order_that_the_data_tell_are_taken(data):
    names = ["w1", "w2", "w10", "w11"]
    week = pd.Categorical(np.array(names)[data["step"]], categories=names, ordered=True)
    same_fit(reml("y ~ x + ar1(0 + week | g)", data.assign(week=week)), reml("y ~ x + ar1(0 + f | g)", data))


def test_steps_of_unequal_length_are_warned_about(data):
    uneven = data.assign(day=np.array([0, 1, 2, 7])[data["step"]])
    with pytest.warns(errors.UnequalStepsWarning, match="0, 1, 2, 7"):
        blm.Model("y ~ x + ar1(0 + C(day) | g)", uneven)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blm.Model("y ~ x + ar1(0 + C(step) | g)", data)


def test_effects_without_a_variance_of_their_own_are_refused():
    """One row a cell: hom. cs and the residual share a variance; ar1 tells them apart by its decay."""
    single = simulated(np.random.default_rng(2), times=1)
    with pytest.raises(errors.UnidentifiedTermError, match="residual"):
        blm.Model("y ~ x + cs(0 + f | g, hom=True)", single)
    assert reml("y ~ x + ar1(0 + f | g)", single).verdict


def test_kenward_roger_is_refused_by_structure(data):
    with pytest.raises(errors.NotAvailableError, match="linear in their parameters"):
        reml("y ~ x + cs(0 + f | g)", data).fixef(ddf="kr")
    assert np.isfinite(reml("y ~ x + diag(0 + f | g)", data).fixef(ddf="kr")["df"]).all()


# -- laws


def test_diag_is_independent_bars(data):
    same_fit(reml("y ~ x + diag(x | g)", data), reml("y ~ x + (x || g)", data))
    columns = data.assign(**{f"d{k}": 1.0 * (data["step"] == k) for k in range(4)})
    bars = " + ".join(f"(0 + d{k} | g)" for k in range(4))
    one, other = reml("y ~ x + diag(0 + f | g)", data), reml(f"y ~ x + {bars}", columns)
    same_fit(one, other)
    np.testing.assert_allclose(one.fixef()["df"], other.fixef()["df"], rtol=1e-5)  # differences of derivatives


@pytest.mark.parametrize("bar", ["0 + f", "1 + x"])
def test_cs_of_two_columns_is_us(bar, data):
    two = data[data["f"].isin(["t0", "t1"])]
    one, other = reml(f"y ~ x + cs({bar} | g)", two), reml(f"y ~ x + us({bar} | g)", two)
    same_fit(one, other)
    np.testing.assert_allclose(one.fixef()["df"], other.fixef()["df"], rtol=1e-5)
    for method in ("wald", "profile"):
        a, b = (fit.confint(method, progressbar=False) for fit in (one, other))
        columns = ["estimate", "conf_low", "conf_high"]
        np.testing.assert_allclose(a[columns], b[columns], rtol=1e-4, atol=1e-5)


def test_ar1_of_two_steps_is_cs(data):
    two = data[data["f"].isin(["t0", "t1"])]
    for hom in (True, False):
        same_fit(*(reml(f"y ~ x + {word}(0 + f | g, hom={hom})", two) for word in ("ar1", "cs")))


def test_without_correlation_they_are_diag(data):
    from bayeslmm.engine.criterion import prepare
    from bayeslmm.engine.scaling import Problem

    def criterion(bar, theta):
        design = blm.Model(f"y ~ x + {bar}", data).design
        return prepare(Problem.of(design), reml=True)[1](np.array(theta))[0]

    independent = criterion("diag(0 + f | g, hom=True)", [0.7])
    for word in ("ar1", "cs"):
        assert criterion(f"{word}(0 + f | g, hom=True)", [0.7, 0.0]) == pytest.approx(independent, rel=1e-12)
        heterogeneous = criterion(f"{word}(0 + f | g, hom=False)", [0.4, 0.6, 0.8, 1.0, 0.0])
        wanted = criterion("diag(0 + f | g)", [0.4, 0.6, 0.8, 1.0])
        assert heterogeneous == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("bar", ["cs(0 + f | g)", "ar1(0 + f | g)", "cs(1 + x | g, hom=True)"])
def test_rows_may_come_in_any_order(bar, data):
    shuffled = data.sample(frac=1.0, random_state=3)
    same_fit(reml(f"y ~ x + {bar}", data), reml(f"y ~ x + {bar}", shuffled))


def test_units_of_a_predictor_change_nothing_where_sds_are_free(data):
    other = data.assign(x=1000.0 * data["x"])
    one, two = reml("y ~ 1 + cs(1 + x | g)", data), reml("y ~ 1 + cs(1 + x | g)", other)
    assert one.criterion == pytest.approx(two.criterion, rel=1e-10)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_structures_are_nested_as_their_criteria_are(data):
    """What contains another fits no worse, and anova tests it."""
    fits = {
        bar: blm.Model(f"y ~ x + {bar}", data).fit_ml()
        for bar in ("diag(0 + f | g, hom=True)", "cs(0 + f | g, hom=True)", "cs(0 + f | g)", "us(0 + f | g)")
    }
    deviances = [fit.deviance for fit in fits.values()]
    assert np.all(np.diff(deviances) < 1e-6)
    table = blm.anova(*fits.values()).table
    assert table["df"].dropna().tolist() == [1, 3, 5]
    assert "not nested" in str(blm.anova(fits["cs(0 + f | g)"], blm.Model("y ~ x + ar1(0 + f | g)", data).fit_ml()))


def test_untrusted_text_may_say_structures(data):
    same_fit(reml("y ~ x + ar1(0 + f | g)", data, trust=False), reml("y ~ x + ar1(0 + f | g)", data))


# -- optima


def dense_optimum(data, name, hom):
    """The REML criterion minimised over log sds, ρ and σ on the dense V, from several starts."""
    X = np.column_stack([np.ones(len(data)), data["x"]])
    Z, q = np.eye(4)[data["step"]], 4
    same = np.equal.outer(data["g"].to_numpy(), data["g"].to_numpy())
    steps = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
    low = -1 / (q - 1) if name == "cs" else -1.0

    def criterion(x):
        sds = np.exp(x[: 1 if hom else q]) * np.ones(q)
        rho = low + (1 - low) / (1 + np.exp(-x[-2]))
        cor = np.where(steps == 0, 1.0, rho if name == "cs" else np.sign(rho) ** steps * np.abs(rho) ** steps)
        V = same * (Z @ (sds[:, None] * cor * sds) @ Z.T) + np.exp(2 * x[-1]) * np.eye(len(data))
        if not np.isfinite(V).all() or np.linalg.cond(V) > 1e12:
            return 1e10
        W = np.linalg.inv(V)
        A = X.T @ W @ X
        r = data["y"] - X @ np.linalg.solve(A, X.T @ W @ data["y"])
        total = (len(data) - 2) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + np.linalg.slogdet(A)[1]
        return total + r @ W @ r

    starts = [np.array([*[s] * (1 if hom else q), r, 0.0]) for s in (-1.0, 0.5) for r in (-2.0, 1.0)]
    return min(minimize(criterion, start, method="BFGS", options={"maxiter": 60}).fun for start in starts)


@pytest.mark.parametrize(("name", "hom"), [("cs", True), ("ar1", True), ("ar1", False), ("cs", False)])
@pytest.mark.parametrize(("rho", "sd", "seed"), [(0.95, 1.0, 3), (-0.3, 0.5, 4), (0.3, 0.2, 5)])
def test_no_dense_search_finds_a_lower_criterion(name, hom, rho, sd, seed):
    """Weak and strong effects: optima inside, at ρ next to its ends, and at sds of zero."""
    if rho < 0 and name == "cs":
        rho = 0.0
    data = simulated(np.random.default_rng(seed), groups=8, rho=rho, sd=sd)
    fit = reml(f"y ~ x + {name}(0 + f | g, hom={hom})", data)
    assert fit.solution.status in ("converged", "boundary")
    assert fit.criterion <= dense_optimum(data, name, hom) + 1e-6


@pytest.mark.parametrize("bar", ["cs(0 + f | g)", "ar1(0 + f | g)", "ar1(0 + f | g, hom=False)"])
@pytest.mark.parametrize("seed", [3, 4])
def test_searches_on_their_way_to_a_known_optimum_end_early(bar, seed, monkeypatch):
    """And nothing is lost by it: the optimum is that of searches that all go to their ends."""
    data = simulated(fixed_rng(seed), groups=25, rho=0.6, sd=1.0)
    short = reml(f"y ~ x + {bar}", data)
    monkeypatch.setattr(Evaluation, "leads_to", lambda self, other: False)
    long = reml(f"y ~ x + {bar}", data)
    assert short.criterion == pytest.approx(long.criterion, abs=1e-7)
    assert short.solution.evaluations < 0.9 * long.solution.evaluations


def test_a_valley_is_known_by_its_quadratic_model():
    """A parabola leads to its own minimum, and to no other point, no point above it, nor one of another gain."""

    def at(x, value):
        x = np.array(x)
        return Evaluation(
            theta=x, value=value, gradient=np.array([2.0, 6.0]) * x, curvatures=np.array([2.0, 6.0]), axes=np.eye(2)
        )

    here, minimum = at([1.0, 1.0], 4.0), at([0.0, 0.0], 0.0)
    assert here.leads_to(minimum)
    assert not here.leads_to(at([0.0, 1.0], 3.0))
    assert not here.leads_to(replace(minimum, value=-3.0))
    assert not minimum.leads_to(here)
    assert not replace(here, curvatures=np.array([-2.0, 6.0])).leads_to(minimum)


def test_a_correlation_at_the_end_of_its_interval_is_found_and_told():
    """Effects that are the same at all levels: (1 | g) is cs with ρ = 1, and no ρ fits better."""
    rng = np.random.default_rng(8)
    data = simulated(np.random.default_rng(7)).assign(
        y=lambda d: rng.normal(size=15)[d["g"]] + 0.3 * rng.normal(size=len(d))
    )
    fit, plain = reml("y ~ 1 + cs(0 + f | g, hom=True)", data), reml("y ~ 1 + (1 | g)", data)
    assert fit.criterion <= plain.criterion + 1e-8
    if fit.solution.status == "boundary":
        cov = fit.solution.covariances[0]
        assert cov[0, 1] == pytest.approx(cov[0, 0], rel=1e-9)
        assert "rho" in str(blm.check(fit))


def test_a_variance_of_zero_is_found_and_told():
    rng = np.random.default_rng(3)
    data = simulated(np.random.default_rng(9)).assign(y=lambda d: rng.normal(size=len(d)) + d["z"])
    for bar in ("diag(0 + f | g, hom=True)", "cs(0 + f | g, hom=True)", "ar1(0 + f | g)"):
        fit = reml(f"y ~ z + {bar}", data)
        assert np.isfinite(fit.fixef()["df"]).all()
        assert fit.criterion <= reml("y ~ z", data).criterion + 1e-8


# -- tables


def test_rho_and_shared_sds_are_one_row_each(data):
    fit = reml("y ~ x + ar1(0 + f | g)", data)
    assert fit.tidy("ran_pars")["term"].tolist() == ["sd__f", "cor__rho", "sd__Observation"]
    table = fit.confint("profile", progressbar=False).set_index("term")
    assert (table["conf_low"] < table["estimate"]).all() and (table["estimate"] < table["conf_high"]).all()
    rows = fit.variance_components().set_index("quantity")
    assert rows.loc["cor", "term"] == "rho"
    assert "(ar1)" in str(fit)
    assert fit.var_corr()["g"].shape == (4, 4)


def test_two_structures_of_a_factor_have_names_of_their_own(data):
    fit = reml("y ~ x + cs(0 + f | g) + ar1(0 + C(time) | g)", data)
    terms = fit.tidy("ran_pars")["term"].tolist()
    assert {"cor__rho(f)", "cor__rho(C(time))", "sd__C(time)", "sd__f[t0]"} <= set(terms)
    assert len(set(terms)) == len(terms)


def test_bootstrapped_numbers_keep_the_structure(data):
    fit = reml("y ~ x + ar1(0 + f | g)", data)
    table = fit.confint("boot", draws=20, random_seed=1, cores=1, progressbar=False)
    row = table.set_index("term").loc["cor__rho"]
    assert -1.0 <= row["conf_low"] < row["conf_high"] <= 1.0


def test_saved_fits_keep_the_structure(data, tmp_path):
    fit = reml("y ~ x + cs(0 + f | g, hom=True)", data)
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    assert again.design.groups[0].structures == fit.design.groups[0].structures
    np.testing.assert_array_equal(again.solution.theta, fit.solution.theta)


# -- the room


def test_nobody_outside_the_room_asks_for_a_structure_by_name():
    """A structure is one file and one line of the table: no `if` elsewhere holds its word."""
    words = "|".join(STRUCTURES)
    asked = re.compile(rf"(==|!=|\bin\b|\bcase\b)[^\n#]*[\"']({words})[\"']")
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "covariances"
        for line in path.read_text(encoding="utf-8").splitlines()
        if asked.search(line)
    ]
    assert found == []


def test_every_structure_is_a_file_of_the_room():
    """As the inverse Gaussian family was: cs and ar1 came with a file and a line each."""
    for kind in STRUCTURES.values():
        module = kind.__module__.rpartition(".")[2]
        assert (PACKAGE / "covariances" / f"{module}.py").exists()
        assert len([k for k in STRUCTURES.values() if k.__module__ == kind.__module__]) == 1
