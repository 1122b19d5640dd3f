"""Studies by simulation: against exact power and R's simulations, laws of sizes, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.engine.mixtures import NormalMixture
from bayeslmm.planning.sizes import axes, resized
from bayeslmm.planning.studies import ByEstimates, ByPosterior, _simulated
from bayeslmm.results.settings import Settings

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "planning" / "power_clusters.json").read_text())
SLEEP = "Reaction ~ Days + (Days | Subject)"
SERIAL = {"cores": 1, "progressbar": False, "random_seed": 1}


def clusters(per_arm, rows=10):
    arm = np.repeat([0.0, 1.0], per_arm)
    table = pd.DataFrame({"cluster": np.arange(2 * per_arm), "arm": arm})
    return table.loc[table.index.repeat(rows)].reset_index(drop=True)


@pytest.fixture(scope="module")
def pilot():
    return blm.lmer(SLEEP, blm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def trial():
    """Two arms of clusters, as R simulated them."""
    return blm.assume("y ~ arm + (1 | cluster)", clusters(6), beta=[0.0, 0.5], sd=0.4, sigma=1.0)


def test_power_of_clusters_is_that_of_a_t_test_of_their_means(trial):
    """Beside the exact power, and R's simulations of the same plan by lmerTest."""
    sizes = [2 * row["size"] for row in REFERENCE["sizes"]]
    count = 300
    found = blm.plan(trial, vary={"cluster": sizes}, studies=count, **SERIAL)
    for row, reference in zip(found.table.to_dict("records"), REFERENCE["sizes"], strict=True):
        simulations = REFERENCE["simulations"]
        # four standard errors of both simulations; REML leaves the exact test where a variance is estimated as zero
        share = reference["power_satterthwaite"]
        error = np.sqrt(share * (1 - share) * (1 / count + 1 / simulations))
        assert abs(row["power"] - share) < 4 * error
        assert abs(row["power"] - reference["exact_power_t"]) < 4 * error + reference["share_singular"] / 5
        width_error = reference["width_mc_se"] * np.sqrt(1 + simulations / count)
        assert abs(row["width"] - reference["mean_width_95"]) < 4 * width_error
        assert abs(row["sd"] / reference["sd_estimate"] - 1) < 4 * np.sqrt(0.5 / count + 0.5 / simulations)
        exact = stats.norm.cdf(0.5 / np.sqrt((0.4**2 + 1.0 / 10) * 2 / reference["size"]))  # the estimate is normal
        assert abs(row["right_sign"] - exact) < 4 * np.sqrt(exact * (1 - exact) / count)
        for name, key in (("coverage", "coverage_95"), ("singular", "share_singular")):
            spread = np.sqrt((reference[key] * (1 - reference[key]) + 1e-4) * (1 / count + 1 / simulations))
            assert abs(row[name] - reference[key]) < 4 * spread, name
        # conditional on significance, estimates spread by less than their sd
        spread = reference["sd_estimate"] / 0.5 / np.sqrt(count * share)
        assert abs(row["exaggeration"] - reference["exaggeration_if_significant"]) < 4 * spread


def test_a_regression_has_the_power_of_the_noncentral_t():
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"x": rng.normal(size=30)})
    truth = blm.assume("y ~ x", table, beta=[0.0, 0.5], sigma=1.0)
    found = blm.plan(truth, vary={"rows": [30, 60]}, studies=500, **SERIAL)
    for row in found.table.to_dict("records"):
        x = np.tile(table["x"], 2)[: row["rows_in_all"]]
        df, shift = len(x) - 2, 0.5 * np.sqrt(np.sum((x - x.mean()) ** 2))
        far = stats.t.isf(0.025, df)
        exact = stats.nct.sf(far, df, shift) + stats.nct.cdf(-far, df, shift)
        assert abs(row["power"] - exact) < 4 * np.sqrt(exact * (1 - exact) / 500)


