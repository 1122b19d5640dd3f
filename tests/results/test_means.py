"""Marginal means, trends and contrasts against emmeans."""

import numpy as np
import pandas as pd
import pytest
from terms_reference import FITS, fit_of, numbers, reference

import bayeslmm as blm
from bayeslmm import errors

pytestmark = pytest.mark.filterwarnings(
    "ignore::bayeslmm.errors.AliasedColumnsWarning",
    "ignore::bayeslmm.errors.NotEstimableWarning",
    "ignore::bayeslmm.errors.SingularFitWarning",
)
METHODS = {
    "pairwise": "pairwise",
    "revpairwise": "reverse",
    "trt.vs.ctrl": "reference",
    "trt.vs.ctrl1": "reference",
    "consec": "consecutive",
    "eff": "mean",
    "poly": "poly",
}
ADJUSTMENTS = {a: a for a in ("none", "tukey", "holm", "bonferroni", "sidak", "fdr", "mvt")} | {"dunnettx": "dunnett"}
CASES = [(name, mean) for name in FITS for mean in reference(name).get("means", {})]


def of(name, mean, ddf):
    request = reference(name)["means"][mean]["request"]
    options = {"by": request.get("by"), "at": request.get("at"), "weights": request.get("weights", "equal")}
    if request["kind"] == "trends":
        specs = None if request["specs"] == ["1"] else request["specs"]
        return fit_of(name).trends(request["var"], specs, ddf=ddf.replace("_", "-"), **options)
    return fit_of(name).means(request["specs"], ddf=ddf.replace("_", "-"), **options)


def tables(name, mean):
    kept = reference(name)["means"][mean]
    return [(ddf, kept[ddf]) for ddf in ("satterthwaite", "kenward_roger") if ddf in kept]


def sorted_by_labels(found, wanted, labels):
    ours = found.assign(**{c: found[c].astype(str) for c in labels}).sort_values(labels, ignore_index=True)
    theirs = pd.DataFrame(wanted["rows"], columns=wanted["columns"])
    for column in labels:
        is_number = pd.to_numeric(theirs[column], errors="coerce").notna().all() and found[column].dtype.kind == "f"
        theirs[column] = (theirs[column].astype(float) if is_number else theirs[column]).astype(str)
    return ours, theirs.sort_values(labels, ignore_index=True)


@pytest.mark.reference
@pytest.mark.parametrize(("name", "mean"), CASES)
def test_means_and_trends_are_those_of_emmeans(name, mean):
    for ddf, wanted in tables(name, mean):
        found = of(name, mean, ddf)
        ours, theirs = sorted_by_labels(found.table, wanted["table"], list(found.labels))
        estimate = next(c for c in theirs if c == "emmean" or c.endswith(".trend"))
        columns = {"estimate": estimate, "std_error": "SE", "df": "df", "conf_low": "lower", "conf_high": "upper"}
        for here, there in columns.items():
            np.testing.assert_allclose(
                ours[here].astype(float), pd.to_numeric(theirs[there]), rtol=1e-5, err_msg=f"{ddf} {here}"
            )


