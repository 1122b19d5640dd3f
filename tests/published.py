"""The largest differences between what is published of fits here and by R: ``python tests/published.py``.

All numbers of all reference files: tests of terms and of hypotheses, coefficients, marginal means, trends, contrasts
with every adjustment, margins, models for repeated measures, pooled imputations, likelihood ratios and power.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from terms_reference import FITS, fit_of, numbers, reference

import bayeslmm as blm

REFERENCE = Path(__file__).parent / "reference"
METHODS = {
    "pairwise": "pairwise",
    "revpairwise": "reverse",
    "trt.vs.ctrl": "reference",
    "trt.vs.ctrl1": "reference",
    "consec": "consecutive",
    "eff": "mean",
    "poly": "poly",
}
LIMITS = {  # of each kind; R's own rounding, Monte Carlo error of mvt, standard errors by differences of glmmTMB
    "p, mvt": 1e-3,
    "interval, in SE, mvt": 1e-2,
    "interval, in SE, adjusted": 1e-4,
    "p, adjusted where some are not estimable": 1e-3,
    "estimate, in SE (Laplace)": 1e-3,
    "SE (Laplace)": 2e-3,
    "interval, in SE (Laplace)": 1e-2,
    "sd of effects (Laplace)": 1e-3,
    "log likelihood (Laplace)": 1e-6,
    "p (Laplace)": 1e-3,
    "χ² of terms (Laplace)": 5e-3,
    "χ² of likelihood ratios (Laplace)": 1e-3,
}
LIMIT = 2e-6  # of every other
ADJUSTMENTS = {a: a for a in ("none", "tukey", "holm", "bonferroni", "sidak", "fdr", "mvt")} | {"dunnettx": "dunnett"}
DDF = {"satterthwaite": "satterthwaite", "kenward_roger": "kenward-roger"}


class Differences:
    """The largest difference of each kind of number, and how many were compared."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = defaultdict(float)
        self.count: dict[str, int] = defaultdict(int)

    def add(self, kind, ours, theirs, size=None):
        """Differences over ``size``, by default relative to theirs; what R does not tell must not be told here."""
        ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
        assert ours.shape == theirs.shape, (kind, ours.shape, theirs.shape)
        assert (np.isnan(ours) == np.isnan(theirs)).all(), (kind, ours, theirs)
        same = (ours == theirs) | np.isnan(ours)  # infinite df
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.where(same, 0.0, np.abs(ours - theirs) / (np.abs(theirs) if size is None else size))
        off = np.where(np.isnan(off), 0.0, off)
        self.largest[kind] = max(self.largest[kind], float(off.max(initial=0.0)))
        self.count[kind] += off.size


def terms(name: str, into: Differences) -> None:
    """F tests of terms of three types, hypotheses and coefficients, by Satterthwaite and by Kenward and Roger."""
    kept, fit = reference(name), fit_of(name)
    _estimated(into, fit, kept["fit"])
    if "kenward_roger_dense" in kept:  # pbkrtest is wrong with weights
        _by_dense_matrices(into, fit, kept)
    for kind, place in (("I", 1), ("II", 2), ("III", 3)):
        for method, wanted in kept["anova"][kind].items():
            found = blm.anova(fit, type=place, ddf=DDF[method]).table
            _f_test(into, found, {c: numbers(wanted, c) for c in ("NumDF", "DenDF", "F", "p")})
    for case in kept.get("tests", ()):
        ours = _names(fit)
        sides = [" + ".join(f"{w} * {ours[term]}" for term, w in row.items()) for row in case["rows"]]
        text = ", ".join(f"{side} = {value}" for side, value in zip(sides, case["rhs"], strict=True))
        for method, ddf in DDF.items():
            if method in case:
                wanted = {c: np.atleast_1d(case[method][c]) for c in ("NumDF", "DenDF", "F", "p")}
                _f_test(into, fit.test(text, ddf=ddf), wanted)
    for method, wanted in kept.get("coefficients", {}).items():
        names = [_names(fit).get(row[0]) for row in wanted["rows"]]
        if None not in names:  # in sum coding, or where other columns are left out, they are other coefficients
            _estimates(into, fit.fixef(ddf=DDF[method]).loc[names], wanted)