def test_simrs_vignette_from_scratch():
    """The slope of three groups that differ by their level has the power of a t test within groups, exactly."""
    times = pd.DataFrame({"x": list(range(1, 11)) * 3, "g": np.repeat(list("abc"), 10)})
    truth = blm.assume("y ~ x + (1 | g)", times, beta=[2, -0.1], sd=0.5**0.5, sigma=1)
    found = blm.plan(truth, vary={"x": [10, 15], "g": [3, 6]}, studies=250, **SERIAL)
    for row in found.table.to_dict("records"):
        x = np.arange(1.0, row["x"] + 1)
        df, shift = row["g"] * (len(x) - 1) - 1, 0.1 * np.sqrt(row["g"] * np.sum((x - x.mean()) ** 2))
        far = stats.t.isf(0.025, df)
        exact = stats.nct.sf(far, df, shift) + stats.nct.cdf(-far, df, shift)
        assert abs(row["power"] - exact) < 4 * np.sqrt(exact * (1 - exact) / 250)


def test_no_effect_is_seen_as_often_as_alpha_says(pilot):
    found = blm.plan(blm.assume(pilot, beta={"Days": 0.0}), vary={"Subject": [30]}, studies=400, ci_prob=0.9, **SERIAL)
    row = found.table.iloc[0]
    assert abs(row["power"] - 0.1) < 4 * np.sqrt(0.09 / 400)
    assert row["power"] == pytest.approx(1 - row["coverage"])
    assert np.isnan(row["right_sign"]) and np.isnan(row["exaggeration"])
    asked = {"vary": {"Subject": [30]}, "quantity": "Days = 3", "studies": 400, "ci_prob": 0.9}
    same = blm.plan(blm.assume(pilot, beta={"Days": 3.0}), **asked, **SERIAL)  # the same studies, shifted
    assert same.table.loc[0, "power"] == row["power"]


def test_draws_are_the_same_on_any_number_of_processes(pilot):
    one = blm.plan(pilot, vary={"Subject": [6, 9]}, studies=60, random_seed=4, cores=1, progressbar=False)
    two = blm.plan(pilot, vary={"Subject": [6, 9]}, studies=60, random_seed=4, cores=2, progressbar=False)
    pd.testing.assert_frame_equal(one.studies, two.studies)


def test_a_posterior_gives_every_study_its_own_truth(pilot):
    post = blm.Model(SLEEP, blm.load_dataset("sleepstudy")).fit(draws=200, chains=2, random_seed=1, progressbar=False)
    found = blm.plan(post, vary={"Subject": [18]}, studies=60, **SERIAL)
    truth = found.studies["truth"]
    assert truth.nunique() == 60 and found.is_uncertain and "another draw of the posterior" in str(found)
    assert abs(truth.mean() - post.values.beta[..., 1].mean()) < 4 * truth.std() / np.sqrt(60)


def test_posteriors_of_studies_agree_with_their_estimates(trial):
    """Under default priors the intervals are about those of REML, at sizes at which these are known well."""
    asked = {"vary": {"cluster": [40]}, "studies": 30, **SERIAL}
    reml, post = blm.plan(trial, **asked), blm.plan(trial, how="posterior", draws=400, **asked)
    both = reml.studies["estimate"] - post.studies["estimate"]
    assert both.abs().max() < 0.1 * reml.studies["std_error"].min() * 4  # the prior of beta, and 400 draws
    assert post.table.loc[0, "width"] == pytest.approx(reml.table.loc[0, "width"], rel=0.1)
    assert "by their posteriors" in str(post)


@pytest.mark.parametrize(
    ("family", "parameters"),
    [("bernoulli", {}), ("poisson", {}), ("gamma", {"shape": 2.0}), ("ordinal", {"cutpoint": [-1.0, 1.0]})],
)
def test_other_families(family, parameters):
    names = {} if family == "ordinal" else {"Intercept": 0.2}
    truth = blm.assume(
        "y ~ arm + (1 | cluster)", clusters(8), beta={**names, "arm": 1.0}, sd=0.4, family=family, **parameters
    )
    found = blm.plan(truth, vary={"cluster": [8, 40]}, studies=25, how="ml", **SERIAL)
    few, many = found.table["power"]
    assert many > few and (found.table["failed"] == 0).all()
    # a mean of 25 estimates; Laplace and small samples leave a bias below a fifth of the effect
    assert abs(found.table.loc[1, "mean"] - 1.0) < 4 * found.table.loc[1, "sd"] / 5 + 0.2


