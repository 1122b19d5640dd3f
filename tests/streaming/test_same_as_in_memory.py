"""A table in chunks gives what it gives in memory, for every kind of formula that is summed."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import AliasedColumnsWarning, DroppedRowsWarning, WeaklyIdentifiedWarning

from .chunked import apart, in_chunks, table

pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.DroppedRowsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning"),
]
# The same sums in another order: products of 1500 rows differ by some 1e-13 of themselves, the estimates by no more
# than a thousand times that.
SAME = 1e-10

FORMULAS = [
    "y ~ x + (x | g)",
    "y ~ x + z + f + (1 | g) + (1 | h)",
    "y ~ scale(x) * f + (scale(x) || g)",
    "y ~ center(x) + standardize(z) + (1 | g)",
    "y ~ scale(z, center=False) + scale(x, 1000, 2) + (1 | g)",
    "y ~ poly(x, 3) + (1 | g)",
    "y ~ bs(z, df=5) + (1 | g)",
    "y ~ 0 + bs(z, df=4, center=False) + (1 | g)",
    "y ~ bs(z, knots=[1, 2], lower_bound=0, upper_bound=20) + (1 | g)",
    "y ~ I(x - np.mean(x)) + I(z / sd(z)) + I(z > z.mean()) + (1 | g:h) + (1 | g)",
    "y ~ ave(x, g) + x + (1 | g)",
    "y ~ I(z * x.abs().max()) + I(x - x.clip(995, 1003).mean()) + scale(z.clip(0, 2)) + ave(z.abs(), f) + (1 | g)",
    "y ~ log(z) + I(z**2) + C(f, Sum) + dose + (1 | g / h)",
    "y ~ x + offset(z) + (0 + f | h)",
    "I(y - np.max(y)) ~ z + cs(0 + f | g)",
    "y ~ z + diag(f | g, hom=True)",
    "y ~ x",
]


def both(formula, data=None, **options):
    data = table() if data is None else data
    return blm.Model(formula, data, **options), blm.Model(formula, in_chunks(data), progressbar=False, **options)


def assert_same(one, other, limit=SAME):
    a, b = one.solution, other.solution
    assert other.design.x_names == one.design.x_names
    assert apart(a.criterion, b.criterion) < limit
    assert apart(a.beta, b.beta) < limit
    assert apart(a.vcov, b.vcov) < limit
    assert apart(one.sigma, other.sigma) < limit
    for first, second in zip([*a.covariances, *a.modes], [*b.covariances, *b.modes], strict=True):
        assert apart(first, second) < 10 * limit  # modes of almost nothing among those of one


@pytest.mark.parametrize("formula", FORMULAS)
def test_reml_and_summaries_are_those_of_the_table_in_memory(formula):
    in_memory, chunked = both(formula)
    assert str(chunked.priors) == str(in_memory.priors)
    assert_same(one := in_memory.fit_reml(), other := chunked.fit_reml())
    assert other.ngroups == one.ngroups and other.verdict == one.verdict
    for verb in ("fixef", "variance_components", "r2", "glance"):
        first, second = getattr(one, verb)(), getattr(other, verb)()
        numbers = first.select_dtypes("float").columns
        assert list(second.columns) == list(first.columns) and list(second.index) == list(first.index)
        # df come from differences of gradients, 1e-7 of them; p-values far out go with them
        np.testing.assert_allclose(second[numbers], first[numbers], rtol=1e-5, atol=1e-9)


def test_weights_ml_and_an_offset_by_name():
    in_memory, chunked = both("y ~ x + (x | g)", weights="w", offset="z")
    assert_same(in_memory.fit_ml(), chunked.fit_ml())


def test_the_posterior_is_the_same_draw_by_draw():
    in_memory, chunked = both("y ~ scale(x) + f + (scale(x) | g)")
    settings = {"draws": 60, "chains": 2, "cores": 1, "random_seed": 3, "progressbar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few draws
        one, other = in_memory.fit(**settings), chunked.fit(**settings)
    for name, values in one.idata.posterior.items():
        # the same chains: what differs is the mode of the proposal, known to 1e-9 of a standard error
        np.testing.assert_allclose(other.idata.posterior[name], values, rtol=1e-6, atol=1e-7)
    assert "observed_data" in other.idata and not other.idata.observed_data.data_vars
    assert "exact sampler" in other.verdict


def test_rows_in_another_order_change_nothing():
    data = table()
    sorted_by_x = data.sort_values(["x", "g"], na_position="first", ignore_index=True)
    one = blm.Model("y ~ x + f + (x | g)", in_chunks(data), progressbar=False).fit_reml()
    other = blm.Model("y ~ x + f + (x | g)", in_chunks(sorted_by_x), progressbar=False).fit_reml()
    assert_same(one, other)


@pytest.mark.parametrize("rows", [13, 5000])
def test_chunks_of_any_size(rows):
    data = table().iloc[:400]
    formula = "y ~ poly(x, 2) + f + ave(z, g) + (1 | g) + (1 | h)"
    one = blm.Model(formula, data).fit_reml()
    assert_same(one, blm.Model(formula, in_chunks(data, rows), progressbar=False).fit_reml())


def test_dropped_rows_are_counted():
    with pytest.warns(DroppedRowsWarning) as in_memory:
        blm.Model("y ~ x + (1 | h)", table())
    with pytest.warns(DroppedRowsWarning) as chunked:
        model = blm.Model("y ~ x + (1 | h)", in_chunks(table()), progressbar=False)
    assert str(chunked[0].message) == str(in_memory[0].message)
    assert model.design.n_dropped == 21


def test_dependent_columns_are_left_out():
    data = table().assign(twice=lambda d: 2.0 * d["x"] - 3.0, constant=4.0)
    with pytest.warns(AliasedColumnsWarning):
        in_memory = blm.Model("y ~ x + twice + constant + z + (1 | g)", data)
    with pytest.warns(AliasedColumnsWarning, match="twice, constant left out"):
        chunked = blm.Model("y ~ x + twice + constant + z + (1 | g)", in_chunks(data), progressbar=False)
    assert chunked.design.aliased == in_memory.design.aliased
    one, other = in_memory.fit_reml(), chunked.fit_reml()
    assert_same(one, other)
    new = data.head(30).assign(twice=0.0)
    with pytest.warns(blm.errors.NotEstimableWarning):
        assert other.predict(newdata=new).isna().all()
    np.testing.assert_allclose(other.predict(newdata=data.head(9)), one.predict(newdata=data.head(9)), rtol=1e-9)


def test_what_nearly_depends_is_refused():
    rng = np.random.default_rng(3)
    data = table().assign(near=lambda d: d["z"] + 1e-6 * rng.normal(size=len(d)))
    with pytest.raises(blm.errors.DataError, match="near depends on the columns before nearly, but not quite"):
        blm.Model("y ~ z + near + (1 | g)", in_chunks(data), progressbar=False)


def test_slopes_of_a_predictor_that_varies_within_no_level():
    data = table().assign(of_g=lambda d: np.sqrt(d["g"]))
    with pytest.warns(WeaklyIdentifiedWarning, match="of_g vary|of_g varies"):
        blm.Model("y ~ of_g + (of_g | g)", in_chunks(data), progressbar=False)


def test_variances_that_are_not_told_are_said_of_both_fits():
    data = table().assign(copy=lambda d: d["g"])
    one, other = both("y ~ z + (1 | g) + (1 | copy)", data)
    with pytest.warns(WeaklyIdentifiedWarning):
        point = other.fit_reml()
    assert point.solution.status == "unidentified"
    with pytest.warns(blm.errors.BayesLMMWarning):
        post = other.fit(draws=50, chains=2, random_seed=1, progressbar=False, cores=1)
    assert "only sd(g)² + sd(copy)²" in post.verdict


def test_levels_in_the_order_that_is_given():
    data = table()
    levels = {"f": ["w", "u", "v"], "g": list(range(60))}
    told = data.assign(f=pd.Categorical(data["f"], levels["f"]), g=pd.Categorical(data["g"], levels["g"]))
    chunked = blm.Model("y ~ x + f + (1 | g)", in_chunks(data), levels=levels, progressbar=False)
    assert chunked.design.x_names == ("Intercept", "x", "f[u]", "f[v]")
    assert chunked.design.groups[0].levels == tuple(range(40))  # those that have rows
    assert_same(blm.Model("y ~ x + f + (1 | g)", told).fit_reml(), chunked.fit_reml())


def test_whole_numbers_that_some_chunk_holds_as_floats():
    data = table()
    frames = [data.iloc[:700], data.iloc[700:].astype({"g": "float64"})]
    chunked = blm.Model("y ~ z + (1 | g)", lambda: iter(frames), progressbar=False)
    assert chunked.design.groups[0].levels == tuple(range(40))
    assert_same(blm.Model("y ~ z + (1 | g)", data).fit_reml(), chunked.fit_reml())


def test_an_updated_model_reads_again():
    data = table()
    model = blm.Model("y ~ x + (1 | g)", in_chunks(data), progressbar=False).update(". ~ . + z")
    assert_same(blm.Model("y ~ x + z + (1 | g)", data).fit_reml(), model.fit_reml())


def test_large_chunks_are_summed_side_by_side():
    data = table().sample(70_000, replace=True, random_state=1, ignore_index=True)
    data["y"] += np.random.default_rng(2).normal(size=len(data))
    chunked = blm.Model("y ~ x + (x | g)", in_chunks(data, 23_000), progressbar=False)
    assert_same(blm.Model("y ~ x + (x | g)", data).fit_reml(), chunked.fit_reml())