def _estimated(into, fit, wanted):
    """Estimates, standard errors, variances and the criterion."""
    into.add("criterion", [-2.0 * fit.loglik], [wanted["criterion"]])
    into.add("residual sd", [fit.sigma], [wanted["sigma"]])
    ours = fit.var_corr()
    for group in wanted["VarCorr"] if not any("Sum" in name for name in fit.design.x_names) else ():
        cov, theirs = np.asarray(ours[group["group"]]), np.array(group["cov"])  # in sum coding they are others
        into.add("covariances of effects", cov, theirs, theirs.max() + 1e-12 * fit.sigma**2)
    names = [_names(fit).get(term) for term in wanted["fixef"]]
    if None not in names:  # in sum coding they have other names
        found, se = fit.fixef().loc[names], np.array(list(wanted["se"].values()))
        into.add("estimate, in SE", found["estimate"], list(wanted["fixef"].values()), se)
        into.add("SE", found["std_error"], se)


def _by_dense_matrices(into, fit, kept):
    """Kenward and Roger's tests and means by plain matrices, of a model with weights."""
    dense = kept["kenward_roger_dense"]
    for kind, rows in dense["anova"].items():
        found = blm.anova(fit, type=kind, ddf="kenward-roger").table
        wanted = dict(zip(dense["anova_columns"], map(np.array, zip(*rows, strict=True)), strict=True))
        _f_test(into, found, {c: wanted[c].astype(float) for c in ("NumDF", "DenDF", "F", "p")})
    for mean, tables in dense["means"].items():
        request = kept["means"][mean]["request"]
        found = _means(fit, request, "kenward-roger")
        for table, ours in (("table", found.table), ("contrasts", found.contrasts(METHODS[request["method"]]).table)):
            _estimates(into, ours, {"columns": dense["means_columns"], "rows": tables[table]})


def _names(fit):
    """Our names by R's."""
    return {n.replace("[", "").replace("]", "").replace("Intercept", "(Intercept)"): n for n in fit.design.x_names}


def _f_test(into, found, wanted):
    assert list(found["num_df"]) == list(wanted["NumDF"])
    into.add("F", found["f"], wanted["F"])
    into.add("df of F", found["den_df"], wanted["DenDF"])
    into.add("p", found["p_value"], wanted["p"], 1.0)


def _estimates(into, found, wanted, estimate="estimate", of="contrast"):
    se, seen = numbers(wanted, "SE"), list(wanted["columns"])
    into.add("estimate, in SE", found["estimate"], numbers(wanted, estimate), np.where(se > 0, se, 1.0))
    into.add("SE", found["std_error"], se)
    into.add("df", found["df"], numbers(wanted, "df"))
    if "p" in seen and "p_value" in found:
        into.add("p", found["p_value"], numbers(wanted, "p"), 1.0)
    if "lower" in seen:
        for ours, theirs in (("conf_low", "lower"), ("conf_high", "upper")):
            into.add("interval, in SE", found[ours], numbers(wanted, theirs), np.where(se > 0, se, 1.0))


def _means(fit, request, ddf):
    options = {"by": request.get("by"), "at": request.get("at"), "weights": request.get("weights", "equal")}
    if request["kind"] == "trends":
        specs = None if request["specs"] == ["1"] else request["specs"]
        return fit.trends(request["var"], specs, ddf=ddf, **options)
    return fit.means(request["specs"], ddf=ddf, **options)


def _in_their_order(found, wanted):
    """Our rows in R's order of labels."""
    table, labels = found.table, list(found.labels)
    theirs = pd.DataFrame(wanted["rows"], columns=wanted["columns"])[labels]

    def key(frame):
        return [tuple(f"{v:g}" if isinstance(v, int | float) else str(v) for v in row) for row in frame.to_numpy()]

    place = {label: k for k, label in enumerate(key(table[labels]))}
    return table.iloc[[place[label] for label in key(theirs)]]