def test_studies_that_cannot_be_analysed_have_no_power():
    truth = blm.assume("y ~ arm + (1 | cluster)", clusters(2, rows=2), beta=[-4.0, 0.0], sd=0.1, family="bernoulli")
    found = blm.plan(truth, vary={"cluster": [4]}, studies=20, how="ml", **SERIAL)
    assert found.table.loc[0, "failed"] > 0.2 and found.table.loc[0, "power"] == 0.0
    assert "could not be analysed" in str(found)


def test_studies_analysed_together_are_those_analysed_one_by_one(pilot):
    """One compiled search after the other gives the estimates, errors and df of fits by themselves."""
    truth, contrasts = blm.assume(pilot), np.eye(2)
    streams = np.random.SeedSequence(3).spawn(12)
    designs = [
        study for study in _simulated(truth.design, [truth] * 12, [s.spawn(2)[0] for s in streams]) if study is not None
    ]
    for restricted in (True, False):
        analysis = ByEstimates(restricted=restricted, ddf="satterthwaite", ci_prob=0.9)
        together = analysis.together(designs, contrasts)
        assert sum(numbers is not None for numbers in together) >= 8  # the others are next to a boundary
        for numbers, design in zip(together, designs, strict=True):
            if numbers is not None:
                single, _ = analysis.intervals(design, contrasts, streams[0])
                np.testing.assert_allclose(numbers[0], single, rtol=1e-6)  # searches end within 1e-7 of each other
    by_z = ByEstimates(restricted=True, ddf=None, ci_prob=0.9)
    assert by_z.together(designs, contrasts) == [None] * len(designs)


def test_a_mixture_of_normals_is_the_posterior_of_beta(pilot):
    """Its intervals are those of many draws, of which 8,000 leave an error of a 25th of an sd at the ends."""
    analysis = ByPosterior(priors={}, settings=Settings(draws=250, chains=2, progressbar=False), ci_prob=0.95)
    found, _ = analysis.intervals(pilot.design, np.eye(2), np.random.SeedSequence(1))
    post = blm.Model(SLEEP, blm.load_dataset("sleepstudy")).fit(draws=2000, random_seed=1, progressbar=False)
    wanted = post.fixef()
    sd = wanted["sd"].to_numpy()
    for row, column, near in ((0, "conf_low", 0.15), (1, "conf_high", 0.15), (2, "mean", 0.05), (3, "sd", 0.08)):
        assert np.abs(found[row] - wanted[column]).max() < near * sd.max(), column
        assert (np.abs(found[row] - wanted[column]) < near * sd).all(), column


def test_a_mixture_is_exact_where_variances_are_known():
    """Of one normal its quantiles are the normal's; of two they solve F(q) = share."""
    mixture = NormalMixture(
        weights=np.array([0.3, 0.7]), means=np.array([[0.0], [1.0]]), roots=np.array([[[1.0]], [[2.0]]])
    )
    low, high, mean, sd = mixture.intervals(np.array([[1.0], [2.0]]), 0.8)
    for end, share in ((low, 0.1), (high, 0.9)):
        np.testing.assert_allclose(0.3 * stats.norm.cdf(end[0]) + 0.7 * stats.norm.cdf(end[0], 1.0, 2.0), share)
        np.testing.assert_allclose(end[1], 2.0 * end[0])
    assert mean[0] == pytest.approx(0.7)
    assert sd[0] == pytest.approx(np.sqrt(0.3 * (1 + 0.49) + 0.7 * (4 + 0.09)))


# -- sizes


def design_of(source, **vary):
    asked = axes(source.design, vary)
    return resized(source.design, asked, {axis.name: axis.sizes[0] for axis in asked})


