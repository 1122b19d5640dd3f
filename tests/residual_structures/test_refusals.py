"""What is refused, and in which words."""

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors


@pytest.fixture(scope="module")
def sleep():
    data = blm.load_dataset("sleepstudy")
    return data.assign(half=np.where(data["Days"] > 4, "late", "early"), row=range(len(data)), w=1.0 + data["Days"])


CASES = [
    # (formula, options, error, words of its message)
    ("Days", {"residual": "ar1(half | Subject)"}, errors.DataError, "share their half"),
    ("Days", {"residual": "ar1(Days / 2 | Subject)"}, errors.FormulaError, "the column of times"),
    ("Days", {"residual": "ar1(1 | Subject)"}, errors.FormulaError, "the column of times"),
    ("Days", {"residual": "cs(Days | Subject)"}, errors.FormulaError, "cs(1 | Subject)"),
    ("Days", {"residual": "toep(Days | Subject)"}, errors.FormulaError, "no structure 'toep'"),
    ("Days", {"residual": "ar1(Days, Subject)"}, errors.FormulaError, "is needed"),
    ("Days", {"residual": "ar1(Days | Subject, hom=True)"}, errors.FormulaError, "Leave out hom="),
    ("Days", {"residual": 3}, errors.FormulaError, "is needed"),
    ("Days", {"residual": "ar1(nope | Subject)"}, errors.UnknownColumnError, "nope"),
    ("Days", {"residual": "car1(half | Subject)"}, errors.DataError, "times that are numbers"),
    ("Days", {"residual": "cs(1 | row)"}, errors.UnidentifiedTermError, "no level has two rows"),
    ("Days + (1 | Subject)", {"residual": "cs(1 | Subject)"}, errors.UnidentifiedTermError, "free already"),
    ("Days + (1 | Subject)", {"residual": "us(Days | Subject)"}, errors.UnidentifiedTermError, "free already"),
    (
        "Days + ar1(0 + C(Days) | Subject)",
        {"residual": "ar1(Days | Subject)"},
        errors.UnidentifiedTermError,
        "may change places",
    ),
    (
        "Days + ar1(0 + C(Days) | Subject)",
        {"residual": "car1(Days | Subject)"},
        errors.UnidentifiedTermError,
        "may change places",
    ),
    (
        "Days + cs(0 + C(Days) | Subject, hom=True)",
        {"residual": "cs(1 | Subject)"},
        errors.UnidentifiedTermError,
        "tell these variances and correlations apart",
    ),
    ("Days + (1 | half)", {"residual": "ar1(Days | Subject)"}, errors.NotAvailableError, "of several half"),
    ("s(Days)", {"sigma": "~ half"}, errors.NotAvailableError, "turned once for all"),
    ("Days", {"sigma": "half"}, errors.FormulaError, "'~' first"),
    ("Days", {"sigma": "~ 0 + half"}, errors.FormulaError, "keeps its intercept"),
    ("Days", {"sigma": "~ exp(Days)"}, errors.FormulaError, "varExp"),
    ("Days", {"sigma": "~ power(fitted)"}, errors.NotAvailableError, "power of the fitted mean"),
    ("Days", {"sigma": "~ power(Days)"}, errors.NonFiniteError, "other than zero"),
    ("Days", {"sigma": "~ half + I(half == 'late')"}, errors.UnidentifiedTermError, "twice"),
    ("Days", {"sigma": "~ half", "se": "w"}, errors.InputError, "leave no sigma"),
    ("Days", {"sigma": "~ half", "family": "poisson"}, errors.InputError, "has no sigma"),
    ("Days", {"sigma": "~ half", "family": "lognormal"}, errors.NotAvailableError, "Take log(y)"),
    ("Days", {"sigma": "~ half", "priors": {"rho": blm.LKJ(2)}}, errors.PriorError, "'log_ratio', 'half[late]'"),
    ("Days", {"sigma": "~ half", "priors": {"log_ratio": blm.LKJ(2)}}, errors.PriorError, "expected a Prior"),
]


@pytest.mark.parametrize(
    ("right", "residual"),
    [
        ("Days + ar1(0 + C(Days) | Subject)", "cs(1 | Subject)"),
        ("Days + ar1(0 + C(Days) | Subject, hom=False)", "ar1(Days | Subject)"),
        ("Days + ar1(0 + half | Subject)", "ar1(Days | Subject)"),
        ("Days + (Days | Subject)", "ar1(Days | Subject)"),
    ],
)
def test_bars_of_another_form_stand_beside_correlated_residuals(right, residual, sleep):
    assert blm.Model(f"Reaction ~ {right}", sleep, residual=residual).design.residual is not None


@pytest.mark.parametrize(("right", "options", "error", "words"), CASES, ids=lambda value: str(value)[:50])
def test_refused_when_the_model_is_made(right, options, error, words, sleep):
    with pytest.raises(error, match=None) as told:
        blm.Model(f"Reaction ~ {right}", sleep, **options)
    assert words in str(told.value), str(told.value)


def test_whole_steps(sleep):
    with pytest.raises(errors.DataError, match=r"car1\(Days \| Subject\)"):
        blm.Model("Reaction ~ Days", sleep.assign(Days=sleep["Days"] + 0.5), residual="ar1(Days | Subject)")
    text = sleep.assign(Days=[f"day{k + 9}" for k in sleep["Days"]])
    with pytest.raises(errors.DataError, match="order of their letters"):
        blm.Model("Reaction ~ Days", text, residual="ar1(Days | Subject)")


