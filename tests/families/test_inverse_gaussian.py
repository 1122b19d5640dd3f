"""Inverse Gaussian responses against SciPy's distribution, and as a user meets them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm.errors import DataError
from bayeslmm.families import family_of
from bayeslmm.families.densities import each_row, numbers

SHAPE, SLOPE, SD = 6.0, 0.4, 0.3


def test_the_density_is_scipys():
    family, y = family_of("inverse_gaussian"), np.array([0.2, 1.0, 7.0])
    eta, shape, out = np.array([-0.3, 0.4, 1.1]), np.array([2.5]), np.empty(3)
    each_row(*numbers(family), False, y, np.ones(3), np.ones(3), eta, shape, out)
    reference = stats.invgauss.logpdf(y, np.exp(eta) / 2.5, scale=2.5)
    np.testing.assert_allclose(out + family.constants(y, None, None), reference, rtol=1e-12)


def test_numbers_that_are_not_positive_are_refused_by_row():
    d = pd.DataFrame({"y": [1.0, 0.0, 2.0, 3.0], "g": list("aabb")})
    with pytest.raises(DataError, match="inverse_gaussian.*above zero; row 1"):
        blm.Model("y ~ (1 | g)", d, family="inverse_gaussian")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
def test_the_truth_is_recovered_and_the_verbs_answer(tmp_path):
    rng = np.random.default_rng(3)
    g, x = np.arange(600) % 30, rng.normal(size=600)
    mean = np.exp(0.5 + SLOPE * x + rng.normal(0, SD, 30)[g])
    d = pd.DataFrame({"y": rng.wald(mean, SHAPE), "x": x, "g": [f"g{k:02d}" for k in g]})
    model = blm.Model("y ~ x + (1 | g)", d, family="inverse_gaussian")
    assert "Inverse-Gaussian(μ_i, shape)" in str(model.equations())
    post = model.fit(draws=500, tune=500, chains=2, random_seed=1, progressbar=False)
    for name, truth in {"shape": SHAPE, "sd_g": SD}.items():
        draws = post.draws(name).reshape(-1)
        assert abs(draws.mean() - truth) < 4 * draws.std()  # 4 sds: once in 16,000
    assert 0.0 < post.icc()["mean"].iloc[0] < 1.0
    assert np.isfinite(post.loo("g").elpd)
    predicted = post.predict(d.head(3), groups="new", kind="response", random_seed=1)
    assert (predicted[["conf_low", "conf_high"]] > 0.0).all(axis=None)
    replicated = blm.ppc(post, random_seed=1)
    assert (replicated.y_rep > 0.0).all()
    blm.save(post, tmp_path / "fit.nc")
    back = blm.load(tmp_path / "fit.nc")
    np.testing.assert_array_equal(back.draws("shape"), post.draws("shape"))
