"""The table of references of structures tells right numbers from wrong ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structures

import bayeslmm as blm


def test_right_and_wrong_numbers_are_told_apart():
    (found,) = structures.factor_smooth()
    assert found.is_right()
    assert not replace(found, criterion=1e-5).is_right()
    assert not replace(found, parameters={"sd": 0.01}).is_right()
    assert not replace(found, curve=0.01).is_right()
    wanted = structures.kept("structures/smooths.json")["sleepstudy"]
    other = structures.beside("other", found.fit, wanted | {"criterion": wanted["criterion"] - 1.0}, {})
    assert other.criterion == pytest.approx(1.0 / wanted["criterion"], rel=1e-3) and not other.is_right()


def test_sds_of_zero_are_compared_in_units_of_sigma():
    model = blm.Model("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"))
    fit = model.fit_reml()
    wanted = {"criterion": fit.criterion, "fixef": fit.solution.beta, "se": [1.0, 1.0]}
    found = structures.beside("zero", fit, wanted, {"sd": (0.1 * fit.sigma, 0.0)})
    assert found.parameter == pytest.approx(0.1) and found.fixed == 0.0
