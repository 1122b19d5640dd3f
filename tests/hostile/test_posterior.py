"""A tiny posterior and its verbs, asked for what is bad or strange."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors

from .harness import check_message, check_unchanged, check_warnings, clean, holes

DATA, INPUT, UNSEEN, REFUSED = (errors.DataError, errors.InputError, errors.UnseenLevelError, errors.RefusedVerbError)
SHORT = {"draws": 50, "chains": 2, "cores": 1, "random_seed": 1, "progressbar": False}
FORMULA = "y ~ x + f + (x | `a group`)"


def data() -> pd.DataFrame:
    """Levels like HTML, a group in backticks, nullable numbers with gaps, an index of labels twice."""
    frame = clean().rename(columns={"g": "a group"})
    frame["a group"] = "<b>" + frame["a group"] + "</b>"
    frame["x"] = frame["x"].astype("Float64").where(frame.index != 9)
    return frame.set_axis([*range(30)] * 2)


@pytest.fixture(scope="module")
def post():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        return blm.Model(FORMULA, data()).fit(**SHORT)


def rows(**change: object) -> pd.DataFrame:
    return data().iloc[[0, 7, 31]].assign(**change)


ANSWERED = {
    "summary": lambda p: [str(p.summary()), p._repr_html_(), p.summary().to_markdown(), p.summary().to_latex()],
    "fixef": lambda p: p.fixef(),
    "ranef": lambda p: p.ranef(),
    "coef": lambda p: p.coef(),
    "variance_components": lambda p: p.variance_components(),
    "icc": lambda p: p.icc(),
    "r2": lambda p: p.r2(),
    "tidy": lambda p: [
        p.tidy(e).drop(columns=["rhat", "ess_bulk", "ess_tail"], errors="ignore").dropna(axis=1, how="all")
        for e in ("fixed", "ran_pars", "ran_vals", "ran_coefs")
    ],
    "augment": lambda p: p.augment(),
    "predict": lambda p: p.predict(),
    "predict rows": lambda p: p.predict(rows()),
    "predict a category": lambda p: p.predict(rows(f=pd.Categorical(["u", "v", "w"], ["w", "v", "u"]))),
    "predict Arrow's": lambda p: p.predict(rows().convert_dtypes(dtype_backend="pyarrow")),
    "predict a new group": lambda p: p.predict(rows(**{"a group": ["new", "new", None]}), groups="new", random_seed=1),
    "predict without groups": lambda p: p.predict(rows().drop(columns="a group"), groups="average"),
    "predict with a large seed": lambda p: p.predict(rows(), kind="response", random_seed=2**70),
    "simulate": lambda p: p.simulate(2, random_seed=0),
    "rank_groups": lambda p: p.rank_groups(top=3, term="Intercept"),
    "loo": lambda p: [[e := p.loo(), e.elpd, e.se, e.p][1:]],
    "narrow interval": lambda p: p.fixef(ci_prob=0.001),
    "wide interval": lambda p: p.fixef(ci_prob=0.999, ci_kind="hdi"),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_answers_have_no_holes(post, name):
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        # an sd is positive by definition, so its probability of that says nothing
        meant = {"p_positive"} if name in ("variance_components", "tidy") else set()
        assert set(holes(ANSWERED[name](post))) == meant
    check_warnings(given, None)


def test_missing_predictors_give_missing_predictions(post):
    new, before = rows(x=[0.1, None, 0.3]), rows(x=[0.1, None, 0.3])
    found = post.predict(new)
    assert found.isna().all(axis=1).tolist() == [False, True, False] and found.index.equals(new.index)
    check_unchanged(new, before)


def test_levels_are_escaped_in_html(post):
    for shown in (post._repr_html_(), blm.model_table(post)._repr_html_()):
        assert "<b>a</b>" not in shown
    assert "<b>a</b>" in post.ranef()["level"].tolist()


def point():
    return blm.lmer("y ~ x + (1 | g)", clean())


def given(name: str, **parameters: object) -> object:
    return blm.Model("y ~ x + (1 | g)", clean(), priors={"x": blm.Prior(name, **parameters)}).fit(**SHORT)


ASKED = {
    "an unseen group": (lambda p: p.predict(rows(**{"a group": "zz"})), UNSEEN, "'zz'", "'new'"),
    "an unseen level": (lambda p: p.predict(rows(f="zz")), UNSEEN, "'zz'", "u, v, w"),
    "rows as a dict": (lambda p: p.predict({"x": [1.0]}), DATA, "no column 'a group'"),
    "no rows": (lambda p: p.predict(rows().iloc[:0]), DATA, "no rows"),
    "huge x": (lambda p: p.predict(rows(x=1e300)), DATA, "'x'", "Rescale"),
    "infinite x": (lambda p: p.predict(rows(x=np.inf)), errors.NonFiniteError, "'x'"),
    "x as text": (lambda p: p.predict(rows(x="1")), DATA, "'x' was numeric"),
    "a kind": (lambda p: p.predict(kind="link"), INPUT, "kind"),
    "groups": (lambda p: p.predict(groups="some"), INPUT, "groups"),
    "a seed of text": (lambda p: p.predict(rows(), groups="new", random_seed="one"), INPUT, "random_seed='one'"),
    "a negative seed": (lambda p: p.simulate(1, random_seed=-1), INPUT, "random_seed=-1"),
    "a fraction for a seed": (lambda p: p.predict(kind="response", random_seed=0.5), INPUT, "random_seed=0.5"),
    "no simulations": (lambda p: p.simulate(0), INPUT, "n=0"),
    "half a simulation": (lambda p: p.simulate(0.5), INPUT, "n=0.5"),
    "ci_prob of 0": (lambda p: p.fixef(ci_prob=0), INPUT, "ci_prob"),
    "ci_prob of 1": (lambda p: p.ranef(ci_prob=1), INPUT, "ci_prob"),
    "ci_prob of 95": (lambda p: p.coef(ci_prob=95), INPUT, "ci_prob=95"),
    "ci_prob as a text": (lambda p: p.r2(ci_prob="95%"), INPUT, "ci_prob"),
    "ci_prob NaN": (lambda p: p.icc(ci_prob=np.nan), INPUT, "ci_prob"),
    "ci_prob as a list": (lambda p: p.fixef(ci_prob=[0.5, 0.9]), INPUT, "ci_prob"),
    "ci_kind": (lambda p: p.fixef(ci_kind="wald"), INPUT, "ci_kind"),
    "ci_kind as a number": (lambda p: p.fixef(ci_kind=3), INPUT, "ci_kind"),
    "effects": (lambda p: p.tidy("random"), INPUT, "'random'"),
    "effects as a number": (lambda p: p.tidy(3), INPUT, "effects"),
    "residuals": (lambda p: p.residuals("deviance"), INPUT, "'deviance'"),
    "a rank in no group": (lambda p: p.rank_groups("school", top=1), INPUT, "'school'"),
    "a rank of no term": (lambda p: p.rank_groups(top=1, term="z"), INPUT, "'z'"),
    "the top none": (lambda p: p.rank_groups(top=0, term="x"), INPUT, "top"),
    "icc at no variable": (lambda p: p.icc(at={"nothing": [1]}), INPUT, "'nothing'"),
    "icc at a text": (lambda p: p.icc(at={"x": ["a"]}), INPUT, "x"),
    "icc at infinity": (lambda p: p.icc(at={"x": [np.inf]}), INPUT, "x"),
    "icc at nothing": (lambda p: p.icc(at={"x": []}), INPUT, "x"),
    "icc at a number": (lambda p: p.icc(at=3), INPUT, "at"),
    "loo of no unit": (lambda p: p.loo(unit="school"), INPUT, "'school'"),
    "loo of a number": (lambda p: p.loo(unit=3), INPUT, "unit"),
    "draws of no variable": (lambda p: p.draws("nothing"), errors.NotAvailableError, "'nothing'"),
    "a response too short": (lambda p: p.refit([1.0, 2.0]), DATA, "59 rows"),
    "a response of text": (lambda p: p.refit(["a"] * 59), DATA, "refit"),
    "a response with gaps": (lambda p: p.refit(np.full(59, np.nan)), errors.NonFiniteError, "59 values"),
    "a verb of a point fit": (lambda p: p.criterion, REFUSED, "criterion"),
    "a verb of R": (lambda p: p.VarCorr, REFUSED, "var_corr()"),
    "settings: draws": (lambda p: blm.Model("y ~ x", clean()).fit(draws=0), INPUT, "draws=0"),
    "settings: chains": (lambda p: blm.Model("y ~ x", clean()).fit(chains="4"), INPUT, "chains='4'"),
    "settings: method": (lambda p: blm.Model("y ~ x", clean()).fit(method="vi"), INPUT, "'vi'"),
    "settings: seed": (lambda p: blm.Model("y ~ x", clean()).fit(random_seed="a"), INPUT, "random_seed='a'"),
    "settings: exact for counts": (
        lambda p: blm.Model("i ~ x", clean().assign(i=1), family="poisson").fit(method="exact"),
        errors.NotAvailableError,
        "poisson",
    ),
    "a perfect fit": (
        lambda p: blm.Model("y ~ x", clean().assign(y=lambda d: 2 * d["x"])).fit(**SHORT),
        errors.FitError,
        "perfectly",
    ),
    "a perfect fit of groups": (
        lambda p: blm.Model("y ~ 1 + (1 | g)", clean().assign(y=np.repeat(np.arange(10.0), 6))).fit(**SHORT),
        errors.FitError,
        "perfectly",
    ),
    "a perfect fit of groups by NUTS": (
        lambda p: blm.Model("y ~ x + (1 | g)", clean().assign(y=lambda d: np.repeat(np.arange(10.0), 6) + d["x"])).fit(
            method="nuts", **SHORT
        ),
        errors.FitError,
        "out what determines the response",
    ),
    "priors without data": (lambda p: p.with_priors({"nothing": blm.flat()}), errors.PriorError, "'nothing'"),
    "a grid of nothing": (lambda p: blm.grid(p, "nothing"), INPUT, "'nothing'"),
    "a grid of no values": (lambda p: blm.grid(p, x=[]), INPUT, "x"),
    "a grid of an unseen group": (lambda p: blm.grid(p, by={"a group": ["zz"]}), INPUT, "'zz'"),
    "a grid of a table": (lambda p: blm.grid(data(), "x"), INPUT, "DataFrame"),
    "centring by nothing": (lambda p: blm.center_within(clean(), "x", by="school"), DATA, "'school'"),
    "centring text": (lambda p: blm.center_within(clean(), "f", by="g"), DATA, "'f'"),
    "centring a list": (lambda p: blm.center_within([1], "x", by="g"), DATA, "list"),
    "centring a column that is no text": (lambda p: blm.center_within(clean(), 3, by="g"), INPUT, "3"),
    "centring by a list of lists": (lambda p: blm.center_within(clean(), "x", by=[["g"]]), INPUT, "g"),
    "comparing with a table": (lambda p: blm.compare_estimates(p, clean()), INPUT, "DataFrame"),
    "dropping terms of a table": (lambda p: blm.drop1(clean()), INPUT, "DataFrame", "fit_reml()"),
    "dropping random terms of a posterior": (lambda p: blm.ranova(p), INPUT, "PosteriorFit"),
    "eta of a text": (lambda p: blm.LKJ("1"), errors.PriorError, "LKJ('1')"),
    "an audit's ci_prob": (lambda p: blm.Model("y ~ x", clean()).prior_audit(ci_prob="all"), INPUT, "ci_prob='all'"),
    "cores of text": (lambda p: point().bootstrap(2, cores="two"), INPUT, "cores='two'"),
    "half a bootstrap": (lambda p: point().bootstrap(0.5), INPUT, "0.5"),
    "degrees of freedom": (lambda p: point().fixef(ddf=["satterthwaite"]), INPUT, "ddf"),
    "method of an interval": (lambda p: point().confint("bayes"), INPUT, "'bayes'"),
    "kinds of interval": (lambda p: p.fixef(ci_kind=["eti"]), INPUT, "ci_kind=['eti']"),
    "a prior with words": (lambda p: given("Normal", mu="a", sigma=1), errors.PriorError, "mu='a'"),
    "a prior with an unknown parameter": (lambda p: given("Normal", mean=0, sigma=1), errors.PriorError, "mean"),
    "a prior with a negative scale": (lambda p: given("Normal", mu=0, sigma=-1), errors.PriorError, "sigma"),
    "a prior with infinity": (lambda p: given("Normal", mu=np.inf, sigma=1), errors.PriorError, "finite"),
    "a prior that is none": (lambda p: given("Norml", mu=0, sigma=1), errors.PriorError, "Norml"),
    "a prior of several numbers": (lambda p: given("Normal", mu=[0, 1], sigma=1), errors.PriorError, "mu"),
    "saving nowhere": (lambda p: blm.save(p, "/nowhere/at/all/fit.nc"), errors.StorageError, "/nowhere"),
    "saving a table": (lambda p: blm.save(clean(), "/tmp/x.nc"), INPUT, "DataFrame"),
    "loading nothing": (lambda p: blm.load("/nowhere.nc"), errors.StorageError, "/nowhere.nc"),
    "loading a number": (lambda p: blm.load(3), INPUT, "3"),
}


@pytest.mark.parametrize("name", ASKED)
def test_refusals(post, name):
    ask, error, *words = ASKED[name]
    with warnings.catch_warnings(record=True) as given, pytest.raises(Exception) as caught:  # noqa: PT011
        warnings.simplefilter("always")
        ask(post)
    check_message(caught.value, error, tuple(words))
    check_warnings(given, None)
