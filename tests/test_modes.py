"""A thin run of ``python tests/modes.py``, and a sampler that its judge has to refuse."""

from __future__ import annotations

import modes
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import exact


@pytest.fixture(scope="module")
def case():
    return modes.contradicted()


@pytest.mark.slow
def test_no_mode_is_missed_without_a_word():
    rows, failures = modes.study(12, seed=3)
    assert not failures
    assert rows["bimodal"].sum() >= 2
    assert rows["converged"].mean() > 0.5
    # quantiles of some 1,000 effective draws, four sds of a share of a half; quadrature errs by less than 0.01
    assert rows.loc[rows["converged"], "off"].max() < 0.08


def test_the_contradicted_slope(case):
    known = modes.truth(case)
    post = blm.Model(case.formula, case.data, priors=case.priors).fit(random_seed=1, progressbar=False, cores=1)
    judged = modes.judge(case, post, known)
    assert judged["bimodal"] and not judged["missed"]
    assert post.diagnosis.converged and "modes with" in post.verdict
    z = post.draws("beta")[..., 1]
    # independence Metropolis between the modes: at least 400 effective draws, or the verdict would doubt
    assert np.mean(z < 1.0) == pytest.approx(known.below("z", 1.0), abs=4.0 * 0.5 / np.sqrt(400))


def test_nuts_in_one_mode_says_so(case):
    model = blm.Model(case.formula, case.data, priors=case.priors)
    with pytest.warns(errors.SamplingWarning):
        post = model.fit(method="nuts", random_seed=1, progressbar=False, cores=1, draws=300, tune=500)
    assert not post.diagnosis.converged
    assert not modes.judge(case, post, modes.truth(case))["missed"]


def test_the_judge_refuses_a_sampler_that_does_not_look(case, monkeypatch):
    from bayeslmm.engine import modes as engine

    monkeypatch.setattr(engine, "look_around", lambda *args: None)
    post = blm.Model(case.formula, case.data, priors=case.priors).fit(random_seed=1, progressbar=False, cores=1)
    assert post.diagnosis.converged
    assert modes.judge(case, post, modes.truth(case))["missed"]


def test_the_command_says_what_was_missed(monkeypatch, capsys, case):
    def one(count, seed, *, method, every, report):
        row = {"shape": "one slope", "bimodal": True, "converged": True, "off": 0.5, "seconds": 1.0}
        return pd.DataFrame([{**row, "missed": method == "nuts"}]), ["by nuts"] * (method == "nuts")

    monkeypatch.setattr(modes, "study", one)
    monkeypatch.setattr("sys.argv", ["modes.py", "--count", "1"])
    assert modes.main() == 1
    told = capsys.readouterr().out
    assert "method='exact'" in told and told.rstrip().endswith("by nuts")
    monkeypatch.setattr("sys.argv", ["modes.py", "--nuts", "0"])
    assert modes.main() == 0


def test_the_formulas_of_the_judge():
    """Its density of a slope, σ and an sd against that of y with all of V written out."""
    case = modes.contradicted()
    g, z = case.data["g"].to_numpy(object), case.data["z"].to_numpy()
    sigma, tau, slope = 0.9, 0.7, 0.4
    V = sigma**2 * np.eye(len(z)) + tau**2 * (g[:, None] == g[None, :]) + modes.INTERCEPT_SD**2
    written = stats.multivariate_normal(slope * (z - z.mean()), V).logpdf(case.data["y"])
    quadratic, log_det = modes.products(case, ["z"], np.array([sigma]), np.array([[tau]]))
    quadratic, base = modes.out(quadratic, -0.5 * log_det, 0, modes.INTERCEPT_SD**-2 * np.ones(1))
    a, b, c = quadratic[0, 0, 0], quadratic[0, 0, 1], quadratic[0, 1, 1]
    assert base[0] - 0.5 * (a * slope**2 - 2.0 * b * slope + c) == pytest.approx(written, abs=1e-8)


def test_draws_of_nuts_are_not_judged_where_no_prior_has_an_opinion(monkeypatch):
    def never(*args):
        raise AssertionError("a survey was made")

    monkeypatch.setattr(exact, "cover", never)
    model = blm.Model("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"))
    with pytest.warns(errors.SamplingWarning):
        model.fit(method="nuts", draws=20, tune=50, chains=2, cores=1, progressbar=False, random_seed=1)
