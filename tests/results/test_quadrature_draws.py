"""Posteriors of other families with few effects a row as a user meets them."""

from __future__ import annotations

from types import SimpleNamespace

import agreement
import agreement_families
import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import quadrature, sampling
from bayeslmm.results.diagnosis import Diagnosis
from bayeslmm.results.settings import Settings


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
    crossed = blm.Model("wide ~ x + (1 | g) + (1 | h)", agreement_families.simulated(), family="poisson")
    with pytest.raises(errors.NotAvailableError, match="crossed"):
        crossed.fit(method="exact")


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


OF_SEVERAL = {
    "slopes": "count ~ x + (x | g)",
    "nested": "count ~ x + (1 | g/h)",
    "a row a level": "count ~ x + (1 | g/i)",
}
PICTURES = (
    "plot_ranef",
    "plot_coef",
    "plot_pooling",
    "plot_lines",
    "plot_predictions",
    "plot_variance",
    "plot_icc",
    "plot_prior_posterior",
    "plot_residuals",
    "plot_ranef_normality",
    "plot_ppc",
    "plot_trace",
    "plot_rank",
    "plot_energy",
)


@pytest.fixture(scope="module", params=OF_SEVERAL)
def of_several(request):
    """Draws by quadrature of several effects a row."""
    model = blm.Model(OF_SEVERAL[request.param], agreement_families.simulated(8, 6), family="poisson")
    post = model.fit(random_seed=1, draws=500, progressbar=False)
    assert "exact marginal by quadrature" in " ".join(post.verdict.split()) and post.diagnosis.converged
    return post


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_drawn_of_several_effects_a_row(of_several, name):
    import matplotlib.pyplot as plt

    if name == "plot_energy":  # it is the energy of NUTS
        with pytest.raises(errors.RefusedVerbError, match="energy"):
            blm.plot_energy(of_several)
        return
    of_one = {"group": of_several.design.groups[0].name} if name in ("plot_lines", "plot_pooling") else {}
    drawn = getattr(blm, name)(of_several, **of_one)
    assert drawn is not None
    plt.close("all")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")  # of 48 rows a few are hard to leave out
def test_draws_of_several_effects_a_row_are_weighed_and_drawn_again(of_several):
    """Leave-one-out is what three folds estimate from less data, but for a few of its standard errors."""
    loo = of_several.loo()
    folds = blm.kfold(of_several, 3, random_seed=1, progressbar=False)
    assert folds.elpd == pytest.approx(loo.elpd, abs=4.0 * folds.se)
    sd = f"sd_{of_several.design.groups[0].name}"
    tight = of_several.with_priors({"sd": blm.Prior("HalfNormal", sigma=0.02)}, random_seed=2, draws=500)
    assert tight.draws(sd).mean() < 0.3 * of_several.draws(sd).mean()
    assert "exact marginal" in " ".join(tight.verdict.split())
    sensitivity = of_several.prior_sensitivity()
    assert np.isfinite(sensitivity["prior"]).all() and (sensitivity["prior"] >= 0.0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ordinal logit", "poisson, a row a level", "gamma, slopes and nested"])
def test_draws_agree_with_nuts(name):
    """A thin run of ``python tests/agreement_families.py``, which takes 22 structures."""
    found = agreement.disagreement(*agreement_families.both(*agreement_families.structures()[name]))
    assert found["largest"].max() < 4.5, found.to_string()  # up to 652 quantities; seeds are fixed


@pytest.mark.parametrize("fits", [True, False])
def test_doubtful_nuts_gives_way_to_quadrature_that_takes_longer(monkeypatch, fits):
    """Where a proposal fits; the samplers themselves are tried elsewhere."""
    model = blm.Model("count ~ x + (x | g)", agreement_families.simulated(8, 6), family="poisson")
    trees = [SimpleNamespace(posterior=SimpleNamespace(attrs={})) for _ in range(2)]
    doubtful = Diagnosis(max_rhat=1.2, min_ess_bulk=50.0, min_ess_tail=60.0, reasons=("chains disagree",))
    sound = Diagnosis(max_rhat=1.0, min_ess_bulk=900.0, min_ess_tail=900.0)
    verdicts = iter([lambda draw: (trees[0], doubtful), lambda draw: (draw(Settings()), sound)])
    monkeypatch.setattr(sampling, "FEW_NODES", 0)
    monkeypatch.setattr(sampling, "settled", lambda draw, *rest: next(verdicts)(draw))
    monkeypatch.setattr(sampling, "sample_quadrature", lambda *of: (trees[1], "" if fits else "no proposal fits"))
    monkeypatch.setattr(sampling, "tell", lambda diagnosis: None)
    draws = sampling.sample(model.design, model.priors, Settings(draws=500))
    assert draws.idata is trees[fits] and draws.diagnosis is (sound if fits else doubtful)
    assert trees[1].posterior.attrs == ({"reason": "NUTS was doubtful (R-hat 1.200, ESS 50)"} if fits else {})