def means(name: str, into: Differences) -> None:
    """Marginal means, trends, contrasts, contrasts of contrasts, adjustments and margins."""
    for kept in reference(name)["means"].values():
        request = kept["request"]
        for method, ddf in DDF.items():
            if method not in kept:
                continue
            tables, found = kept[method], _means(fit_of(name), request, ddf)
            wanted = tables["table"]
            value = next(c for c in wanted["columns"] if c == "emmean" or c.endswith(".trend"))
            _estimates(into, _in_their_order(found, wanted), wanted, value)
            if "contrasts" in tables and request.get("method") in METHODS:
                _contrasts(into, found, METHODS[request["method"]], tables["contrasts"])
            if "interaction" in tables:
                _estimates(into, found.contrasts(interaction="pairwise").table, tables["interaction"])
            if "custom" in tables:
                for row, weights in zip(tables["custom"]["rows"], request["custom"].values(), strict=True):
                    single = {"columns": tables["custom"]["columns"], "rows": [row]}
                    _estimates(into, found.contrasts({"it": weights}).table, single)
            for kind, margin in (("noninferiority", "noninf"), ("equivalence", "equiv")):
                if kind in tables:
                    against = getattr(found.pairs(), kind)(tables[kind][margin])
                    into.add("p", against["p_value"], numbers(tables[kind], "p"), 1.0)


def _contrasts(into, means, method, wanted):
    for theirs, ours in ADJUSTMENTS.items():
        if f"p_{theirs}" not in wanted["columns"]:
            continue
        found = means.contrasts(method, adjust=ours).table
        se = numbers(wanted, "SE")
        rounds = ours == "tukey" and np.isnan(se).any()  # emmeans takes whole df there
        kind = {"none": "", "mvt": ", mvt"}.get(ours, ", adjusted") + (
            " where some are not estimable" if rounds else ""
        )
        into.add(f"p{kind}", found["p_value"], numbers(wanted, f"p_{theirs}"), 1.0)
        if ours == "none":
            _estimates(into, found, wanted)
        for side, there in (("conf_low", f"lower_{theirs}"), ("conf_high", f"upper_{theirs}")):
            if there in wanted["columns"]:
                into.add(f"interval, in SE{kind}", found[side], numbers(wanted, there), se)


def repeated_measures(name: str, into: Differences) -> None:
    """A trial with an unstructured covariance of visits, against exact derivatives on dense matrices."""
    kept = json.loads((REFERENCE / "mmrm" / f"{name}.json").read_text(encoding="utf-8"))
    data = pd.read_csv(REFERENCE / "mmrm" / kept["data_file"]).dropna(subset=["change"])
    fit = blm.Model(kept["formula"], data, residual="us(visit | patient)").fit_reml()
    dense = kept["dense"]
    into.add("criterion", [-2.0 * fit.loglik], [dense["criterion"]])
    columns, names = dense["columns"], {name: _names(fit)[name] for name in dense["coefficients"]}
    rows = {"columns": ["name", *columns], "rows": [[n, *values] for n, values in dense["coefficients"].items()]}
    for method, ddf in DDF.items():
        _dense(into, fit.fixef(ddf=ddf).loc[list(names.values())], rows, method)
        for mean, tables in dense["means"].items():
            request = {"kind": "means", **kept["means"][mean]["request"]}
            found = _means(fit, request, ddf)
            _dense(into, _in_their_order(found, tables["table"]), tables["table"], method)
            if "contrasts" in tables:
                backwards = request["method"] == "trt.vs.ctrlk"
                pairs = found.contrasts(adjust="none").table
                wanted = tables["contrasts"]
                labels = [c for c in ("contrast", "visit") if c in wanted["columns"]]
                places = {tuple(map(str, row)): k for k, row in enumerate(pairs[labels].itertuples(index=False))}
                keys = [tuple(str(row[wanted["columns"].index(c)]) for c in labels) for row in wanted["rows"]]
                assert not backwards or all("placebo" in key[0] for key in keys)
                _dense(into, pairs.iloc[[places[key] for key in keys]], wanted, method)
            if "custom" in tables:
                weights = next(iter(request["custom"].values()))
                _dense(into, found.contrasts({"it": weights}).table, tables["custom"], method)
        for case in dense["tests"]:
            columns_of = [names[column] for column in case["L_columns"]]
            sides = [
                " + ".join(f"{w} * {column}" for w, column in zip(row, columns_of, strict=True) if w)
                for row in case["L"]
            ]
            wanted = {c: np.atleast_1d(case[method][c]) for c in ("NumDF", "DenDF", "F", "p")}
            _f_test(into, fit.test(", ".join(f"{side} = 0" for side in sides), ddf=ddf), wanted)


def _dense(into, found, wanted, method):
    """Of the dense oracle: standard errors and df by method."""
    se = numbers(wanted, "SE" if method == "satterthwaite" else f"SE_{method}")
    into.add("estimate, in SE", found["estimate"], numbers(wanted, "estimate"), se)
    into.add("SE", found["std_error"], se)
    into.add("df", found["df"], numbers(wanted, f"df_{method}"))
    if "p_value" in found:
        into.add("p", found["p_value"], numbers(wanted, f"p_{method}"), 1.0)


