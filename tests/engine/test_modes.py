"""The survey of a density from afar, on posteriors whose modes are known by quadrature."""

from __future__ import annotations

from dataclasses import replace

import modes as study
import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm.engine.hyperpriors import HyperPriors
from bayeslmm.engine.marginal import Marginal
from bayeslmm.engine.modes import cover, disagreement, look_around, modes_of_draws, survey
from bayeslmm.engine.opinions import box, is_opinionated
from bayeslmm.engine.proposal import fit_proposal, nearest_modes
from bayeslmm.engine.scaling import Problem


def marginal_of(model):
    return Marginal(Problem.of(model.design), HyperPriors.of(model.design, model.priors))


@pytest.fixture(scope="module")
def case():
    return study.contradicted()


@pytest.fixture(scope="module")
def marginal(case):
    return marginal_of(blm.Model(case.formula, case.data, priors=case.priors))


@pytest.fixture(scope="module")
def covered(marginal):
    return cover(marginal, marginal.log_densities, np.random.default_rng(1), np.random.default_rng(2))


def test_both_modes_get_their_mass(case, covered):
    (name, value, below), *_ = study.truth(case).splits
    assert name == "z" and 0.5 < value < 1.5
    heavy, light = np.sort(covered.fitted.masses)[::-1]
    # the basins part at another place than the valley of the slope's density: 1 % of mass lies between
    assert heavy == pytest.approx(below, abs=4.0 * covered.fitted.errors.max() + 0.03)
    assert heavy + light == pytest.approx(1.0)
    assert not covered.missed and not covered.doubt()
    assert len(covered.words.split(", ")) == 2


def test_a_proposal_around_one_mode_is_seen_to_miss_the_other(marginal, covered):
    alone = fit_proposal(marginal, np.random.default_rng(1))
    assert alone.share > 0.7  # by itself it looks well
    missed = covered.seen.missed(alone, marginal.log_densities)
    assert 0.15 < missed < 0.85
    doubt = replace(covered, fitted=alone, missed=missed).doubt()
    assert f"{missed:.1%} of the posterior" in doubt


def test_draws_that_keep_to_one_mode_are_told(covered):
    fitted = covered.fitted
    rng = np.random.default_rng(3)
    right = rng.choice(len(fitted.masses), p=fitted.masses / fitted.masses.sum(), size=(4, 1000))
    assert disagreement(fitted, right) == ""
    assert "0.0% of the draws" in disagreement(fitted, np.zeros_like(right) + np.argmin(fitted.masses))
    swapped = np.argsort(fitted.masses)[::-1][np.argsort(np.argsort(fitted.masses))][right]
    assert "of the draws" in disagreement(fitted, swapped)
    rare = replace(fitted, masses=np.array([0.99, 0.01]), errors=np.array([1e-3, 1e-3]))
    assert "1.0% of the mass got 0.0%" in disagreement(rare, np.zeros((4, 1000), int))


def test_draws_on_the_users_scale_find_their_mode(marginal, covered):
    rng, fitted = np.random.default_rng(4), covered.fitted
    x = np.concatenate([fitted.proposal.near.draw(rng, 2000)])
    x = x[(x[:, marginal.space.sd_at] >= 0.0).all(axis=1)]
    walk = marginal.walk(
        np.concatenate([x[:1], x]),
        np.zeros(len(x) + 1),
        np.full(len(x), -np.inf),
        rng.standard_normal((len(x), marginal.p + marginal.layout.m)),
    )
    labels = modes_of_draws(marginal, fitted, np.concatenate(walk.sds, axis=1), walk.sigma, walk.beta)
    same = labels == nearest_modes(fitted.proposal.near, fitted.of_mode, walk.x)
    assert same.mean() > 0.97  # a draw between the modes may go to either, since its ω is replaced by a mean


def test_the_box_holds_both_ends_of_a_conflict(marginal):
    low, high = box(marginal, marginal.starts()[:1])
    z = np.log(np.array([2.0]) / marginal.space.softness)  # the sd beside a slope of zero
    assert (low[:1] < z).all() and (z < high[:1]).all()
    omega = 4.0 / (3.0 + (2.0 / 0.003) ** 2)  # of a slope of 2
    assert low[-1] < np.log(omega) and high[-1] > 0.0


@pytest.mark.parametrize("name", ["sleepstudy", "hsb"])
def test_priors_without_an_opinion_cost_no_survey(name):
    formula = {"sleepstudy": "Reaction ~ Days + (Days | Subject)", "hsb": "mathach ~ ses + (ses | school)"}[name]
    marginal = marginal_of(blm.Model(formula, blm.load_dataset(name)))
    assert not is_opinionated(marginal)
    fitted = fit_proposal(marginal, np.random.default_rng(1))
    assert look_around(marginal, marginal.log_densities, np.random.default_rng(2), fitted) is None


@pytest.mark.parametrize(
    "priors",
    [
        {"Days": blm.Prior("StudentT", nu=3, mu=0, sigma=0.01)},
        {"Days": blm.Prior("Normal", mu=200, sigma=30)},
        {"Intercept": blm.Prior("Cauchy", alpha=0, beta=1)},
        {"sd": blm.Prior("HalfCauchy", beta=0.1)},
        {"sd": blm.Prior("LogNormal", mu=-3, sigma=0.5)},
        {"sigma": blm.Prior("Uniform", lower=0, upper=10)},
    ],
)
def test_narrow_and_distant_priors_are_opinions(priors):
    model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"), priors=priors)
    assert is_opinionated(marginal_of(model))


def test_a_survey_of_one_mode_finds_one():
    model = blm.Model("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"))
    marginal = marginal_of(model)
    fitted = fit_proposal(marginal, np.random.default_rng(1))
    seen = survey(marginal, marginal.log_densities, np.random.default_rng(2), fitted.proposal)
    assert len(seen.modes) == 1 and seen.missed(fitted, marginal.log_densities) == 0.0
