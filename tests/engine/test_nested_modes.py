"""Other modes of a marginal by quadrature, beside integrals on grids."""

from __future__ import annotations

import modes_of_counts
import numpy as np
import pandas as pd
import pytest
from modes_of_counts import OTHER_PRIORS, fit, slopes_of
from shifted import fixed_rng

import bayeslmm as blm
from bayeslmm.engine.nested_marginal import NestedMarginal
from bayeslmm.engine.nested_modes import modes_in_conflict
from bayeslmm.engine.pql import rough_fit
from bayeslmm.errors import SamplingWarning
from bayeslmm.results import quadrature


def counts(seed=1, levels=12, rows=6, slope=2.0):
    """Counts whose group means hang on z."""
    rng = fixed_rng(seed)
    z, g = np.linspace(-1.5, 1.5, levels), np.repeat(np.arange(levels), rows)
    eta = 1.0 + slope * z[g] + rng.normal(0.0, 0.25, levels)[g]
    return pd.DataFrame({"y": rng.poisson(np.exp(eta)), "z": z[g], "g": [f"g{i:02d}" for i in g]})


def test_both_modes_are_drawn_in_their_masses():
    data, scale = counts(), 0.001
    truth = modes_of_counts.Truth(data, "poisson").below(1.0, 3.0, scale)
    post = fit(data, "poisson", 3, scale, random_seed=1)
    assert 0.1 < truth < 0.9  # else there is nothing to see
    assert np.mean(slopes_of(post) < 1.0) == pytest.approx(truth, abs=0.06)  # 4,000 draws, of which 1 in 10 count
    assert "modes with" in " ".join(post.verdict.split())


def test_a_narrow_prior_of_tails_that_are_light_leaves_one_mode():
    slope = blm.Prior("Normal", mu=0, sigma=0.05)
    model = blm.Model("y ~ z + (1 | g)", counts(), family="poisson", priors={**OTHER_PRIORS, "z": slope})
    post = model.fit(random_seed=1, draws=500, progressbar=False)
    assert "modes with" not in post.verdict and np.abs(slopes_of(post)).max() < 0.5


def test_a_shoulder_that_is_no_mode_gets_its_draws():
    """Eighteen rows whose slope has 1.2 % of its mass about the data's, without a dip on the way from the prior's."""
    data, slope = modes_of_counts.simulate(np.random.default_rng(np.random.SeedSequence(7).spawn(40)[39]), "binomial")
    cut, nu, scale = slope / 2.0, 3.0, slope * 10.0**-1.5
    truth = 1.0 - modes_of_counts.Truth(data, "binomial").below(cut, nu, scale)
    assert 0.01 < truth < 0.02
    posts = [fit(data, "binomial", nu, scale, random_seed=seed) for seed in (39, 1, 2)]
    drawn = np.mean([np.mean(slopes_of(post) > cut) for post in posts])
    assert drawn == pytest.approx(truth, rel=0.6)  # some 3,000 effective draws: a sixth of that is an error
    assert all(post.diagnosis.converged for post in posts)


def test_priors_of_no_conflict_are_not_looked_at():
    marginal, near = settled(counts(), 50.0)
    assert modes_in_conflict(marginal, None, near) is None  # the density is not asked


def settled(data, scale):
    slope = blm.Prior("StudentT", nu=3, mu=0, sigma=scale)
    model = blm.Model("y ~ z + (1 | g)", data, family="poisson", priors={**OTHER_PRIORS, "z": slope})
    design = model.priors.at_means(model.design)
    marginal = NestedMarginal(design, model.priors, rough_fit(design))
    return marginal, marginal.settle(marginal.log_densities, fixed_rng(1))


def test_draws_that_leave_a_mode_out_are_told():
    marginal, near = settled(counts(), 0.002)
    modes = modes_in_conflict(marginal, marginal.log_densities, near)
    assert len(modes.points) == 2 and modes.masses.sum() == pytest.approx(1.0)
    beta, _ = marginal.outwards(np.repeat(modes.points, 50, axis=0), np.empty((100, 0)))
    of_beta = marginal.inwards(beta)
    np.testing.assert_allclose(of_beta[::50], modes.points[:, :2], atol=1e-9)
    assert modes.skipped(of_beta) == ""
    for only in (of_beta[:50], of_beta[50:]):
        assert "got 0.0% of the draws" in modes.skipped(only)


def test_a_proposal_has_a_part_at_a_shoulder_and_none_at_a_mode():
    stream = np.random.default_rng(np.random.SeedSequence(7).spawn(40)[39])
    data, slope = modes_of_counts.simulate(stream, "binomial")
    model = blm.Model(
        modes_of_counts.FORMULAS["binomial"],
        data,
        family="binomial",
        priors={**OTHER_PRIORS, "z": blm.Prior("StudentT", nu=3, mu=0, sigma=slope * 10.0**-1.5)},
    )
    marginal = NestedMarginal(model.priors.at_means(model.design), model.priors, rough_fit(model.design))
    near = marginal.settle(marginal.log_densities, fixed_rng(1))
    modes = modes_in_conflict(marginal, marginal.log_densities, near)
    assert len(modes.points) == 1 and modes.points[0, 1] < -4.0  # the prior's end, in errors from the data's
    assert len(modes.shoulders) == 1 and modes.shoulders[0, 1] == 0.0
    mixture, of_mode = modes.mixture(fixed_rng(2))
    assert mixture.shares[-1] > 0.02 and len(of_mode) == len(mixture.shares) == 3
    np.testing.assert_array_equal(mixture.means[-1], modes.shoulders[0])
    marginal, near = settled(counts(), 0.002)  # two modes with a valley between: their ends are no shoulders
    assert len(modes_in_conflict(marginal, marginal.log_densities, near).shoulders) == 0


def test_nuts_in_one_mode_says_so(monkeypatch):
    with pytest.warns(SamplingWarning, match="several modes"):
        post = fit(counts(), "poisson", 3, 0.002, random_seed=1, draws=200, tune=200, method="nuts")
    assert not post.diagnosis.converged
    monkeypatch.setattr(quadrature, "SHARE_LIMIT", 1.1)  # so that no proposal fits
    with pytest.warns(SamplingWarning, match="several modes"):
        fit(counts(), "poisson", 3, 0.002, random_seed=1, draws=200, tune=200)


@pytest.mark.slow
def test_no_mode_is_missed_without_a_word():
    """A thin run of ``python tests/modes_of_counts.py``."""
    rows = modes_of_counts.study(6, seed=1)
    assert not rows["missed"].any() and rows["two"].sum() >= 3
    off = (rows["mass"] - rows["drawn"])[rows["converged"]].abs()
    assert off.max() < 4.0 * 0.5 / np.sqrt(400)  # the verdict asks for 400 effective draws


def test_the_judge_refuses_a_sampler_that_does_not_look(monkeypatch):
    monkeypatch.setattr(quadrature, "modes_in_conflict", lambda *args: None)
    post = fit(counts(), "poisson", 3, 0.0005, random_seed=1)
    truth = modes_of_counts.Truth(counts(), "poisson").below(1.0, 3.0, 0.0005)
    assert truth > 0.9 and post.diagnosis.converged and np.mean(slopes_of(post) < 1.0) < truth / 3.0