def test_as_many_groups_as_there_are_change_nothing(pilot):
    same, given = design_of(pilot, Subject=18), pilot.design
    assert np.array_equal(same.X, given.X) and np.array_equal(same.groups[0].codes, given.groups[0].codes)
    assert np.array_equal(same.groups[0].Z, given.groups[0].Z)


def test_further_groups_are_copies_and_fewer_keep_the_arms(trial):
    more = design_of(trial, cluster=30)
    assert more.n == 300 and more.groups[0].n_levels == 30
    assert np.unique(np.bincount(more.groups[0].codes)).tolist() == [10]
    for count in (4, 6, 10, 30):
        design = design_of(trial, cluster=count)
        arm = design.X[:, 1]
        of_cluster = [arm[design.groups[0].codes == level] for level in range(count)]
        assert all(np.ptp(values) == 0 for values in of_cluster)
        assert np.mean([values[0] for values in of_cluster]) == 0.5  # though the table has one arm first


def test_values_of_a_number_go_on_in_steps(pilot):
    design = design_of(pilot, Days=20)
    assert design.n == 18 * 20 and np.array_equal(np.unique(design.X[:, 1]), np.arange(20.0))
    assert np.array_equal(design.groups[0].Z, design.X)
    fewer = design_of(pilot, Days=4)
    assert np.array_equal(np.unique(fewer.X[:, 1]), np.arange(4.0))


def test_terms_of_a_number_are_remembered_not_made_anew():
    """`scale()` of more days is by the mean and sd of the pilot's, in whose unit the effect is known."""
    fit = blm.lmer("Reaction ~ scale(Days) + (1 | Subject)", blm.load_dataset("sleepstudy"))
    design = design_of(fit, Days=20)
    days = blm.load_dataset("sleepstudy")["Days"]
    assert np.allclose(np.unique(design.X[:, 1]), (np.arange(20) - days.mean()) / days.std())


def test_rows_of_a_group_are_its_own_in_turn(pilot):
    design = design_of(pilot, rows=13)
    assert design.n == 18 * 13
    days = design.X[design.groups[0].codes == 4, 1]
    assert np.array_equal(days, [*range(10), 0, 1, 2])


def test_groups_inside_groups():
    data = blm.load_dataset("pastes")
    fit = blm.lmer("strength ~ 1 + (1 | batch/cask)", data)
    design = design_of(fit, groups=25)
    outer, inner = design.groups
    assert outer.n_levels == 25 and inner.n_levels == 75
    assert len(np.unique(inner.codes * 25 + outer.codes)) == 75  # a copy's casks are its own
    fewer = design_of(fit, batch=4, rows=5)
    assert fewer.groups[1].n_levels == 12 and fewer.n == 60
    inner_only = design_of(fit, **{"batch:cask": 12})
    assert inner_only.groups[1].n_levels == 12


def test_crossed_factors_keep_the_other_levels():
    fit = blm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", blm.load_dataset("penicillin"))
    design = design_of(fit, plate=48)
    assert [g.n_levels for g in design.groups] == [48, 6] and design.n == 288
    with pytest.raises(errors.InputError, match="crossed"):
        design_of(fit, rows=3)
    with pytest.raises(errors.InputError, match="'plate', 'sample'"):
        design_of(fit, groups=10)


# -- what is assumed


def test_assumed_values_are_those_of_the_fit_but_for_the_given(pilot):
    truth = blm.assume(pilot, beta={"Days": 5}, sd={"Subject": {"Days": 2.0}})
    assert truth.beta.tolist() == [pilot.solution.beta[0], 5.0] and truth.sigma == pilot.sigma
    before, after = pilot.solution.covariances[0], truth.covariances[0]
    assert after[0, 0] == pytest.approx(before[0, 0]) and after[1, 1] == pytest.approx(4.0)
    correlation = before[0, 1] / np.sqrt(before[0, 0] * before[1, 1])
    assert after[0, 1] / np.sqrt(after[0, 0] * after[1, 1]) == pytest.approx(correlation)
    assert blm.assume(pilot, cor=0.5).covariances[0][0, 1] == pytest.approx(0.5 * np.sqrt(before[0, 0] * before[1, 1]))
    assert "5.000" in str(truth) and "Days" in str(truth)