def test_a_visit_or_stratum_of_one_row(sleep):
    rare = sleep[(sleep["Days"] < 2) | (sleep["row"] == 2)]
    with pytest.raises(errors.UnidentifiedTermError, match=r"Days '2' has 1 row"):
        blm.Model("Reaction ~ 1", rare, residual="us(Days | Subject)")
    with pytest.raises(errors.UnidentifiedTermError, match="has one row"):
        blm.Model("Reaction ~ 1", sleep.assign(z=np.where(sleep["row"] == 3, "a", "b")), sigma="~ z")
    apart = sleep[(sleep["Days"] < 3) & ~((sleep["Days"] == 2) & (sleep["row"] % 20 < 10))]
    apart = apart[~((apart["Days"] == 1) & (apart["row"] % 20 >= 10))]
    with pytest.raises(errors.UnidentifiedTermError, match="never occur in one level together"):
        blm.Model("Reaction ~ 1", apart, residual="us(Days | Subject)")


def test_too_few_rows_to_tell_bars_from_residuals(sleep):
    two = sleep[sleep["Days"] < 2]
    with pytest.raises(errors.UnidentifiedTermError, match="too few, or too alike"):
        blm.Model("Reaction ~ Days + (1 | Subject)", two, residual="ar1(Days | Subject)")
    # an sd of its own for the stratum in which a level of the bar has one row each
    one = sleep[(sleep["Days"] < 3) | (sleep["Days"] == 9)]
    with pytest.raises(errors.UnidentifiedTermError, match="too few, or too alike"):
        blm.Model("Reaction ~ Days + (0 + half || Subject) + (1 | Subject:half)", one, sigma="~ half").fit_reml()


@pytest.mark.parametrize("options", [{"sigma": "~ half"}, {"residual": "ar1(Days | Subject)"}], ids=str)
def test_samplers_and_verbs_that_know_no_such_residuals(options, sleep):
    model = blm.Model("Reaction ~ Days + (1 | Subject)", sleep, **options)
    other = {
        "log_ratio" if "sigma" in options else "sigma": blm.Prior("Laplace", mu=0, b=1)
        if "sigma" in options
        else blm.Prior("Weibull", alpha=2, beta=9)
    }
    for ask in (
        lambda: model.pymc,
        lambda: model.pymc_parts(),
        lambda: model.geometry,
        lambda: model.fit(method="nuts"),
        lambda: model.fit(target_accept=0.9),
        lambda: blm.Model("Reaction ~ Days + (1 | Subject)", sleep, priors=other, **options).fit(),
        lambda: blm.compare_pooling(model),
    ):
        with pytest.raises(errors.NotAvailableError, match=r"is not offered for models with (sigma|residual)="):
            ask()


def test_new_data(sleep):
    fit = blm.Model("Reaction ~ Days", sleep, sigma="~ half").fit_reml()
    rows = pd.DataFrame({"Days": [1.0, 2.0], "half": ["early", "never"]})
    with pytest.raises(errors.UnseenLevelError, match="never"):
        fit.predict(rows, kind="response", interval="plug-in")
    lacking = rows[["Days"]]
    assert len(fit.predict(lacking)) == 2  # the mean does not hang on it
    with pytest.raises(errors.UnknownColumnError, match="half"):
        fit.predict(lacking, kind="response", interval="plug-in")
    gap = rows.assign(half=["early", None])
    assert np.isnan(fit.predict(gap, kind="response", interval="plug-in")["std_error"]).tolist() == [False, True]


def test_missing_values_of_the_structure_drop_the_row(sleep):
    gap = sleep.assign(half=sleep["half"].where(sleep["row"] > 3))
    with pytest.warns(errors.DroppedRowsWarning, match="half 4"):
        fit = blm.Model("Reaction ~ Days", gap, sigma="~ half").fit_reml()
    assert fit.nobs == 176


def test_a_stratum_that_is_fitted_perfectly_and_one_that_says_nothing():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"x": rng.normal(size=40), "f": ["a"] * 38 + ["b"] * 2})
    data["y"] = data["x"] + rng.normal(size=40)
    model = blm.Model("y ~ f * x", data, sigma="~ f")
    with pytest.raises(errors.FitError, match=r"goes to zero in the rows of f\[b\]"):
        model.fit_ml()
    with pytest.raises(errors.UnidentifiedTermError, match=r"do not tell the residual parameter f\[b\]"):
        model.fit_reml()


def test_a_predictor_of_the_sd_far_from_zero(sleep):
    years = sleep.assign(year=2000 + sleep["Days"])
    with pytest.raises(errors.DataError, match=r"center\(year\)"):
        blm.Model("Reaction ~ Days", years, sigma="~ year")
    centred = blm.Model("Reaction ~ Days", years, sigma="~ center(year)").fit_reml()
    plain = blm.Model("Reaction ~ Days", sleep, sigma="~ Days").fit_reml()
    np.testing.assert_allclose(centred.solution.residual, plain.solution.residual, rtol=1e-6)
    np.testing.assert_allclose(centred.criterion, plain.criterion, rtol=1e-12)


def test_one_sd_is_the_plain_model(sleep):
    one, plain = (blm.Model("Reaction ~ Days + (1 | Subject)", sleep, sigma=s).fit_reml() for s in ("~ 1", None))
    assert one.design.residual is None and one.criterion == plain.criterion


@pytest.mark.parametrize("name", ["class", "is", "a:b", "x y", "1", "C"])
def test_visits_may_be_called_anything(name, sleep):
    few = sleep[sleep["Days"] < 3]
    wanted = blm.lmer("Reaction ~ 1", few, residual="us(Days | Subject)")
    fit = blm.lmer("Reaction ~ 1", few.rename(columns={"Days": name}), residual=f"us(`{name}` | Subject)")
    assert fit.criterion == pytest.approx(wanted.criterion, abs=1e-6)
