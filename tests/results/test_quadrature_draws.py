"""Posteriors of other families with one effect a level as a user meets them."""

from __future__ import annotations

import agreement
import agreement_families
import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import quadrature


@pytest.fixture(scope="module")
def model():
    return blm.Model("p(incidence, size) ~ period + (1 | herd)", blm.load_dataset("cbpp"), family="binomial")


@pytest.fixture(scope="module")
def post(model):
    return model.fit(random_seed=1, progressbar=False)


def test_the_verdict_says_which_way_it_went(post):
    said = " ".join(post.verdict.split())
    assert said.startswith("converged") and "the exact marginal by quadrature (" in said and "nodes" in said
    assert "divergences" not in said and post.diagnosis.k_hat < 0.7
    assert post.diagnosis.min_ess_bulk > 1000  # of 4,000 draws, of which some 70 % are accepted
    assert set(post.idata.sample_stats.data_vars) == {"lp", "accepted"}


def test_it_is_an_exact_posterior_by_name(model, post):
    again = model.fit(method="exact", random_seed=1, progressbar=False)
    np.testing.assert_array_equal(again.draws("b_herd"), post.draws("b_herd"))
    slopes = blm.Model("wide ~ x + (x | g)", agreement_families.simulated(), family="poisson")
    with pytest.raises(errors.NotAvailableError, match="2 effects a level"):
        slopes.fit(method="exact")


def test_where_no_proposal_fits_nuts_draws_and_the_reason_is_said(model, monkeypatch):
    monkeypatch.setattr(quadrature, "SHARE_LIMIT", 1.1)
    other = model.fit(random_seed=1, draws=300, progressbar=False)
    said = " ".join(other.verdict.split())
    assert "by NUTS, since only" in said and other.diagnosis.divergences is not None


def test_verbs_that_sample_or_weigh_again(model, post):
    tight = post.with_priors({"sd": blm.Prior("HalfNormal", sigma=0.05)}, random_seed=2, draws=300)
    assert tight.draws("sd_herd").mean() < 0.1 < post.draws("sd_herd").mean()
    assert "exact marginal" in " ".join(tight.verdict.split())
    assert (post.prior_sensitivity()["prior"] < 0.2).all()
    assert np.isfinite(post.loo().elpd)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bernoulli logit", "ordinal logit", "poisson, a row a level"])
def test_draws_agree_with_nuts(name):
    """A thin run of ``python tests/agreement_families.py``, which takes fifteen structures."""
    found = agreement.disagreement(*agreement_families.both(*agreement_families.structures()[name]))
    assert found["largest"].max() < 4.5, found.to_string()  # up to 652 quantities; seeds are fixed