@pytest.mark.reference
@pytest.mark.parametrize(("name", "mean"), [c for c in CASES if any("contrasts" in t for _, t in tables(*c))])
def test_contrasts_and_adjustments_are_those_of_emmeans(name, mean):
    request = reference(name)["means"][mean]["request"]
    ddf, wanted = tables(name, mean)[0]
    means = of(name, mean, ddf)
    for theirs, ours in ADJUSTMENTS.items():
        if f"p_{theirs}" not in wanted["contrasts"]["columns"] or request.get("method") not in METHODS:
            continue
        found = means.contrasts(METHODS[request["method"]], adjust=ours).table
        # Monte Carlo error of the multivariate t: below 2e-4 in p, some 1e-3 of a width. Tukey's p of R ends at 1e-7,
        # and where contrasts are not estimable emmeans rounds its df to whole numbers
        missing = found["p_value"].isna().any()
        near = {"rtol": 1e-2 if missing and ours == "tukey" else 1e-4, "atol": 1e-6}
        near = {"rtol": 5e-3, "atol": 2e-4} if ours == "mvt" else near
        np.testing.assert_allclose(found["p_value"], numbers(wanted["contrasts"], f"p_{theirs}"), **near)
        for here, there in (("estimate", "estimate"), ("std_error", "SE"), ("df", "df")):
            np.testing.assert_allclose(found[here], numbers(wanted["contrasts"], there), rtol=1e-5, atol=1e-7)
        for here, there in (("conf_low", f"lower_{theirs}"), ("conf_high", f"upper_{theirs}")):
            if there in wanted["contrasts"]["columns"]:
                size = np.abs(found["conf_high"] - found["conf_low"]).max()
                near = {"atol": (2e-3 if ours in ("mvt", "dunnett") or missing else 1e-5) * size}
                np.testing.assert_allclose(found[here], numbers(wanted["contrasts"], there), rtol=0.0, **near)


