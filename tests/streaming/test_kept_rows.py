"""Other than normal responses whose rows differ: kept on disk, and fitted by passes over them as rows in memory are."""

import gc
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine import agq, rows_on_disk
from bayeslmm.errors import ConvergenceWarning, DataError, NotAvailableError, StorageError
from bayeslmm.streaming import cells
from bayeslmm.tools import row_file

from .chunked import in_chunks

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
N = 900


@pytest.fixture(scope="module")
def rows():
    """900 rows with a predictor far from zero, two factors that cross, an exposure and a missing value."""
    rng = fixed_rng(2301)
    g, h = rng.integers(0, 30, N), rng.integers(0, 6, N)
    x, e = rng.normal(100.0, 2.0, N), rng.choice([0.5, 1.0, 2.0], N)
    b = rng.normal(size=(30, 2)) * [0.8, 0.3]
    eta = -0.3 + 0.3 * (x - 100.0) + b[g, 0] + b[g, 1] * (x - 100.0) + 0.5 * rng.normal(size=6)[h]
    frame = pd.DataFrame({"g": g, "h": np.array(list("fedcba"))[h], "x": x, "e": e})
    frame["k"] = (rng.random(N) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    frame["n"] = rng.poisson(e * rng.gamma(2.0, 0.5 * np.exp(0.3 * eta)))
    frame["p"] = rng.gamma(3.0, np.exp(0.3 * eta) / 3.0)
    frame.loc[7, "x"] = np.nan
    return frame


@pytest.fixture(autouse=True)
def few_cells(monkeypatch):
    """Rows that differ are too many from 60 on, and blocks on disk small enough for several threads."""
    monkeypatch.setattr(cells, "MOST", 60)
    monkeypatch.setattr(row_file, "BLOCK", 128)


def kept(formula, frame, size=170, **options):
    model = blm.Model(formula, in_chunks(frame, size), progressbar=False, **options)
    assert model.design.sums.rows.n == frame.dropna().shape[0]
    return model


def same(one, other):
    """That a fit of rows on disk is that of rows in memory."""
    assert other.loglik == pytest.approx(one.loglik, rel=1e-9)
    assert other.solution.status == one.solution.status
    a, b = one.fixef(), other.fixef()
    assert list(a.index) == list(b.index)
    # searches end within 1e-6 of a standard error of each other; errors are differences of gradients there
    np.testing.assert_allclose(b["estimate"], a["estimate"], atol=1e-5 * a["std_error"].max())
    np.testing.assert_allclose(b["std_error"], a["std_error"], rtol=3e-4)
    for name, value in one.solution.parameters.items():
        assert other.solution.parameters[name] == pytest.approx(value, rel=1e-4)
    if one.design.groups:
        np.testing.assert_allclose(other.ranef()["estimate"], one.ranef()["estimate"], atol=1e-4)


MODELS = [
    ("k ~ scale(x) + (1 | g)", {"family": "bernoulli"}),
    ("k ~ scale(x) + (scale(x) | g) + (1 | h)", {"family": "bernoulli", "link": "probit"}),
    ("n ~ x + h + offset(log(e)) + (1 | g)", {"family": "poisson"}),
    ("n ~ log(e) + x + (1 | g)", {"family": "negbinomial", "offset": "e"}),
    ("p ~ x + (1 | g/h)", {"family": "gamma", "link": "log"}),
    ("n ~ x", {"family": "poisson"}),
]


@pytest.mark.parametrize(("formula", "options"), MODELS)
def test_estimates_are_those_of_the_table_in_memory(rows, formula, options):
    whole = blm.Model(formula, rows, **options).fit_ml(nAGQ=1 if "|" in formula else None)
    same(whole, kept(formula, rows, **options).fit_ml())


def test_chunks_of_any_size_in_any_order_give_the_same_fit(rows):
    rows = rows.head(150)
    first = kept("k ~ x + (1 | h)", rows, 1, family="bernoulli").fit_ml()
    for frame, size in ((rows, 149), (rows.iloc[::-1], 50), (rows.sort_values("h"), 150)):
        same(first, kept("k ~ x + (1 | h)", frame, size, family="bernoulli").fit_ml())


def test_partitions_of_dask_are_kept_by_this_process(rows):
    dd = pytest.importorskip("dask.dataframe")
    model = blm.Model("k ~ x + (1 | g)", dd.from_pandas(rows, npartitions=5), family="bernoulli", progressbar=False)
    same(kept("k ~ x + (1 | g)", rows, family="bernoulli").fit_ml(), model.fit_ml())


def test_more_threads_give_the_same_fit(rows, monkeypatch):
    fits = []
    for cores in (1, 3):
        monkeypatch.setattr(rows_on_disk, "cores_of", lambda asked, cores=cores: cores)
        fits.append(kept("n ~ x + (1 | g)", rows, family="negbinomial").fit_ml())
    same(*fits)


@pytest.fixture(scope="module")
def fits(rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "MOST", 60)
        formula = "k ~ x + (1 | g)"
        whole = blm.Model(formula, rows, family="bernoulli").fit_ml(nAGQ=1)
        return whole, kept(formula, rows, family="bernoulli").fit_ml()


def numbers(table):
    return table.select_dtypes("number").replace([np.inf, -np.inf], 0.0).to_numpy(float)


@pytest.mark.parametrize(
    "verb", ["tidy", "glance", "vcov", "confint", "ranef", "coef", "icc", "r2", "variance_components"]
)
def test_tables_are_those_of_rows_in_memory(fits, verb):
    one, other = (numbers(pd.DataFrame(getattr(fit, verb)())) for fit in fits)
    np.testing.assert_allclose(other, one, rtol=3e-4, atol=1e-5)


@pytest.mark.parametrize(
    "verb",
    [
        lambda fit, data: fit.predict(data, interval="plug-in"),
        lambda fit, data: fit.predict(interval="plug-in"),
        lambda fit, data: fit.residuals("deviance"),
        lambda fit, data: fit.augment(),
    ],
)
def test_verbs_of_rows_read_them_again(fits, rows, verb):
    one = pd.DataFrame(verb(fits[0], rows.dropna()))
    other = pd.concat(list(verb(fits[1], in_chunks(rows.dropna(), 400))()))
    np.testing.assert_allclose(numbers(other), numbers(one), rtol=1e-4, atol=1e-6)


def test_nested_models_are_tested_by_their_likelihoods(fits, monkeypatch):
    monkeypatch.setattr(agq, "MOST_ROWS", 0)  # of rows in memory by Laplace's approximation as well
    one, other = (numbers(blm.anova(fit, fit.update(". ~ . + I(x ** 2)")).table) for fit in fits)
    np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def test_a_saved_fit_has_no_rows_and_answers(fits, rows, tmp_path):
    blm.save(fits[1], tmp_path / "fit.nc")
    loaded = blm.load(tmp_path / "fit.nc")
    assert str(loaded.summary()) == str(fits[1].summary())
    pd.testing.assert_frame_equal(loaded.ranef(), fits[1].ranef())
    np.testing.assert_allclose(loaded.predict(rows.head(5)), fits[1].predict(rows.head(5)))
    for verb in (lambda: loaded.residuals(), lambda: loaded.predict(rows.head(5), interval="plug-in")):
        with pytest.raises(NotAvailableError, match="899 rows"):
            verb()


@pytest.mark.parametrize(
    ("verb", "match"),
    [
        (lambda model: model.fit(), "posterior of 899 rows in chunks"),
        (lambda model: model.priors, "posterior of 899 rows in chunks"),
        (lambda model: model.fit_reml(), r"fit_ml\(\) is"),
        (lambda model: model.fit_ml(nAGQ=9), "Laplace's approximation"),
        (lambda model: model.fit_ml().refit(np.zeros(899)), "899 rows"),
        (lambda model: model.fit_ml().confint("profile"), "899 rows"),
    ],
)
def test_what_needs_all_rows_at_once_is_refused(rows, verb, match):
    with pytest.raises(NotAvailableError, match=match):
        verb(kept("k ~ x + (1 | g)", rows, family="bernoulli"))


def test_separation_is_found_among_rows_on_disk(rows):
    frame = rows.assign(k=(rows["x"] > 100.0).astype(int))
    with pytest.warns(ConvergenceWarning, match="separat"):
        fit = kept("k ~ x + e", frame, family="bernoulli").fit_ml()
    whole = blm.Model("k ~ x + e", frame, family="bernoulli").fit_ml()
    assert fit.solution.status == whole.solution.status == "separated"
    np.testing.assert_allclose(fit.solution.separation, whole.solution.separation, atol=1e-3)


def test_levels_at_one_edge_are_found_among_rows_on_disk(rows):
    frame = rows.assign(k=(rows["g"] % 2), x=rows["x"])
    fit = kept("k ~ x + (1 | g)", frame, family="bernoulli").fit_ml()
    whole = blm.Model("k ~ x + (1 | g)", frame, family="bernoulli").fit_ml(nAGQ=1)
    assert fit.solution.status == whole.solution.status == "separated"
    assert fit.verdict == whole.verdict


def test_bad_rows_are_named_and_nothing_is_left(rows):
    late = rows.assign(n=np.where(np.arange(N) == 700, -1, rows["n"]))
    with pytest.raises(DataError, match="frame 5: .*'n'.*needs"):
        kept("n ~ x + (1 | g)", late, family="poisson")
    with pytest.raises(DataError, match="frame 5: .*x.*"):
        kept("n ~ x + (1 | g)", rows.assign(x=np.where(np.arange(N) == 700, 1e200, rows["x"])), family="poisson")
    for frame in (rows.assign(x=np.where(np.arange(N) == 700, 1e200, rows["x"])), rows.assign(x=rows["x"] * 1e200)):
        for data in (frame, in_chunks(frame, 170)):  # in which all else would be scaled to zero
            with pytest.raises(DataError, match=r"scale\(\) takes numbers up to 1\S*e\+20\d, .*Rescale"):
                blm.Model("n ~ scale(x) + (1 | g)", data, family="poisson", progressbar=False)
    calls = []

    def changing():
        calls.append(1)
        return iter([rows if len(calls) < 6 else rows.iloc[:800]])

    with pytest.raises(DataError, match="changed"):
        blm.Model("n ~ x + (1 | g)", changing, family="poisson", progressbar=False)


def test_parts_without_rows_and_a_late_category_change_nothing(rows):
    frame = rows.assign(t=np.where(np.arange(N) >= 850, "late", np.where(rows["g"] % 3, "a", "b")))
    parts = [frame.iloc[:0], frame.iloc[:400], frame.iloc[400:400], frame.iloc[400:], frame.iloc[:0]]
    model = blm.Model("k ~ x + t + (1 | g)", lambda: iter(parts), family="bernoulli", progressbar=False)
    same(blm.Model("k ~ x + t + (1 | g)", frame, family="bernoulli").fit_ml(nAGQ=1), model.fit_ml())


@pytest.mark.parametrize("family", ["zero_one_inflated_beta", "categorical", "ordinal"])
def test_families_without_one_compiled_density_of_a_number_are_refused(rows, family):
    frame = rows.assign(y=np.clip(rows["e"] / 3.0, 0.0, 0.6) if family.startswith("zero") else rows["h"])
    frame["y"] = frame["y"].where(frame["n"] > 0, 1.0) if family.startswith("zero") else pd.Categorical(frame["y"])
    with pytest.raises(NotAvailableError, match=f"family='{family}' is not offered"):
        blm.Model("y ~ scale(x) + (1 | g)", in_chunks(frame, 170), family=family, progressbar=False)


def test_a_damaged_temporary_file_is_an_error_of_ours(rows):
    model = kept("k ~ x + (1 | g)", rows, family="bernoulli")
    model.design.sums.rows._files[0]._file.truncate(300)
    with pytest.raises(StorageError, match="shorter than what was written"):
        model.fit_ml()


def open_files():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
def test_a_pass_that_is_interrupted_leaves_nothing_behind(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(row_file.tempfile, "tempdir", str(tmp_path))
    before = open_files()
    model = kept("k ~ x + (1 | g)", rows, family="bernoulli")
    assert open_files() > before
    assert not list(tmp_path.iterdir())

    def interrupt(number, count):
        raise KeyboardInterrupt

    model.design.sums.rows.report = interrupt
    with pytest.raises(KeyboardInterrupt):
        model.design.sums.rows.of_levels(0, 30)
    del model
    assert open_files() == before


def test_a_full_disk_says_where_and_what_to_do(rows, monkeypatch):
    class Full:
        def seek(self, place):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(row_file.tempfile, "TemporaryFile", lambda **options: Full())
    with pytest.raises(StorageError, match=r"bytes a row, .* No space left .* TMPDIR"):
        kept("k ~ x + (1 | g)", rows, family="bernoulli")


def test_rows_do_not_travel(rows):
    design = kept("k ~ x + (1 | g)", rows, family="bernoulli").design
    assert pickle.loads(pickle.dumps(design)).sums.rows is None


def test_rows_that_nearly_all_differ_are_not_counted_to_the_end(rows, monkeypatch):
    monkeypatch.setattr(cells, "MOST", 800)
    monkeypatch.setattr(cells, "SEEN", 200)
    monkeypatch.setattr(cells, "PENDING", 200)
    counted = cells.Cells(None, "rows", expected=N)
    counted.n = 300
    with pytest.raises(cells.NotCounted, match="299 .* 900 .* different rows"):
        counted._wait(rows.iloc[:300].assign(rows=1))