def imputations(name: str, into: Differences) -> None:
    """Rubin's rules by mice."""
    kept = json.loads((REFERENCE / "imputed.json").read_text(encoding="utf-8"))
    data = pd.read_csv(REFERENCE / "imputed.csv")
    tables = [table.reset_index(drop=True) for _, table in data.groupby("imp")]
    fit = blm.fit_imputed(kept["formula_py"], tables)
    _estimates(into, fit.fixef(), kept["pooled"])
    for ours, theirs in (("between_share", "lambda"), ("fmi", "fmi")):
        into.add("shares between imputations", fit.fixef()[ours], numbers(kept["parts"], theirs))
    joint = fit.test("ses = 0, minority[Yes] = 0").iloc[0]
    into.add("F", [joint["f"]], [kept["D1"]["F"]])
    into.add("df of F", [joint["den_df"]], [kept["D1"]["df2_reiter"]])
    into.add("p", [joint["p_value"]], [kept["D1"]["p_reiter"]], 1.0)
    for single, wanted in zip(fit.fits, kept["each"].values(), strict=True):
        found, se = single.fixef().loc[[_names(single)[term] for term in wanted["fixef"]]], [*wanted["se"].values()]
        into.add("estimate, in SE", found["estimate"], list(wanted["fixef"].values()), se)
        into.add("SE", found["std_error"], se)
        into.add("criterion", [-2.0 * single.loglik], [wanted["REML_criterion"]])


def likelihood_ratios(name: str, into: Differences) -> None:
    """ML fits of two models, their likelihood ratio, and Kenward and Roger's test of the same."""
    kept = json.loads((REFERENCE / "bootstrap" / f"{name}.json").read_text(encoding="utf-8"))
    data = blm.load_dataset(kept["data_file"].removesuffix(".csv"))
    small, large = (blm.Model(kept[which].replace("^", "**"), data) for which in ("small", "large"))
    for model, which in ((small, "small"), (large, "large")):
        into.add("criterion", [model.fit_ml().loglik], [kept["LRT"][f"logLik_{which}"]])
    tested = blm.anova(small.fit_ml(), large.fit_ml()).table.iloc[-1]
    into.add("χ²", [tested["chisq"]], [kept["LRT"]["statistic"]])
    into.add("p", [tested["p_value"]], [kept["LRT"]["p_chisq"]], 1.0)
    fit = large.fit_reml()
    term = blm.anova(fit, ddf="kenward-roger").table.iloc[[-1]]
    _f_test(into, term, {c: np.atleast_1d(kept["kenward_roger"][c]) for c in ("NumDF", "DenDF", "F", "p")})