@pytest.mark.reference
@pytest.mark.parametrize(("name", "mean"), [c for c in CASES if any("interaction" in t for _, t in tables(*c))])
def test_contrasts_of_contrasts_are_those_of_emmeans(name, mean):
    ddf, wanted = tables(name, mean)[0]
    found = of(name, mean, ddf).contrasts(interaction="pairwise").table
    for here, there in (("estimate", "estimate"), ("std_error", "SE"), ("df", "df")):
        np.testing.assert_allclose(found[here], numbers(wanted["interaction"], there), rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def sleep():
    return blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy")).fit(random_seed=1)


def test_means_of_a_posterior_are_its_draws(sleep):
    means = sleep.means("Days", at={"Days": [0, 9]})
    beta = sleep.values.beta
    np.testing.assert_allclose(means.draws().to_numpy()[..., 1], beta[..., 0] + 9 * beta[..., 1])
    pairs = means.pairs()
    np.testing.assert_allclose(pairs.table["mean"], [-9 * beta[..., 1].mean()])
    assert pairs.table["p_positive"].iloc[0] == pytest.approx((-beta[..., 1] > 0).mean())


def test_the_slope_of_a_posterior_is_its_coefficient(sleep):
    assert sleep.trends("Days").table["mean"].iloc[0] == pytest.approx(sleep.values.beta[..., 1].mean())


def test_of_other_links_means_go_to_the_response_and_differences_to_ratios():
    data = blm.load_dataset("cbpp")
    post = blm.Model("p(incidence, size) ~ period + (1 | herd)", data, family="binomial").fit(
        draws=200, tune=200, chains=2, random_seed=1, progressbar=False
    )
    means = post.means("period")
    eta = means.draws().to_numpy()
    np.testing.assert_allclose(means.response().draws().to_numpy(), 1.0 / (1.0 + np.exp(-eta)))
    ratios = means.pairs().response()
    np.testing.assert_allclose(ratios.draws().to_numpy()[..., 0], np.exp(eta[..., 0] - eta[..., 1]))
    np.testing.assert_allclose(ratios.table["p_positive"], means.pairs().table["p_positive"])
    curved = means.response(bias_sd=0.5).draws().to_numpy()
    p = 1.0 / (1.0 + np.exp(-eta))
    np.testing.assert_allclose(curved, p + 0.125 * p * (1 - p) * (1 - 2 * p), rtol=1e-4)


def test_weights_of_means_by_name():
    means = fit_of("pastes_cask").means("cask")
    found = means.contrasts({"c against the rest": [-0.5, -0.5, 1.0]}).table.iloc[0]
    e = means.table["estimate"].to_numpy()
    assert found["estimate"] == pytest.approx(e[2] - (e[0] + e[1]) / 2)
    assert found["contrast"] == "c against the rest"


def test_rows_in_another_order_change_nothing():
    fit = fit_of("pastes_cask")
    shuffled = fit.update(". ~ .", data=fit.origin.data.sample(frac=1.0, random_state=1))
    pd.testing.assert_frame_equal(
        fit.means("cask").pairs().table, shuffled.means("cask").pairs().table, rtol=1e-5, atol=1e-7
    )


def test_an_offset_stands_at_its_mean_and_is_no_predictor():
    data = blm.load_dataset("pastes").assign(o=1.5)
    fit = blm.Model("strength ~ cask + (1 | batch)", data, offset="o").fit_reml()
    plain = blm.lmer("strength ~ cask + (1 | batch)", data)
    np.testing.assert_allclose(fit.means("cask").table["estimate"], plain.means("cask").table["estimate"])
    without = fit.means("cask", offset=0)
    np.testing.assert_allclose(without.table["estimate"], plain.means("cask").table["estimate"] - 1.5)
    assert "Held: offset at 1.5." in str(fit.means("cask")) and "Held: offset at 0." in str(without)


def test_a_centred_predictor_is_held_at_zero():
    sleep = blm.load_dataset("sleepstudy")
    sleep = sleep.assign(day=sleep["Days"] / 3 - (sleep["Days"] / 3).mean(), late=sleep["Days"] > 4)
    fit = blm.lmer("Reaction ~ day + C(late) + (1 | Subject)", sleep)
    assert sleep["day"].mean() != 0.0 and "eld: day at 0." in str(fit.means("late"))


def test_what_it_rests_on_is_printed():
    text = str(fit_of("chickweight_diet").means("Diet"))
    assert "Time at 10.72" in text
    assert "Satterthwaite df" in text
    text = str(fit_of("science_nested").means("PrivPub", weights="proportional").pairs())
    assert "Averaged over" in text
    assert "proportional weights" in text
    assert "<table" in fit_of("pastes_cask").means("cask")._repr_html_()


def test_margins_of_a_posterior_are_shares_of_its_draws(sleep):
    pairs = sleep.means("Days", at={"Days": [0, 1]}).pairs()
    drawn = pairs.draws().to_numpy()
    assert pairs.equivalence(11).loc[0, "probability"] == pytest.approx((np.abs(drawn) < 11).mean())
    assert pairs.noninferiority(11).loc[0, "probability"] == pytest.approx((drawn > -11).mean())
    assert list(pairs.equivalence(11)) == ["contrast", "mean", "sd", "margin", "probability"]


def test_other_sums_of_means_are_taken_where_they_are_asked_for():
    fit = blm.lmer("strength ~ cask + (1 | batch)", blm.load_dataset("pastes"))
    means = fit.means("cask")
    assert len(means.contrasts({"thirds": [1 / 3, 1 / 3, -2 / 3]}).table) == 1  # zero but for rounding
    average = means.contrasts({"all": [1 / 3] * 3}, sum_to_zero=False).table.iloc[0]
    overall = fit.means([]).table.iloc[0]  # the same mean, by another way
    assert average["estimate"] == pytest.approx(overall["estimate"])
    assert average["std_error"] == pytest.approx(overall["std_error"])


def test_the_mean_of_a_model_of_an_intercept_is_the_intercept():
    fit = blm.lmer("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    found, intercept = fit.means([]).table.iloc[0], fit.fixef().iloc[0]
    shared = ["estimate", "std_error", "df", "conf_low", "conf_high"]
    np.testing.assert_allclose(found[shared].astype(float), intercept[shared].astype(float))


def test_sums_that_have_no_meaning_are_refused():
    """Ratios are of weights that sum to zero; an offset cancels in such sums alone."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"f": list("ab") * 30, "g": np.repeat(list("uvwxyz"), 10), "t": rng.uniform(1.0, 3.0, 60)})
    data["n"] = rng.poisson(3.0 * data["t"])
    fit = blm.glmer("n ~ f + offset(log(t)) + (1 | g)", data, family="poisson")
    half = {"half": [0.5, 0.5]}
    response = fit.means("f").response()
    with pytest.raises(errors.InputError, match="ratios are of weights that sum to zero; add kind='difference'"):
        response.contrasts(half, sum_to_zero=False)
    found = response.contrasts(half, sum_to_zero=False, kind="difference").table.iloc[0]
    assert found["estimate"] == pytest.approx(response.table["estimate"].mean())
    with pytest.raises(errors.InputError, match="every mean has an offset of .*offset=0"):
        fit.means("f").contrasts(half, sum_to_zero=False)
    without = fit.means("f", offset=0)
    found = without.contrasts(half, sum_to_zero=False).table.iloc[0]
    assert found["estimate"] == pytest.approx(without.table["estimate"].mean())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: fit.means("cask").equivalence(1), r"pairs\(\).equivalence"),
        (lambda fit: fit.means("cask").pairs().noninferiority(0), "above zero"),
        (lambda fit: fit.means("cask").pairs().equivalence("a"), "above zero"),
        (lambda fit: fit.means("caskk"), "no predictor of the model; it has 'cask'"),
        (lambda fit: fit.means("cask", at={"cask": ["z"]}), "has no level 'z'"),
        (lambda fit: fit.means("cask", weights="flat"), "weights are"),
        (lambda fit: fit.means("cask", at=3), "values by predictor"),
        (lambda fit: fit.means(3), "the name of a predictor"),
        (lambda fit: fit.means("batch"), "no predictor of the model; it has 'cask'"),
        (lambda fit: fit.means([]).pairs(), "there is one mean"),
        (lambda fit: fit.means([]).contrasts("mean"), "there is one mean"),
        (lambda fit: fit.means([], by="cask").contrasts("poly"), "one mean in every combination of cask"),
        (lambda fit: fit.means("cask").contrasts({}), "weights of the means"),
        (lambda fit: fit.means("cask", at={"cask": [np.nan]}), "no level|a value is missing"),
        (lambda fit: fit.means("cask").contrasts({"a": "x"}), "3 finite weights are needed"),
        (lambda fit: fit.means(["cask", "cask"]), "stands there twice"),
        (lambda fit: fit.means("cask").contrasts({"a": [1, 1, 1]}, sum_to_zero="no"), "is True or False"),
        (lambda fit: fit.means("cask").response(bias_sd="1"), "a sd, zero or more"),
        (lambda fit: fit.means("cask").response(bias_sd=True), "a sd, zero or more"),
        (lambda fit: fit.means("cask").pairs(conf_level=0.9), r"here it is means\(.*ci_prob=0.9"),
        (lambda fit: fit.means("cask", by="cask"), "stands in by= as well"),
        (lambda fit: fit.means("cask", ci_kind="hdi"), "one kind of interval"),
        (lambda fit: fit.means("cask").draws(), "a point fit has no draws"),
        (lambda fit: fit.means("cask").contrasts({"a": [0.5, 0.5, 0]}), "sum to 1; those of a contrast sum to zero"),
        (lambda fit: fit.means("cask").contrasts({"a": [1, -0.5, -0.49]}), "sum to 0.01; those.*sum_to_zero=False"),
        (lambda fit: fit.means("cask").contrasts({"a": [0, 0, 0]}), "all weights are zero"),
        (lambda fit: fit.means("cask").contrasts({"a": [0, 0, 0]}, sum_to_zero=False), "all weights are zero"),
        (lambda fit: fit.means("cask").contrasts("all"), "methods are"),
        (lambda fit: fit.means("cask").contrasts({"a": [1, -1]}), "3 finite weights are needed"),
        (lambda fit: fit.means("cask").pairs(adjust="scheffe"), "methods are"),
        (lambda fit: fit.means("cask").pairs().pairs(), "contrasts already"),
        (lambda fit: fit.means("cask").pairs().response(), "no ratios"),
        (lambda fit: fit.means("cask").contrasts(interaction=["poly", "poly"]), "1 methods are needed"),
        (lambda fit: fit.trends("cask"), "has levels, not numbers"),
        (lambda fit: fit.means("cask", ci_prob=2.0), "ci_prob"),
    ],
)
def test_what_cannot_be_asked_is_refused(call, message):
    with pytest.raises(errors.InputError, match=message):
        call(fit_of("pastes_cask"))