def test_structures_know_their_values():
    data = blm.load_dataset("sleepstudy").query("Days < 3").assign(day=lambda d: d["Days"].astype(str))
    model = blm.Model("Reaction ~ 1 + ar1(0 + day | Subject)", data)
    truth = model.assume(beta=[250.0], sd=30.0, cor=0.5, sigma=20.0)
    cov = truth.covariances[0]
    assert cov[0, 1] == pytest.approx(450.0) and cov[0, 2] == pytest.approx(225.0)
    with pytest.raises(errors.InputError, match="not of that kind"):
        model.assume(beta=[250.0], sd=[30.0, 30.0, 10.0], cor=0.5, sigma=20.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sd": 1.0, "sigma": 1.0}, "no value of 'Intercept', 'Days'"),
        ({"beta": [1.0], "sd": 1.0, "sigma": 1.0}, "2 values are needed"),
        ({"beta": {"Intercept": 1, "days": 2}, "sd": 1.0, "sigma": 1.0}, "'days' is not there"),
        ({"beta": [1, 2], "sd": [1.0], "sigma": 1.0}, "2 values are needed, of 'Intercept', 'Days'"),
        ({"beta": [1, 2], "sd": [1, -1], "sigma": 1.0}, "at least 0"),
        ({"beta": [1, 2], "sd": [1, 1]}, "no value of 'sigma'"),
        ({"beta": [1, 2], "sd": [1, 1], "sigma": 1, "phi": 2}, "besides the mean"),
        ({"beta": [1, 2], "sd": [1, 1], "cor": 1.2, "sigma": 1}, "between -1 and 1"),
        ({"beta": [1, 2], "sd": [1, 1], "cor": [[1, 0.2], [0.3, 1]], "sigma": 1}, "symmetric"),
        ({"beta": [1, "b"], "sd": [1, 1], "sigma": 1}, "numbers are needed"),
        ({"beta": [1, np.nan], "sd": [1, 1], "sigma": 1}, "finite numbers"),
        ({"beta": [1, 2], "sd": {"subject": 1}, "sigma": 1}, "'subject'"),
    ],
)
def test_values_that_cannot_be(given, words):
    model = blm.Model(SLEEP, blm.load_dataset("sleepstudy"))
    with pytest.raises(errors.InputError, match=words):
        model.assume(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"vary": {}}, "sizes by name"),
        ({"vary": {"subject": [3]}}, "names here are 'Subject', 'Days', 'rows'"),
        ({"vary": {"Subject": [1]}}, "from 2 to 2,000,000"),
        ({"vary": {"Subject": [2.5]}}, "whole numbers"),
        ({"vary": {"Subject": [5, 5]}}, "twice"),
        ({"vary": {"Subject": [5], "groups": [6]}}, "asked for twice"),
        ({"vary": {"rows": [1]}}, "rows"),
        ({"vary": {"Subject": [10**6]}}, "more than 2,000,000"),
        ({"vary": {"beta": 5}}, "values by fixed effect, such as {'beta': {'Days'"),
        ({"vary": {"beta": {"days": [5]}}}, "'days' is no fixed effect; there are 'Intercept', 'Days'"),
        ({"vary": {"beta": {"Days": [5, 5.0]}}}, r"beta\[Days\] is .*twice"),
        ({"vary": {"beta": {"Days": [np.inf]}}}, "finite numbers"),
        ({"vary": {"beta": {"Days": []}}}, "finite numbers"),
        ({"vary": {"sd": {"Subject": [5]}}}, "no factor with one sd; there are none"),
        ({"vary": {"sigma": [0]}}, "above zero"),
        ({"vary": {"effect": {"Days": [5]}}}, "assumed values of 'beta'"),
        ({"vary": {"Subject": [9]}, "quantity": "Dyas"}, "did you mean 'Days'"),
        ({"vary": {"Subject": [9]}, "quantity": "Days > 0"}, "a test is of equations"),
        ({"vary": {"Subject": [9]}, "quantity": "Days = Intercept = 0"}, "one statement each"),
        ({"vary": {"Subject": [9]}, "studies": 0}, "studies=0"),
        ({"vary": {"Subject": [9]}, "studies": 10**9}, "100,000 at most"),
        ({"vary": {"Subject": [9]}, "cores": 0}, "at least one core"),
        ({"vary": {"Subject": [9]}, "cores": "2"}, "at least one core"),
        ({"vary": {"Subject": [9]}, "quantity": 3}, "names of coefficients"),
        ({"vary": {"Subject": [9]}, "how": "bayes"}, "how='bayes'"),
        ({"vary": {"Subject": [9]}, "ci_prob": 95}, "between 0 and 1"),
        ({"vary": {"Subject": [9]}, "priors": {}}, "belong to how='posterior'"),
        ({"vary": {"Subject": [9]}, "how": "posterior", "draws": 10}, "100 draws at least"),
        ({"vary": {"Subject": [9]}, "ddf": "welch"}, "ddf"),
    ],
)
def test_plans_that_cannot_be(pilot, given, words):
    with pytest.raises(errors.InputError, match=words):
        blm.plan(pilot, **{**SERIAL, "studies": 2, **given})