def generalised(name: str, into: Differences) -> None:
    """Generalised models: means on both scales, ratios, differences, terms, against glmmTMB's Laplace fits."""
    from results import test_means_of_families as other

    kept, fit = other.reference(name), other.fit_of(name)
    spread, estimates = kept["bias_adjust_sigma"], kept["fit"]
    names = [_names(fit)[term.replace("^", " ** ")] for term in estimates["fixef"]]
    coefficients, se = fit.fixef().loc[names], list(estimates["se"].values())
    into.add("estimate, in SE (Laplace)", coefficients["estimate"], list(estimates["fixef"].values()), se)
    into.add("SE (Laplace)", coefficients["std_error"], se)
    sds = [np.sqrt(np.diag(np.atleast_2d(cov))) for cov in fit.var_corr().values() if np.ndim(cov) == 2]
    into.add("sd of effects (Laplace)", np.concatenate(sds), list(estimates["sd"].values()))
    into.add("log likelihood (Laplace)", [fit.loglik], [estimates["logLik"]])
    for mean, tables in kept["means"].items():
        means = other.means_of(name, mean)
        for found, which, value in (
            (means, "link", ("emmean",)),
            (means.response(), "response", ("prob", "response", "rate")),
            (means.response(bias_sd=spread), "response_bias_adjusted", ("prob", "response", "rate")),
        ):
            _laplace(into, found.table, tables[which], value)
        if "interaction_link" in tables:
            found = means.contrasts(interaction="pairwise").table
            _laplace(into, found, tables["interaction_link"], ("estimate",))
        if "ratios" not in tables:
            continue
        method, response = other.METHODS[tables["request"]["method"]], means.response()
        moved = means.response(bias_sd=spread)
        for found, which in (
            (means.contrasts(method, adjust="none"), "contrasts_link"),
            (response.contrasts(method, adjust="none"), "ratios"),
            (response.contrasts(method, adjust="none", kind="difference"), "response_differences"),
            (moved.contrasts(method, adjust="none", kind="difference"), "response_differences_bias_adjusted"),
        ):
            _laplace(into, found.table, tables[which], ("estimate", "odds.ratio", "ratio"))
        for theirs, ours in ADJUSTMENTS.items():
            wanted = tables["contrasts_link"]
            if ours == "none" or f"p_{theirs}" not in wanted["columns"]:
                continue
            found, rest = means.contrasts(method, adjust=ours).table, ", mvt" if ours == "mvt" else " (Laplace)"
            into.add(f"p{rest}", found["p_value"], numbers(wanted, f"p_{theirs}"), 1.0)
            for side, there in (("conf_low", f"lower_{theirs}"), ("conf_high", f"upper_{theirs}")):
                if there in wanted["columns"]:
                    into.add(f"interval, in SE{rest}", found[side], numbers(wanted, there), numbers(wanted, "SE"))
    for kind, table in (("II", "wald_chisq"), ("III", "wald_chisq_sum_coding")):
        by_term = {row[0]: row for row in kept["anova"][kind][table]["rows"]}
        found = blm.anova(fit, type=kind).table
        rows = [by_term[str(t).replace(" ** ", "^")] for t in found.index]
        into.add("χ² of terms (Laplace)", found["chisq"], [row[1] for row in rows])
        assert list(found["df"]) == [row[2] for row in rows]
        into.add("p (Laplace)", found["p_value"], [row[3] for row in rows], 1.0)
    dropped = kept["anova"]["drop1_LRT"]["rows"]
    ratios = [blm.drop1(fit).table.loc[row[0].replace("^", " ** "), "chisq"] for row in dropped]
    into.add("χ² of likelihood ratios (Laplace)", ratios, [row[1] for row in dropped])


def _laplace(into, found, wanted, value):
    se = numbers(wanted, "SE")
    name = next(each for each in value if each in wanted["columns"])
    into.add("estimate, in SE (Laplace)", found["estimate"], numbers(wanted, name), se)
    into.add("SE (Laplace)", found["std_error"], se)
    for side, there in (("conf_low", ("lower", "lower_none")), ("conf_high", ("upper", "upper_none"))):
        end = next((each for each in there if each in wanted["columns"]), None)
        if end:
            into.add("interval, in SE (Laplace)", found[side], numbers(wanted, end), se)
    p = next((each for each in ("p_none", "p") if each in wanted["columns"]), None)
    if p and "p_value" in found:
        into.add("p (Laplace)", found["p_value"], numbers(wanted, p), 1.0)


KINDS = {
    **dict.fromkeys(("cbpp_logit", "contraception_logit", "owls_nbinom2"), (generalised,)),
    **{name: (terms, means) for name in FITS},
    "trial_mmrm": (repeated_measures,),
    "hsb_imputed": (imputations,),
    "boot_pastes": (likelihood_ratios,),
    "boot_sleepstudy": (likelihood_ratios,),
}


def differences(name: str) -> Differences:
    """All that a reference file tells beside ours."""
    into = Differences()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.BayesLMMWarning)
        for each in KINDS[name]:
            each(name, into)
    return into


def main(*, each: bool = False) -> None:
    """Print the table of docs/evidence.md; with ``--each`` that of every file before it."""
    largest: dict[str, tuple[float, str]] = {}
    count: dict[str, int] = defaultdict(int)
    for name in KINDS:
        found = differences(name)
        for kind, value in found.largest.items():
            if each:
                print(f"{name}: {kind}: {found.count[kind]:,} compared, {value:.0e}", flush=True)
            count[kind] += found.count[kind]
            largest[kind] = max(largest.get(kind, (-1.0, "")), (value, name))
    print("| number | compared | largest difference | of |\n|---|---|---|---|")
    for kind, (value, name) in largest.items():
        print(f"| {kind} | {count[kind]:,} | {value:.0e} | `{name}` |")


if __name__ == "__main__":
    main(each="--each" in sys.argv)
