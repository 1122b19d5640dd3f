"""The scale on which a user sees categories: the data's own."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.design.categories import as_seen, as_table
from bayeslmm.design.codes import scores
from bayeslmm.errors import DataError, SamplingWarning

DRAWS = 150

LABELS = ["poor", "fair", "good"]
CODES = np.array([0, 1, 2, 1, 0, 2, 1, 2, 0, 1, 2, 0] * 4)
RESPONSES = {
    "places": ("ordinal", CODES + 1, [1, 2, 3]),
    "with a gap": ("ordinal", np.array([-1, 0, 4])[CODES], [-1, 0, 4]),
    "labels": ("ordinal", pd.Categorical.from_codes(CODES, LABELS, ordered=True), LABELS),
    "falling numbers": ("ordinal", pd.Categorical.from_codes(CODES, [3, 2, 1], ordered=True), [3, 2, 1]),
    "yes and no": ("bernoulli", np.where(CODES > 0, "yes", "no"), ["no", "yes"]),
    "truth": ("bernoulli", CODES > 0, [0.0, 1.0]),
}
SEEN = {
    "places": [1, 2, 3],
    "with a gap": [-1, 0, 4],
    "labels": [1, 2, 3],
    "falling numbers": [1, 2, 3],
    "yes and no": [0, 1],
    "truth": [0, 1],
}


def table_of(name):
    rng = np.random.default_rng(3)
    return pd.DataFrame({"y": RESPONSES[name][1], "x": rng.normal(size=len(CODES)), "g": np.arange(len(CODES)) % 6})


@pytest.fixture(scope="module", params=RESPONSES)
def fitted(request):
    model = blm.Model("y ~ x + (1 | g)", table_of(request.param), family=RESPONSES[request.param][0])
    with warnings.catch_warnings():  # what the draws are like does not matter here
        warnings.simplefilter("ignore", SamplingWarning)
        post = model.fit(draws=DRAWS, tune=200, chains=2, random_seed=1, progressbar=False)
    return request.param, model, post


def test_scores_are_the_categories_where_these_are_increasing_numbers():
    assert scores((2, 3, 7)).tolist() == [2, 3, 7]
    assert scores((3, 2)).tolist() == scores(("b", "a")).tolist() == scores((False, True)).tolist() == [1, 2]


@pytest.mark.parametrize("name", RESPONSES)
def test_data_sets_go_back_to_the_codes_they_came_from(name):
    design = blm.Model("y ~ x + (1 | g)", table_of(name), family=RESPONSES[name][0]).design
    column = as_table(design, design.y[None])["sim_1"]
    assert set(column) == set(RESPONSES[name][2])
    np.testing.assert_array_equal(design.codes_of(column), design.y)
    np.testing.assert_array_equal(design.codes_of(RESPONSES[name][1]), design.y)
    if name != "falling numbers":  # whose places are categories as well, of another order
        np.testing.assert_array_equal(design.codes_of(as_seen(design, design.y)), design.y)
    assert np.isnan(as_seen(design, np.array([np.nan, 0.0]))[0])
    if design.levels:
        with pytest.raises(DataError, match="no category of 'y'"):
            design.with_response(["never"] * design.n)


def test_every_verb_speaks_of_the_data(fitted):
    name, model, post = fitted
    seen = set(SEEN[name])
    observed = post.idata.observed_data["y"].to_numpy()
    np.testing.assert_array_equal(observed, as_seen(model.design, model.design.y))
    assert set(observed) == seen
    assert set(np.unique(post.predict(kind="response", draws=True, random_seed=1))) <= seen
    table = post.predict(kind="response", random_seed=1)
    assert table["mean"].between(min(seen), max(seen)).all()
    post.compute_posterior_predictive(random_seed=1)
    drawn = post.idata.posterior_predictive["y"]
    assert set(np.unique(drawn)) <= seen and drawn.dtype == post.idata.observed_data["y"].dtype
    assert set(np.unique(model.prior_predictive(50, random_seed=1).prior_predictive["y"])) <= seen
    check = blm.ppc(post, draws=50, random_seed=1)
    assert set(np.unique(check.y)) == set(np.unique(check.y_rep)) == seen
    shares = check.table.set_index("stat")["observed"]
    for level in RESPONSES[name][2] if RESPONSES[name][0] == "ordinal" else ():
        assert shares[f"share[{level}]"] == pytest.approx(np.mean(np.asarray(RESPONSES[name][1]) == level))
    new = post.simulate(2, random_seed=1)["sim_1"]
    assert set(new) <= set(RESPONSES[name][2])
    again = blm.Model("y ~ x + (1 | g)", table_of(name).assign(y=new), family=RESPONSES[name][0])
    np.testing.assert_array_equal(again.design.y, post.design.with_response(new).y)
