"""Relationship matrices, multi-memberships and smooths against lme4, metafor and mgcv (reference/structures)."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.engine.reml import mode_slopes
from bayeslmm.engine.scaling import Problem

FOLDER = Path(__file__).parents[1] / "reference" / "structures"
REFERENCES = json.loads((FOLDER / "wide.json").read_text())
MODELS = {  # formula, the term that is wide, its matrix
    "pedigree_a": ("weight ~ sex + record + (1 | gr(animal, cov=A))", "gr(animal)", "sim_pedigree_A"),
    "pedigree_a_pe": ("weight ~ sex + record + (1 | gr(animal, cov=A)) + (1 | animal)", "gr(animal)", "sim_pedigree_A"),
    "phylo": ("y ~ x + (1 | gr(species, cov=A))", "gr(species)", "sim_phylo_C"),
    "lattice_car": ("y ~ x + (1 | gr(cell, prec=A))", "gr(cell)", "sim_lattice_Q"),
    "mm_equal": ("y ~ x + (1 | mm(school1, school2))", "mm(school1, school2)", None),
    "mcycle_tp": ("accel ~ s(times, k=15)", "s(times)", None),
    "mcycle_cr": ("accel ~ s(times, k=20, bs='cr')", "s(times)", None),
    "mcycle_ps": ("accel ~ s(times, k=20, bs='ps')", "s(times)", None),
    "smooth_ri": ("y ~ s(x, k=12) + (1 | g)", "s(x)", None),
    "smooth_by": ("y ~ f + s(x, by=f, bs='cr')", "s(x):fA", None),
    "smooth_by_ri": ("y ~ f + s(x, by=f, bs='cr') + (1 | g)", "s(x):fA", None),
}


def matrix_of(name):
    return pd.read_csv(FOLDER / f"{name}.csv", index_col=0)


@cache
def fitted(name):
    model, how = name.rsplit("_", 1)
    formula, _, matrix = MODELS[model]
    data = pd.read_csv(FOLDER / REFERENCES[name]["data"], dtype={"record": str})
    given = None if matrix is None else {"A": matrix_of(matrix)}
    made = blm.Model(formula, data, matrices=given)
    return made.fit_reml() if how == "reml" else made.fit_ml()


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
@pytest.mark.parametrize("name", REFERENCES)
def test_fit_is_that_of_the_reference(name):
    reference, fit = REFERENCES[name], fitted(name)
    term = MODELS[name.rsplit("_", 1)[0]][1]
    # both are optima of one function; doubles leave 1e-9 of a criterion of some hundreds
    assert fit.criterion == pytest.approx(reference["criterion"], rel=1e-9)
    assert fit.sigma == pytest.approx(reference["sigma"], rel=1e-5)
    np.testing.assert_allclose(fit.fitted()[:20], reference["fitted"], atol=1e-5 * fit.sigma)
    sds = {g: float(np.sqrt(cov.iloc[0, 0])) for g, cov in fit.var_corr().items()}
    if "levels" in reference and "smooth" not in name:
        table = fit.ranef().query("group == @term").set_index("level").loc[reference["levels"]]
        np.testing.assert_allclose(table["estimate"], reference["ranef"], atol=1e-5 * fit.sigma)
        np.testing.assert_allclose(table["std_error"], reference["cond_sd"], rtol=1e-5)
        assert sds[term] == pytest.approx(list(reference["random"].values())[0], rel=1e-4)
    for label, sd in reference["smooth"].items():
        mine = label.replace("s(x):", "s(x):f")
        assert sds[mine] == pytest.approx(sd, rel=1e-4, abs=1e-6)


def of_lines(name):
    """Whether the fixed effects are those of the reference: other bases share a straight line with their curve."""
    return not name.startswith(("mcycle_tp", "smooth"))


@pytest.mark.parametrize("name", [name for name in REFERENCES if of_lines(name)])
def test_fixed_effects_are_those_of_the_reference(name):
    reference, fit = REFERENCES[name], fitted(name)
    se = np.array(reference["se"])
    assert np.abs((fit.solution.beta - reference["fixef"]) / se).max() < 1e-5
    np.testing.assert_allclose(np.sqrt(np.diag(fit.solution.vcov)), se, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
@pytest.mark.parametrize("name", [name for name in REFERENCES if "grid" in REFERENCES[name]])
def test_curves_and_their_errors_are_mgcvs(name):
    reference, fit = REFERENCES[name], fitted(name)
    grid = pd.DataFrame(reference["grid"])
    told = fit.predict(grid, interval="plug-in", groups="average")
    se = np.array(reference["grid_se"])
    assert np.abs((told["estimate"] - reference["grid_fit"]) / se).max() < 1e-4
    np.testing.assert_allclose(told["std_error"], se, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
@pytest.mark.parametrize("name", [name for name in REFERENCES if REFERENCES[name].get("edf_total")])
def test_degrees_of_freedom_are_mgcvs(name):
    """Of smooths, with those of the ordinary fixed effects and of random intercepts, all together."""
    fit = fitted(name)
    table, design, solution = fit.smooths(), fit.design, fit.solution
    total = table["edf"].sum() + design.p - sum(table["most"] - [g.n_levels for g in design.smooths])
    slopes = mode_slopes(Problem.of(design), solution)
    for k, g in enumerate(design.groups):
        if g.is_grouping:
            moved = np.einsum("jqp,pr,jqr->", slopes[k], solution.vcov, slopes[k])
            variance = solution.covariances[k][0, 0]
            total += g.n_levels - (solution.mode_covariances[k].sum() + moved) / variance
    assert total == pytest.approx(REFERENCES[name]["edf_total"], rel=1e-5)
