"""Defaults, overriding and refusals of priors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.design.priors import resolve_priors
from bayeslmm.errors import PriorError


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


def priors(data, user=None, formula="Reaction ~ Days + (Days | Subject)"):
    return resolve_priors(build_design(formula, data), user)


def test_defaults_are_scaled_to_the_data(sleep):
    sd_y, sd_x = sleep["Reaction"].std(), sleep["Days"].std()
    found = priors(sleep)
    params = {e.label: dict(e.prior.params) for e in found.entries if e.kind != "cor"}
    assert params["Intercept"] == pytest.approx({"mu": sleep["Reaction"].mean(), "sigma": 2.5 * sd_y})
    assert params["Days"] == pytest.approx({"mu": 0.0, "sigma": 2.5 * sd_y / sd_x})
    assert params["sd(Intercept | Subject)"] == pytest.approx({"nu": 3.0, "sigma": sd_y})
    assert params["sd(Days | Subject)"] == pytest.approx({"nu": 3.0, "sigma": sd_y / sd_x})
    assert params["sigma"] == pytest.approx({"nu": 3.0, "sigma": sd_y})
    assert found.get("cor", "Subject") == blm.LKJ(2.0)


def test_no_prior_moves_when_a_predictor_is_shifted(sleep):
    shifted = sleep.assign(Days=sleep["Days"] + 1000.0)
    for a, b in zip(priors(sleep).entries, priors(shifted).entries, strict=True):
        if a.kind != "cor":
            assert [v for _, v in a.prior.params] == pytest.approx([v for _, v in b.prior.params])


def test_the_most_specific_key_wins(sleep):
    wide, narrow, one = (blm.Prior("HalfNormal", sigma=s) for s in (100.0, 10.0, 1.0))
    found = priors(sleep, {"sd": wide, ("sd", "Subject"): narrow, ("sd", "Subject", "Days"): one})
    assert found.get("sd", "Subject", "Days") == one
    assert found.get("sd", "Subject", "Intercept") == narrow
    found = priors(sleep, {"fixed": blm.flat(), "Days": blm.Prior("Normal", mu=0, sigma=1), "cor": blm.LKJ(1)})
    assert found.get("fixed", term="Days") == blm.Prior("Normal", mu=0, sigma=1)
    assert found.get("cor", "Subject") == blm.LKJ(1)
    assert "set by you" in str(found)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"Dayz": blm.flat()}, "Did you mean Days"),
        ({("sd", "School"): blm.flat()}, "no parameter matches"),
        ({"cor": blm.flat()}, "expected a LKJ"),
        ({"sigma": blm.LKJ(1)}, "expected a Prior"),
        ({"sigma": 3.0}, "expected a Prior"),
    ],
)
def test_keys_and_values_that_cannot_be(sleep, user, message):
    with pytest.raises(PriorError, match=message):
        priors(sleep, user)


def test_impossible_parameters():
    with pytest.raises(PriorError, match="must be positive"):
        blm.Prior("Normal", mu=0, sigma=-1)
    with pytest.raises(PriorError, match="finite numbers"):
        blm.Prior("Normal", mu=np.nan, sigma=1)
    with pytest.raises(PriorError, match="eta must be positive"):
        blm.LKJ(0)


def test_printed_in_at_most_100_columns(sleep):
    assert max(map(len, str(priors(sleep)).splitlines())) <= 100


def test_a_constant_predictor_has_the_scale_of_the_response_also_where_its_sd_is_rounding():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=30), "tenth": 0.1, "g": list("abcde") * 6})
    assert 0.0 < data["tenth"].std() < 1e-15
    priors = resolve_priors(build_design("y ~ 0 + tenth + (0 + tenth | g)", data))
    sd = data["y"].std()
    assert dict(priors.get("fixed", term="tenth").params)["sigma"] == pytest.approx(2.5 * sd)
    assert dict(priors.get("sd", "g", "tenth").params)["sigma"] == pytest.approx(sd)
