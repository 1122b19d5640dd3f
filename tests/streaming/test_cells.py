"""Other than normal responses in chunks: the rows that differ, counted, have the likelihood of all of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.errors import DataError, DroppedRowsWarning, NotAvailableError
from bayeslmm.results import sampling
from bayeslmm.sources.frames import Frames
from bayeslmm.streaming import cells

from .chunked import in_chunks

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")


@pytest.fixture(scope="module")
def rows():
    """1,200 rows of few kinds, with missing values, text, declared categories and a predictor of exposure."""
    rng = fixed_rng(77)
    g, t = rng.integers(0, 9, 1200), rng.integers(0, 2, 1200)
    eta = 0.2 + 0.5 * t + rng.normal(0.0, 0.6, 9)[g]
    latent = eta + rng.logistic(size=1200)
    frame = pd.DataFrame(
        {
            "g": np.array(list("ihgfedcba"))[g],
            "t": t,
            "dose": pd.Categorical(rng.choice(["low", "high"], 1200), ["low", "high", "none"]),
            "e": rng.choice([0.5, 2.0], 1200),
            "u": rng.integers(1, 3, 1200),
            "k": (latent > 0.0).astype(int),
            "s": rng.binomial(4, 1.0 / (1.0 + np.exp(-eta))),
            "m": 4,
            "n": rng.poisson(rng.gamma(2.0, 0.5 * np.exp(eta - 0.5))),
            "o": pd.Categorical(np.digitize(latent, [-0.5, 1.0]).astype(str), ["0", "1", "2", "3"], ordered=True),
            "p": np.round(np.exp(eta + rng.normal(size=1200)), 1) + 0.1,
        }
    )
    frame.loc[::97, "t"] = np.nan
    return frame


MODELS = [
    ("k ~ t + dose + (1 | g)", {"family": "bernoulli"}),
    ("k ~ t + (t | g)", {"family": "bernoulli", "link": "probit"}),
    ("p(s, m) ~ t + (1 | g)", {"family": "binomial"}),
    ("s | trials(m) ~ t + (1 | g)", {"family": "binomial"}),
    ("n ~ t * dose + offset(log(e)) + (1 | g)", {"family": "poisson"}),
    ("n ~ log(e) + t + (1 | g)", {"family": "negbinomial", "offset": "e"}),
    ("n ~ t + (1 | g)", {"family": "zero_inflated_poisson", "zi": "~ dose"}),
    ("n | weights(u) ~ t + (1 | g)", {"family": "poisson"}),
    ("o ~ t + C(dose) + (1 | g)", {"family": "ordinal"}),
    ("p ~ t + (1 | g)", {"family": "gamma", "priors": {"shape": 1.0}}),
    ("cens(p, p > 4) ~ t + (1 | g)", {"family": "weibull"}),
    ("n ~ t", {"family": "poisson"}),
]


def in_memory(formula, rows, **options):
    return blm.Model(formula, rows, **options)


@pytest.mark.parametrize(("formula", "options"), MODELS)
def test_estimates_and_priors_are_those_of_the_table_in_memory(rows, formula, options):
    whole = in_memory(formula, rows, **options)
    counted = blm.Model(formula, in_chunks(rows), progressbar=False, **options)
    assert counted.design.n < whole.design.n
    assert counted.design.n_dropped == whole.design.n_dropped == 13
    one, other = whole.fit_ml(), counted.fit_ml()
    assert other.loglik == pytest.approx(one.loglik, rel=1e-9)
    assert (other.aic, other.bic) == pytest.approx((one.aic, one.bic), rel=1e-9)
    # searches end within 1e-6 of a standard error of each other; standard errors by differences of gradients there
    a, b = one.fixef(), other.fixef()
    assert list(a.index) == list(b.index)
    np.testing.assert_allclose(b["estimate"], a["estimate"], atol=1e-5 * a["std_error"].max())
    np.testing.assert_allclose(b["std_error"], a["std_error"], rtol=3e-4)
    assert list(other.ranef().index) == list(one.ranef().index)
    if "weights" not in formula:
        assert str(counted.priors) == str(whole.priors)


def test_chunks_of_any_size_give_the_same_table(rows):
    tables = [
        blm.Model("k ~ t + dose + (1 | g)", in_chunks(rows, size), family="bernoulli", progressbar=False).design.frame
        for size in (13, 1200)
    ]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["rows"].sum() == rows["t"].notna().sum()


def test_sums_of_workers_travel_and_are_merged(rows, monkeypatch):
    monkeypatch.setattr(cells, "PENDING", 50)
    empty, reduced = [], Frames.reduce

    def kept(self, make, columns, progress):
        empty.extend(make() for _ in range(3))
        return reduced(self, make, columns, progress)

    monkeypatch.setattr(Frames, "reduce", kept)
    design = blm.Model("n ~ t + (1 | g)", in_chunks(rows), family="poisson", progressbar=False).design
    for part, (first, last) in zip(empty, [(0, 400), (400, 400), (400, 1200)], strict=True):
        part.add(rows.iloc[first:last], "part")
    total, *others = [pickle.loads(pickle.dumps(part)) for part in empty]
    for other in others:
        total.merge(other)
    pd.testing.assert_frame_equal(total.table(), design.frame[list(total.table())])


def test_a_fit_is_updated_from_its_rows_saved_and_predicts_new_ones(rows, tmp_path):
    fit = blm.Model("n ~ t + (1 | g)", in_chunks(rows), family="poisson", progressbar=False).fit_ml()
    more = fit.update(". ~ . + dose")
    assert more.design.formula.text == "n | weights(rows) ~ t + dose + (1 | g)"
    assert more.loglik == pytest.approx(in_memory("n ~ t + dose + (1 | g)", rows, family="poisson").fit_ml().loglik)
    blm.save(fit, tmp_path / "fit.zip")
    loaded = blm.load(tmp_path / "fit.zip")
    assert loaded.loglik == fit.loglik
    assert loaded.design.n_dropped == 13
    complete = rows.dropna()
    expected = in_memory("n ~ t + (1 | g)", rows, family="poisson").fit_ml().predict(complete, interval=None)
    parts = list(fit.predict(in_chunks(complete, 500), interval=None)())
    np.testing.assert_allclose(pd.concat(parts).squeeze(), expected.squeeze(), rtol=1e-5)


def test_the_column_of_numbers_has_a_name_of_its_own(rows):
    data = rows.rename(columns={"t": "rows", "u": "rows_2"})
    model = blm.Model("k ~ rows + rows_2 + (1 | g)", in_chunks(data), family="bernoulli", progressbar=False)
    assert model.design.formula.weights_text == "weights(rows_3)"


def test_a_posterior_of_the_rows_that_differ(rows):
    posts = [
        blm.Model("k ~ t + (1 | g)", data, family="bernoulli", progressbar=False).fit(
            draws=500, chains=2, random_seed=1, progressbar=False
        )
        for data in (rows, in_chunks(rows))
    ]
    a, b = (post.fixef() for post in posts)
    # 1,000 nearly independent draws: means within five Monte Carlo errors of each other
    np.testing.assert_allclose(b["mean"], a["mean"], atol=5 * np.sqrt(2 / 500) * a["sd"].max())


@pytest.mark.parametrize(
    ("formula", "options", "match"),
    [
        ("k | weights(u / u.mean()) ~ t + (1 | g)", {}, "takes a statistic of all rows"),
        ("k | weights(u) ~ scale(t) + (1 | g)", {}, r"scale\(t\) .* rows on disk: weights\(u\) is not offered"),
        ("k ~ s(e) + (1 | g)", {}, r"s\(e\) of data that come in chunks"),
        ("k ~ (1 | mm(g, dose))", {}, "of data that come in chunks"),
        ("k ~ t + (1 | g)", {"offset": np.zeros(1200)}, "offset= of data that come in chunks is the name of a column"),
    ],
)
def test_what_the_rows_that_differ_do_not_tell_is_refused_by_name(rows, formula, options, match):
    with pytest.raises(NotAvailableError, match=match):
        blm.Model(formula, in_chunks(rows), family="bernoulli", progressbar=False, **options)


def test_too_many_different_rows_of_what_rows_on_disk_do_not_fit_are_refused_with_the_column_at_fault(
    rows, monkeypatch
):
    monkeypatch.setattr(cells, "MOST", 60)
    data = in_chunks(rows.assign(x=np.arange(1200.0)))
    with pytest.raises(NotAvailableError, match=r"more than 60 different rows .*'x' has .* different values so far"):
        blm.Model("o ~ x + (1 | g)", data, family="ordinal", progressbar=False)


def test_nuts_of_too_many_rows_is_refused_unless_it_is_asked_for(rows, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_ROWS_OF_NUTS", 20)
    model = blm.Model("n ~ t + (1 | g) + (1 | dose)", in_chunks(rows), family="poisson", progressbar=False)
    with pytest.raises(NotAvailableError, match="rows by NUTS takes hours"):
        model.fit(progressbar=False)


def test_chunks_that_do_not_fit_together_are_named(rows):
    parts = [rows.iloc[:600], rows.iloc[600:].assign(k=lambda d: d["k"].astype(str))]
    with pytest.raises(DataError, match="frame 2: Column 'k' holds text in frame 2 and whole numbers in frame 1"):
        blm.Model("k ~ t + (1 | g)", lambda: iter(parts), family="bernoulli", progressbar=False)
    with pytest.raises(DataError, match="No row is complete"):
        blm.Model("k ~ t + (1 | g)", in_chunks(rows.assign(t=np.nan)), family="bernoulli", progressbar=False)
    with pytest.raises(DataError, match="none of the 2 levels given"):
        blm.Model("k ~ dose", in_chunks(rows), family="bernoulli", levels={"dose": ["low", "mid"]}, progressbar=False)


def test_rows_that_are_left_out_are_said(rows):
    with pytest.warns(DroppedRowsWarning, match=r"13 of 1200 rows left out, .* \(t 13\)"):
        blm.Model("k ~ t + (1 | g)", in_chunks(rows), family="bernoulli", progressbar=False)
