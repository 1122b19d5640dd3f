"""Every verb answers for wide terms or refuses with a typed reason; files keep matrices, slots and curves."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import BayesLMMError, InputError, NotAvailableError

from .test_posterior import FORMULAS, model

ARGUMENTS = {
    "comparisons": ("x",),
    "slopes": ("x",),
    "within_correlation": ("x",),
    "update": (". ~ .",),
    "refit": None,
    "pseudo_r2": None,
    "draws": ("sigma",),
    "parameters": ("fixed",),
    "summarise": None,
    "with_priors": ({},),
    "save": None,
    "means": ("x",),
    "trends": ("x",),
    "test": ("Intercept = 0",),
    "hypothesis": ("Intercept > 0",),
}
OPTIONS = {"bootstrap": {"draws": 2, "cores": 1, "progressbar": False}, "profile": {"progressbar": False}}


@pytest.fixture(scope="module", params=["gr", "mm", "gr slope", "mm slope", "s"])
def fits(request):
    made = model(request.param)
    return made, made.fit_reml(), made.fit(draws=100, random_seed=1, progressbar=False)


@pytest.fixture(scope="module")
def counts():
    """The posterior of a Poisson model with all three kinds of terms, by NUTS."""
    made = model("gr")
    rng, data = np.random.default_rng(8), made.design.frame
    data = data.assign(t=rng.uniform(0, 4, len(data)), h=np.roll(data.g, 3), s=np.roll(data.g, 5))
    data["n"] = rng.poisson(np.exp(np.sin(data.t)))
    formula = "n ~ x + s(t, k=5) + (1 | gr(g, cov=A)) + (1 | mm(h, s))"
    counted = blm.Model(formula, data, family="poisson", matrices=made.design.matrices)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SamplingWarning)  # few draws
        return counted.fit(draws=100, random_seed=1, progressbar=False)


def answer_or_refuse(fit):
    """How many verbs answered; the others said why not."""
    x = "t" if fit.design.smooths else "x"
    answered = 0
    for name in dir(type(fit)):
        arguments = ARGUMENTS.get(name, ())
        if name.startswith("_") or arguments is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = getattr(fit, name)
                if callable(found):
                    found(*(x if a == "x" else a for a in arguments), **OPTIONS.get(name, {}))
            answered += 1
        except (NotAvailableError, InputError) as refusal:
            assert len(str(refusal)) > 20
    return answered


@pytest.mark.parametrize("kind", ["point", "posterior"])
def test_verbs_answer_or_refuse(fits, kind):
    assert answer_or_refuse(fits[1] if kind == "point" else fits[2]) > 30


def test_verbs_of_counts_answer_or_refuse(counts):
    assert answer_or_refuse(counts) > 30


@pytest.mark.parametrize("verb", ["check", "ppc", "report", "plot_residuals", "plot_predictions", "plot_smooth"])
def test_functions_answer_or_refuse(fits, verb, tmp_path):
    fit = fits[1]
    options = (str(tmp_path / "report.html"),) if verb == "report" else ()
    if verb == "plot_smooth" and not fit.design.smooths:
        with pytest.raises(InputError, match="no smooth"):
            blm.plot_smooth(fit)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert getattr(blm, verb)(fit, *options) is not None


@pytest.mark.parametrize("verb", ["plot_variance", "plot_icc", "plot_prior_posterior"])
def test_pictures_of_posteriors_have_their_priors(fits, verb):
    """Which are drawn of the parameters alone, so that no level has to be one of its own."""
    if verb == "plot_icc" and fits[0].design.smooths:
        with pytest.raises(NotAvailableError, match="no random effects of groups"):
            blm.plot_icc(fits[2])
        return
    figure = getattr(blm, verb)(fits[2])
    assert {"posterior", "prior"} <= {line.get_label() for ax in figure.axes for line in ax.get_lines()}


def test_the_prior_beside_a_curve_counts_it():
    post = model("gr + s").fit(draws=100, random_seed=1, progressbar=False)
    assert blm.plot_icc(post) is not None
    with pytest.raises(NotAvailableError, match=r"plot_lines is not offered.*relationship matrix"):
        blm.plot_lines(post, "t", group="gr(g)")


@pytest.mark.parametrize("verb", ["explain", "equations", "prior_audit", "__repr__", "_repr_html_"])
def test_models_are_told(fits, verb):
    assert str(getattr(fits[0], verb)())


def test_the_graph_has_the_variables_of_the_draws(fits):
    made, _, posterior = fits
    free = {variable.name for variable in made.pymc.free_RVs}
    assert free == set(posterior.idata.posterior.data_vars)
    assert list(made.geometry["group"]) == [group.name for group in made.design.groups for _ in group.columns]


@pytest.mark.parametrize("name", FORMULAS)
def test_files_keep_the_terms(name, tmp_path):
    fit = model(name).fit_reml()
    blm.save(fit, tmp_path / "fit.nc")
    again = blm.load(tmp_path / "fit.nc")
    np.testing.assert_allclose(again.fitted(), fit.fitted(), atol=1e-9)
    rows = fit.design.frame.head(4)
    np.testing.assert_allclose(again.predict(rows), fit.predict(rows), atol=1e-9)


@pytest.mark.filterwarnings("ignore:loo:bayeslmm.errors.SamplingWarning")  # short chains
def test_counts_are_predicted_and_kept(counts, tmp_path):
    rows = counts.design.frame.head(3)
    means = counts.predict(rows, draws=True)
    b = {group.name: counts.draws(counts.design.names.b[group.name])[..., 0] for group in counts.design.groups}
    beta, eta = counts.draws("beta"), 0.0
    for group in counts.design.groups:
        eta = eta + np.einsum(
            "nj,cdj->cdn", np.asarray(group.taking(slice(0, 3)).matrix @ np.eye(group.n_levels)), b[group.name]
        )
    eta = eta + np.einsum("np,cdp->cdn", counts.design.X[:3], beta)
    np.testing.assert_allclose(means, np.exp(eta), rtol=1e-10)
    blm.save(counts, tmp_path / "counts.nc")
    np.testing.assert_allclose(blm.load(tmp_path / "counts.nc").predict(rows), counts.predict(rows), rtol=1e-12)
    elpd = counts.loo(refit=False)
    assert len(elpd.elpd_i) == counts.design.n
    assert (counts.predict(rows, groups="new")["sd"] > counts.predict(rows, groups="average")["sd"]).all()


def test_levels_of_wide_terms_are_not_left_out_and_labels_are_led_to(counts):
    for group in (group for group in counts.design.groups if group.is_grouping):
        with pytest.raises(blm.errors.NotAvailableError, match=r"loo\(unit='.*'\) is not offered.*folds=labels"):
            counts.loo(group.name)
        with pytest.raises(blm.errors.NotAvailableError, match=r"kfold\(unit='.*'\) is not offered.*folds=labels"):
            blm.kfold(counts, unit=group.name, progressbar=False)


def test_files_keep_empty_slots(tmp_path):
    data = model("mm").design.frame.copy()
    data["h"] = data["h"].astype(object)
    data.loc[data.index[:5], "h"] = None
    fit = blm.Model("y ~ x + (1 | mm(g, h))", data).fit_reml()
    blm.save(fit, tmp_path / "fit.nc")
    np.testing.assert_allclose(blm.load(tmp_path / "fit.nc").fitted(), fit.fitted(), atol=1e-9)


def test_equations_say_what_is_fitted():
    assert "Normal(0, τ₀[gr(g)]² A)" in str(model("gr").equations())
    assert "Σ_k w_ik b₀[mm(g, h)_ik]" in str(model("mm").equations())
    assert "s(t)_i = Σ_j B_ij u_j" in str(model("s").equations())


def test_equations_say_how_correlated_effects_are_related():
    written = str(model("gr slope").equations())
    assert "A ⊗ Σ" in written
    assert "Σ_k w_ik b₁[mm(g, h)_ik] x_i" in str(model("mm slope").equations())


def test_updates_keep_the_matrix():
    made = model("gr")
    assert made.update(". ~ . + t").design.matrices.keys() == {"A"}
    assert made.fit_reml().update(". ~ . - x").design.names.sd.keys() == {"gr(g)"}
    assert "s(t, k=7)" in model("s").update(". ~ . + x").design.formula.text


def test_a_smooth_is_no_group():
    fit = model("gr + s").fit_reml()
    assert set(fit.ngroups) == {"c", "gr(g)"}
    assert set(fit.ranef()["group"]) == {"c", "gr(g)"}
    with pytest.raises(InputError, match="no grouping factor"):
        fit.predict(groups={"s(t)": "average"})


def test_heritability_is_the_share_of_the_term():
    fit = model("gr").fit_reml()
    tau, sigma = fit.var_corr()["gr(g)"].iloc[0, 0], fit.sigma**2
    weight = fit.design.groups[0].row_variances.mean()
    assert fit.icc().loc["gr(g)", "estimate"] == pytest.approx(tau * weight / (tau * weight + sigma))
    assert issubclass(NotAvailableError, BayesLMMError)
    assert isinstance(fit.icc(), pd.DataFrame)


def test_the_command_line_takes_matrices(tmp_path, capsys):
    from bayeslmm.cli.main import main

    made = model("gr")
    made.design.frame.assign(n=np.arange(45) % 4).to_csv(tmp_path / "data.csv", index=False)
    A = made.design.matrices["A"]
    pd.DataFrame(A.values, index=A.labels, columns=A.labels).to_csv(tmp_path / "A.csv")
    arguments = ["fit", str(tmp_path / "data.csv"), "y ~ x + (1 | gr(g, cov=A))", "--reml"]
    assert main([*arguments, "--matrix", f"A={tmp_path / 'A.csv'}"]) == 0
    assert "gr(g)" in capsys.readouterr().out
    counted = ["fit", str(tmp_path / "data.csv"), "n ~ x + (1 | gr(g, cov=A))", "--family", "poisson", "--draws", "600"]
    assert main([*counted, "--matrix", f"A={tmp_path / 'A.csv'}"]) == 0
    assert "NUTS" in capsys.readouterr().out
    assert main([*arguments, "--matrix", "A"]) != 0
    assert "NAME=FILE.csv" in capsys.readouterr().err


def test_labels_of_a_file_may_be_numbers(tmp_path):
    from bayeslmm.cli.fit import read_matrices

    pd.DataFrame(np.eye(3), index=[1, 2, 3], columns=[1, 2, 3]).to_csv(tmp_path / "A.csv")
    table = read_matrices([f"A={tmp_path / 'A.csv'}"])["A"]
    data = pd.DataFrame({"y": np.arange(12.0) ** 0.5, "g": [1, 2, 3] * 4})
    assert blm.Model("y ~ 1 + (1 | gr(g, cov=A))", data, matrices={"A": table}).design.groups[0].levels == (1, 2, 3)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_terms_are_dropped_and_models_compared():
    data = model("gr + s").design.frame.assign(x=np.linspace(-1, 1, 45))
    A = {"A": model("gr").design.matrices["A"]}
    large = blm.Model("y ~ x + s(t, k=6) + (1 | gr(g, cov=A)) + (1 | c)", data, matrices=A).fit_reml()
    small = blm.Model("y ~ x + s(t, k=6) + (1 | c)", data).fit_reml()
    table = blm.ranova(large).table
    assert {"s(t)", "(1 | gr(g, cov=A))", "(1 | c)"} <= set(table.index)
    found = blm.anova(small, large).table
    change = small.criterion - large.criterion
    assert found["chisq"].iloc[-1] == pytest.approx(change, rel=1e-6)
    assert table.loc["(1 | gr(g, cov=A))", "chisq"] == pytest.approx(change, abs=1e-6)
    assert blm.drop1(large.model if hasattr(large, "model") else large) is not None


def test_estimates_stand_beside_the_posterior(fits):
    table = blm.compare_estimates(fits[1], fits[2])
    assert len(str(table)) > 100


@pytest.mark.parametrize("name", ["s", "gr + s"])
@pytest.mark.parametrize("kind", ["point", "posterior"])
def test_slopes_and_comparisons_go_along_the_curve(name, kind):
    made = model(name)
    fit = made.fit_reml() if kind == "point" else made.fit(draws=100, random_seed=1, progressbar=False)
    column = "estimate" if kind == "point" else "mean"
    rows, h = made.design.frame, 1e-4
    inside = rows[(rows.t > rows.t.min() + h) & (rows.t < rows.t.max() - h)]

    def mean(shift):
        told = fit.predict(inside.assign(t=inside.t + shift), groups="average")
        return float(np.mean(told if kind == "point" else told["mean"]))

    slope = fit.slopes("t", newdata=inside).iloc[0]
    # by differences on both sides
    assert slope[column if column in slope else "estimate"] == pytest.approx((mean(h) - mean(-h)) / (2 * h), rel=1e-3)
    change = fit.comparisons("t", contrast=(1.0, 2.0)).iloc[0]
    low, high = (fit.predict(rows.assign(t=t), groups="average") for t in (1.0, 2.0))
    wanted = float(np.mean(high - low)) if kind == "point" else float((high["mean"] - low["mean"]).mean())
    assert change[column if column in change else "estimate"] == pytest.approx(wanted, rel=1e-6)


def test_errors_of_comparisons_are_those_of_the_curve():
    fit = model("s").fit_reml()
    change = fit.comparisons("t", contrast=(1.0, 2.0)).iloc[0]
    at = fit.smooth(at=[1.0, 2.0])["estimate"]
    assert change["estimate"] == pytest.approx(at[1] - at[0])
    drawn = model("s").fit(draws=1000, random_seed=1, progressbar=False).smooth(at=[1.0, 2.0], draws=True)
    spread = float((drawn[..., 1] - drawn[..., 0]).std())
    assert change["std_error"] == pytest.approx(spread, rel=0.25)  # that of the posterior has the variances' as well


def test_the_fixed_part_has_the_curve():
    fit = model("gr + s").fit_reml()
    augmented = fit.augment()
    term = next(k for k, g in enumerate(fit.design.groups) if not g.is_grouping)
    curve = fit.design.groups[term].contribution(fit.solution.modes[term])
    np.testing.assert_allclose(augmented["_fixed"], fit.design.X @ fit.solution.beta + curve)


@pytest.mark.parametrize("name", ["s", "gr + s"])
def test_shares_of_the_variance_beside_a_curve(name):
    """The curve is part of what all groups have in common: R² by sums over the rows."""
    made = model(name)
    fit, post = made.fit_reml(), made.fit(draws=300, random_seed=1, progressbar=False)
    curve = next(group for group in made.design.groups if not group.is_grouping)
    place = made.design.groups.index(curve)
    common = made.design.X @ fit.solution.beta + curve.contribution(fit.solution.modes[place])
    between = sum(
        (g.row_variances.mean() if g.is_wide else 1.0) * cov[0, 0]
        for g, cov in zip(made.design.groups, fit.solution.covariances, strict=True)
        if g.is_grouping
    )
    total = common.var(ddof=1) + between + fit.sigma**2
    assert fit.r2().loc["marginal", "estimate"] == pytest.approx(common.var(ddof=1) / total, rel=1e-10)
    assert fit.r2().loc["conditional", "estimate"] == pytest.approx(1 - fit.sigma**2 / total, rel=1e-10)
    assert fit.glance()["r2_marginal"].iloc[0] == pytest.approx(fit.r2().loc["marginal", "estimate"])
    eta = post.draws("beta") @ made.design.X.T + curve.contribution(post.draws(made.design.names.b[curve.name]))
    variance = eta.var(axis=-1, ddof=1)
    random = sum(
        (g.row_variances.mean() if g.is_wide else 1.0) * post.draws(made.design.names.sd[g.name])[..., 0] ** 2
        for g in made.design.groups
        if g.is_grouping
    )
    wanted = (variance / (variance + random + post.draws("sigma") ** 2)).mean()
    assert post.r2().loc["marginal", "mean"] == pytest.approx(wanted, rel=1e-10)
    if name == "s":
        with pytest.raises(NotAvailableError, match="no random effects of groups"):
            fit.icc()
    else:
        icc = fit.icc()["estimate"]
        assert icc["adjusted"] == pytest.approx(between / (between + fit.sigma**2))
        assert icc["adjusted"] == pytest.approx(icc["gr(g)"] + icc["c"]) and "s(t)" not in icc
    components = fit.variance_components()
    shares = components[components["quantity"] == "share"]
    assert shares["estimate"].sum() == pytest.approx(1.0) and "s(t)" not in set(shares["group"])
    assert {"variance", "sd"} == set(components.loc[components["group"] == "s(t)", "quantity"])


def test_means_go_through_the_curve():
    """Means at points of t are predictions for the average group, with their errors."""
    made = model("gr + s")
    fit = made.fit_reml()
    points = [0.7, 1.9, 3.0]
    told = fit.means("t", at={"t": points}).table
    rows = made.design.frame.head(3).assign(t=points)
    wanted = fit.predict(rows, groups="average", interval="plug-in")
    np.testing.assert_allclose(told["estimate"], wanted["estimate"], rtol=1e-10)
    curve_only = blm.Model("y ~ s(t, k=6)", made.design.frame).fit_reml()
    told = curve_only.means("t", at={"t": points}).table
    wanted = curve_only.predict(rows, interval="plug-in")
    np.testing.assert_allclose(told["std_error"], wanted["std_error"], rtol=1e-8)
    pairs = curve_only.means("t", at={"t": points}).contrasts("pairwise").table
    change = curve_only.comparisons("t", contrast=(0.7, 1.9)).iloc[0]
    assert pairs["estimate"].iloc[0] == pytest.approx(-change["estimate"], rel=1e-8)
    assert pairs["std_error"].iloc[0] == pytest.approx(change["std_error"], rel=1e-8)
    trend = curve_only.trends("t", at={"t": [1.9]}).table.iloc[0]
    assert trend["estimate"] == pytest.approx(
        curve_only.smooth(at=[1.9], derivative=True)["estimate"].iloc[0], rel=1e-5
    )
    post = made.fit(draws=300, random_seed=1, progressbar=False)
    of_draws = post.means("t", at={"t": points}).table
    np.testing.assert_allclose(of_draws["mean"], post.predict(rows, groups="average")["mean"], rtol=1e-10)


def test_degrees_of_freedom_of_draws_are_those_of_estimates_there():
    from bayeslmm.engine.prediction import degrees_of_freedom
    from bayeslmm.engine.scaling import Problem

    made = model("gr + s")
    fit = made.fit_reml()
    place = next(k for k, group in enumerate(made.design.groups) if not group.is_grouping)
    at_estimates = degrees_of_freedom(
        Problem.of(made.design), [cov[None] for cov in fit.solution.covariances], np.array([fit.sigma]), [place]
    )
    assert at_estimates[0, 0] + 1 == pytest.approx(fit.smooths().loc["s(t)", "edf"], rel=1e-8)
    table = made.fit(draws=300, random_seed=1, progressbar=False).smooths().set_index(["smooth", "quantity"])
    edf, most = table.loc[("s(t)", "edf")], fit.smooths().loc["s(t)", "most"]
    assert 1.0 < edf["conf_low"] < edf["mean"] < edf["conf_high"] < most
