"""Whatever a grouping factor is called, draws are made, looked at, saved and read back: both samplers, PyMC, ArviZ."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.results.diagnosis import diagnose_draws
from bayeslmm.results.log_density import log_likelihood

FEW = {"draws": 40, "tune": 100, "chains": 2, "cores": 1, "random_seed": 1, "progressbar": False}
FORMULAS = {
    "obs": "y ~ x + (x | obs)",
    "sigma": "y ~ x + (1 | sigma)",
    "beta": "y ~ x + (1 | beta)",
    "chain": "y ~ x + (1 | chain) + (1 | draw)",
    "sample": "y ~ x + (1 | sample) + (1 | variable) + (1 | column)",
    "threshold": "y ~ x + (1 | threshold) + (1 | coef)",
    "observation": "y ~ x + (1 | observation) + (1 | response)",
    "g": "y ~ x + (x | g) + (1 | g_x)",
    "h": "y ~ x + (x | h) + (1 | h_term) + (1 | h_term_bis)",
    "b": "y ~ x + (x | b) + (1 | sd_b) + (1 | coef_b)",
    "a/b": "y ~ x + (x | `a/b`) + (1 | a_b)",
    ".": "y ~ x + (1 | `.`) + (1 | ` `)",
}


def table(formula):
    from bayeslmm.formulas.formula import parse_formula

    rng = np.random.default_rng(0)
    d = pd.DataFrame({"x": rng.normal(size=60)})
    factors = [bar.group[0] for bar in parse_formula(formula).bars]
    for k, name in enumerate(factors):
        d[name] = [f"{name}{level}" for level in (np.arange(60) // 6 if k == 0 else rng.integers(0, 5, 60))]
    d["y"] = rng.normal(size=10)[np.arange(60) // 6] + rng.normal(size=60)
    return d, factors


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")  # as few draws as will do
@pytest.mark.parametrize("method", ["exact", "nuts"])
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_any_factor_name_serves_every_verb(formula, method, tmp_path):
    data, factors = table(formula)
    model = blm.Model(formula, data)
    post = model.fit(method=method, **FEW)
    blm.save(post, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    for group in ("posterior", "observed_data"):
        assert again.idata[group].to_dataset().equals(post.idata[group].to_dataset())
    assert list(again.idata.observed_data["obs"].to_numpy()) == list(data.index)
    assert list(again.idata.posterior.data_vars) == list(post.idata.posterior.data_vars)
    assert list(post.ranef()["group"].unique()) == factors == list(post.var_corr())
    assert set(post.coef(draws=True).sizes) >= {"chain", "draw", post.design.names.level[factors[0]]}
    prior = model.prior_predictive(draws=3, random_seed=1).prior
    assert {str(n): v.dims for n, v in prior.data_vars.items()} == {
        str(n): v.dims for n, v in post.idata.posterior.data_vars.items()
    }
    assert np.isfinite(log_likelihood(post.design, post.idata.posterior)["y"]).all()
    post.compute_log_prior()
    assert len(post.prior_influence()) == len(post.tidy(effects=["fixed", "ran_pars"]))


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
@pytest.mark.parametrize("formula", [FORMULAS[key] for key in ("obs", "g", "b", "a/b")])
def test_draws_of_the_pymc_model_are_read(formula):
    import arviz_plots
    import pymc as pm

    data, _ = table(formula)
    model = blm.Model(formula, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyMC's remarks on few draws
        tree = pm.sample(
            5,
            tune=5,
            chains=2,
            cores=1,
            model=model.pymc,
            random_seed=1,
            progressbar=False,
            nuts_sampler="pymc",
            compute_convergence_checks=False,
        )
        arviz_plots.plot_forest(tree, backend="none")
    post = model.read_draws(tree)
    assert post.design.names.effects <= set(map(str, tree.posterior.data_vars))
    assert post.ranef()["mean"].notna().all()


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
def test_a_factor_called_obs_is_looked_at_by_the_diagnosis():
    formula = FORMULAS["obs"]
    post = blm.Model(formula, table(formula)[0]).fit(method="nuts", **FEW)
    stuck = post.idata.posterior.to_dataset().copy(deep=True)
    stuck["b_obs"][0, :, 3, 0] += 50.0
    tree = type(post.idata).from_dict({"posterior": stuck})
    with pytest.warns(blm.errors.SamplingWarning, match="chains disagree"):
        assert not diagnose_draws(tree, post.design.names).converged


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning")
def test_files_with_dimensions_of_other_names_are_read():
    """Versions before the naming contract called the levels of a factor `obs` as the rows are called."""
    from bayeslmm.results.storage import _under_contract

    post = blm.Model(FORMULAS["sigma"], table(FORMULAS["sigma"])[0]).fit(**FEW | {"draws": 100, "chains": 4})
    before = post.idata.posterior.to_dataset().drop_vars("sigma_level").rename_dims(sigma_level="before")
    after = _under_contract(before, post.design)
    assert after["b_sigma"].dims == ("chain", "draw", "sigma_level", "sigma_term")
    assert np.array_equal(after["b_sigma"], post.draws("b_sigma"))
