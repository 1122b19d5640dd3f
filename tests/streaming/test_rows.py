"""Verbs about rows read them chunk by chunk, and answer as the kind of table that came."""

import functools

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import DataError, InputError, NotAvailableError, UnknownColumnError

from .chunked import in_chunks, table

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")
dd = pytest.importorskip("dask.dataframe")

FORMULA = "y ~ scale(x) + f + (x | g) + (1 | h)"
SETTINGS = {"draws": 40, "chains": 2, "cores": 1, "random_seed": 1, "progressbar": False}


@functools.cache
def fits(kind):
    data = table().drop(columns="dose")
    models = blm.Model(FORMULA, data, weights="w"), blm.Model(FORMULA, in_chunks(data), weights="w", progressbar=False)
    if kind == "point":
        return [model.fit_reml() for model in models]
    post = models[1].fit(**SETTINGS)
    return [models[0].read_draws(post.idata), post]


def gathered(answer):
    """A table in chunks as one frame."""
    if callable(answer):
        return pd.concat(list(answer()), ignore_index=True)
    if isinstance(answer, pl.LazyFrame):
        return answer.collect().to_pandas()
    if isinstance(answer, pa.RecordBatchReader):
        return answer.read_all().to_pandas()
    return answer.compute().reset_index(drop=True)


def assert_same(one, other):
    one = pd.DataFrame(np.asarray(one)) if isinstance(one, np.ndarray) else pd.DataFrame(one)
    assert len(one) == len(other)
    numbers = other.select_dtypes("number").columns
    first = one.set_axis(other.columns, axis=1)
    # the estimates of both fits differ by the order of sums, 1e-10 of them
    np.testing.assert_allclose(other[numbers], first[numbers], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["point", "posterior"])
@pytest.mark.parametrize("verb", ["augment", "fitted", "residuals", "scaled", "predict"])
def test_the_rows_of_the_fit_are_read_again(kind, verb):
    in_memory, chunked = fits(kind)
    name, arguments = ("residuals", ["scaled"]) if verb == "scaled" else (verb, [])
    expected, answer = (getattr(fit, name)(*arguments) for fit in (in_memory, chunked))
    again = gathered(answer)
    assert_same(expected, again)


KINDS = {
    "frames": lambda data, path: in_chunks(data),
    "polars": lambda data, path: pl.from_pandas(data).lazy(),
    "parquet": lambda data, path: (data.to_parquet(path), str(path))[1],
    "duckdb": lambda data, path: duckdb.from_df(data),
    "dask": lambda data, path: dd.from_pandas(data, npartitions=4),
}


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("options", [{}, {"interval": "plug-in", "kind": "response", "with_data": True}])
def test_new_rows_keep_their_kind(source, options, tmp_path):
    fit = fits("point")[0]
    data = table().drop(columns="dose").iloc[:600].reset_index(drop=True)
    answer = fit.predict(KINDS[source](data, tmp_path / "rows.parquet"), groups="observed_or_new", **options)
    kept = {"polars": pl.LazyFrame, "parquet": pa.RecordBatchReader, "duckdb": pa.RecordBatchReader}
    assert isinstance(answer, kept.get(source, object))
    expected = pd.DataFrame(fit.predict(data, groups="observed_or_new", **options))
    again = gathered(answer)
    assert len(again) == len(expected)
    assert expected.shape == again.shape and (expected.shape[1] == 1 or set(expected) == set(again))
    for name in again:
        column = expected[name if name in expected else expected.columns[0]]
        if pd.api.types.is_float_dtype(column):
            np.testing.assert_allclose(again[name].to_numpy(float), column.to_numpy(float), rtol=1e-12)
        else:
            assert again[name].astype(str).tolist() == column.astype(str).tolist()


def test_what_needs_all_rows_or_a_number_a_row_and_draw_is_refused(tmp_path):
    point, post = fits("point")[1], fits("posterior")[1]
    new = in_chunks(table())
    with pytest.raises(NotAvailableError, match="draws of rows in chunks"):
        post.predict(new, draws=True)
    with pytest.raises(NotAvailableError, match="draws of rows in chunks"):
        post.residuals(draws=True)
    with pytest.raises(InputError, match="offset=: of rows in chunks it is the name"):
        point.predict(new, offset=np.zeros(1500))
    for verb in (blm.check, blm.plot_residuals, lambda fit: blm.anova(fit, fit)):
        with pytest.raises(NotAvailableError, match="a sample of rows"):
            verb(post if verb is blm.check else blm.Model("y ~ x", new, progressbar=False).fit_reml())
    with pytest.raises(UnknownColumnError):
        list(point.predict(in_chunks(table().drop(columns="x")))())
    blm.save(point, tmp_path / "fit.nc")
    loaded = blm.load(tmp_path / "fit.nc")
    with pytest.raises(NotAvailableError, match="augment needs the 1,479 rows"):
        loaded.augment()
    assert len(gathered(loaded.predict(new, groups="observed_or_new"))) == 1500


@pytest.mark.parametrize("formula", ["y ~ x + f + (x | g)", "y ~ 0 + f + z + (1 | g:h)", "y ~ x + I(2 * x) + (z | g)"])
def test_levels_are_left_out_by_their_sums(formula):
    data = table()
    model = blm.Model(formula, in_chunks(data), weights="w", progressbar=False)
    post = model.fit(**SETTINGS)
    unit = model.design.groups[0].name
    in_memory = blm.Model(formula, data, weights="w").read_draws(post.idata.copy())
    one, other = (fit.loo(unit=unit, refit=False) for fit in (in_memory, post))
    np.testing.assert_allclose(other.elpd_i, one.elpd_i, rtol=1e-8)
    np.testing.assert_allclose(other.pareto_k, one.pareto_k, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(other.p, one.p, rtol=1e-6)


def test_what_is_left_out_otherwise_needs_rows():
    with pytest.raises(NotAvailableError, match="the levels of the only factor"):
        fits("posterior")[1].loo()
    changing = iter([table()] * 4 + [table().iloc[:900]] * 9)
    model = blm.Model("y ~ z + (1 | g)", lambda: iter([next(changing)]), progressbar=False)
    post = model.fit(**SETTINGS)
    with pytest.raises(NotAvailableError, match=r"loo\(unit='g'\)"):
        post.loo()
    with pytest.raises(NotAvailableError, match="needs the 1,500 rows"):
        post.loo(unit="g", refit=True)
    with pytest.raises(DataError, match="changed since the fit: 1,500 complete rows then, 900 now"):
        post.loo(unit="g")
