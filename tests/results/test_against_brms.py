"""Posterior means against brms under brms's priors (tests/reference/brms.json: 4 x 5,000 draws, adapt_delta 0.95)."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm.errors import DatasetUnavailableError

REFERENCE = json.loads((pathlib.Path(__file__).parents[1] / "reference" / "brms.json").read_text())


def student_t(text, name="StudentT"):
    nu, mu, sigma = map(float, re.findall(r"-?[\d.]+", text))
    location = {"mu": mu} if name == "StudentT" else {}
    return blm.Prior(name, nu=nu, sigma=sigma, **location)


@pytest.fixture(scope="module", params=sorted(REFERENCE))
def case(request):
    reference = REFERENCE[request.param]
    try:
        data = blm.load_dataset(request.param)
    except DatasetUnavailableError as error:
        pytest.skip(str(error))
    half = student_t(reference["priors"]["sd"], "HalfStudentT")
    priors = {
        "Intercept": student_t(reference["priors"]["Intercept"]),
        "fixed": blm.flat(),
        "sd": half,
        "sigma": half,
        "cor": blm.LKJ(1),
    }
    model = blm.Model(reference["formula"], data, priors=priors)
    return reference, model.fit(draws=4000, random_seed=11, progressbar=False)


def ours(post, name):
    """Draws of a parameter by its name in brms."""
    kind, _, rest = name.partition("_")
    if kind == "sigma":
        return post.draws("sigma")
    if kind == "b":
        return post.draws("beta")[..., list(post.design.x_names).index(rest)]
    group = next(g for g in post.design.groups if rest.startswith(g.name))
    terms = [list(group.columns).index(t) for t in rest.removeprefix(group.name + "__").split("__")]
    return post.draws(f"{kind}_{group.name}")[(..., *terms)]


def test_posterior_means(case):
    from arviz import mcse

    reference, post = case
    assert post.diagnosis.converged and "exact sampler" in post.verdict
    for name, figures in reference["parameters"].items():
        draws = ours(post, name)
        # 4 Monte Carlo standard errors of the difference of two independent estimates
        tolerance = 4.0 * np.hypot(figures["mcse_mean"], float(mcse(draws)))
        assert draws.mean() == pytest.approx(figures["mean"], abs=tolerance), name
        # 20,000 and 16,000 draws, of which at least one in five is worth an independent one: sds to √(1/2/3200) = 1.3 %
        assert draws.std() == pytest.approx(figures["sd"], rel=4 * np.hypot(0.013, 0.013)), name


def test_the_verbs_answer_with_distributions(case):
    _, post = case
    group = post.design.groups[0]
    ranef, coef = post.ranef(), post.coef(wide=True)
    assert len(ranef) == group.n_levels * group.q
    assert list(coef.columns) == list(post.design.x_names)
    icc = post.icc()
    assert ((icc["conf_low"] > 0) & (icc["conf_high"] < 1) & (icc["conf_low"] < icc["mean"])).all()
    assert post.icc(draws=True).dims == ("chain", "draw", "icc")
    shares = post.variance_components().query("quantity == 'share'")
    assert shares["mean"].between(0, 1).all() and shares["mean"].sum() == pytest.approx(1.0)
    summary = str(post.summary())
    assert "95% equal-tailed" in summary and "R-hat" in summary and "Verdict" in summary
    assert max(map(len, summary.splitlines())) <= 100
    np.testing.assert_allclose(
        post.var_corr()[group.name].to_numpy().diagonal() ** 0.5,
        [reference_sd(post, group, k) for k in range(group.q)],
        rtol=1e-12,
    )


def reference_sd(post, group, k):
    return np.sqrt((post.draws(f"sd_{group.name}")[..., k] ** 2).mean())