def test_a_model_says_nothing_about_effects():
    with pytest.raises(errors.InputError, match="Assume them"):
        blm.plan(blm.Model(SLEEP, blm.load_dataset("sleepstudy")), vary={"Subject": [9]})
    with pytest.raises(errors.InputError, match="a table is needed"):
        blm.assume(SLEEP, beta=[1, 2])
    with pytest.raises(errors.InputError, match="more than a name"):
        blm.assume("np.log(y) ~ x", pd.DataFrame({"x": [1.0, 2.0, 3.0]}), beta=[1, 2], sigma=1)


@pytest.mark.parametrize(
    ("family", "parameters", "message"),
    [
        ("gaussian", {"sigma": 0.0}, "sigma=0.0.*above zero"),
        ("gaussian", {"sigma": "a"}, "sigma='a'.*numbers are needed"),
        ("negbinomial", {"shape": 0}, "shape=0.*above zero"),
        ("zero_inflated_poisson", {"zi": 1.0}, "zi=1.0.*a share below 1"),
    ],
)
def test_parameters_that_no_response_has_are_refused(family, parameters, message):
    with pytest.raises(errors.InputError, match=message):
        blm.assume("y ~ arm + (1 | cluster)", clusters(4), beta=[0.0, 0.5], sd=0.4, family=family, **parameters)


def test_models_without_groups_or_fixed_effects():
    data = blm.load_dataset("sleepstudy")
    with pytest.raises(errors.InputError, match="no grouping factor"):
        blm.plan(blm.lmer("Reaction ~ Days", data), vary={"groups": [9]})
    with pytest.raises(errors.InputError, match="no fixed effects"):
        blm.plan(blm.lmer("Reaction ~ 0 + (1 | Subject)", data), vary={"Subject": [9]})


def test_smooths_and_relationships_are_refused():
    data = blm.load_dataset("sleepstudy")
    fit = blm.lmer(
        "Reaction ~ s(Days, k=5) + (1 | Subject)", data.assign(Reaction=data["Reaction"] + (data["Days"] - 4) ** 2)
    )
    with pytest.raises(errors.NotAvailableError):
        blm.plan(fit, vary={"Subject": [9]})


@pytest.mark.parametrize(
    ("entry", "given"),
    [
        ({"beta": {"Days": [3, 8]}}, {"beta": {"Days": 3}}),
        ({"beta": {"Intercept": [200], "Days": [3, 8]}}, {"beta": {"Intercept": 200, "Days": 3}}),
        ({"sigma": [15, 30.0]}, {"sigma": 15}),
        ({"sd": {"Subject": [20, 40]}}, {"sd": 20}),
    ],
)
def test_assumed_values_are_varied_as_sizes_are(entry, given):
    """The first combination is the plan of a truth that was assumed so."""
    times = pd.DataFrame({"Days": list(range(4)) * 6, "Subject": np.repeat(list("abcdef"), 4)})
    truth = blm.assume("y ~ Days + (1 | Subject)", times, beta=[250, 5], sd=30, sigma=25)
    asked = {"studies": 20, "random_seed": 1, "cores": 1, "progressbar": False}
    found = blm.plan(truth, vary={**entry, "Subject": [8]}, **asked)
    single = blm.plan(blm.assume(truth, **given), vary={"Subject": [8]}, **asked)
    columns = ["truth", "power", "width", "mean", "sd"]
    pd.testing.assert_series_equal(found.table.iloc[0][columns], single.table.iloc[0][columns])
    assert len(found.table) == 2 and not found.table.iloc[1][columns].equals(found.table.iloc[0][columns])
    name = found.varied[-2]
    assert name in found.table and found.studies[name].nunique() == 2


def test_effects_of_a_posterior_are_those_asked_for(pilot):
    few = {"draws": 100, "chains": 2, "random_seed": 1, "progressbar": False}
    post = blm.Model(pilot.design.formula.text, pilot.design.frame).fit(**few)
    asked = {"studies": 20, "random_seed": 1, "cores": 1, "progressbar": False}
    found = blm.plan(post, vary={"beta": {"Days": [2, 20]}, "Subject": [8]}, **asked)
    assert found.table["truth"].tolist() == [2.0, 20.0]
    assert found.table["power"].iloc[0] < found.table["power"].iloc[1]
    assert "Days: 2.000, 20.000" in str(found) or "Days: 2.000, 20.00" in str(found)
    assert found.smallest(0.5)["beta[Days]"] == 20.0
    figure = blm.plot_plan(found)
    assert figure.axes[0].get_xlabel() == "effect of Days"
    other = blm.plan(post, vary={"Subject": [8], "beta": {"Days": [20, 30]}}, **asked)
    assert other.smallest(0.5)["beta[Days]"] == 20.0
    lines = blm.plot_plan(other).axes[0].lines
    assert [line.get_label() for line in lines[:2]] == ["effect of Days 20", "effect of Days 30"]


def test_the_smallest_size_that_is_enough(pilot):
    found = blm.plan(blm.assume(pilot, beta={"Days": 5}), vary={"Subject": [6, 18, 60]}, studies=40, **SERIAL)
    assert found.smallest(0.5)["Subject"] in (6, 18) and found.smallest(0.99)["Subject"] == 60
    with pytest.raises(errors.InputError, match="quantity"):
        found.smallest(quantity="Intercept")
    none = blm.plan(blm.assume(pilot, beta={"Days": 0.1}), vary={"Subject": [6]}, studies=20, **SERIAL)
    with pytest.raises(errors.InputError, match="vary them further"):
        none.smallest(0.9)
    assert found.to_markdown().count("|") > 20 and "<table" in found._repr_html_()


def test_pictures_of_plans(pilot):
    found = blm.plan(
        blm.assume(pilot, beta={"Days": 5}), vary={"Subject": [6, 18], "Days": [5, 10]}, studies=20, **SERIAL
    )
    for what in ("power", "width", "coverage", "right_sign", "exaggeration"):
        figure = blm.plot_plan(found, what)
        (axes,) = figure.axes
        assert len(axes.lines) >= 2 and axes.get_xlabel() == "Subject"
        for line, days in zip(axes.lines, (5, 10), strict=False):
            shown = found.table[found.table["Days"] == days]
            assert np.allclose(line.get_ydata(), shown[what], equal_nan=True)
    with pytest.raises(errors.InputError, match="what='size'"):
        blm.plot_plan(found, "size")
    with pytest.raises(errors.InputError, match="takes a plan"):
        blm.plot_plan(pilot)
