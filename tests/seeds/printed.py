"""The numbers four teaching notes print (tests/reference/seed_numbers.json), and what agreement with them means."""

from __future__ import annotations

import json
import pathlib

import numpy as np

ENTRIES = json.loads((pathlib.Path(__file__).parents[1] / "reference" / "seed_numbers.json").read_text())


def entries(note):
    """What a note prints, without the examples it invents."""
    return [e for e in ENTRIES if e["note"] == note and e["status"] != "hypothetical"]


def label(entry):
    return f"{entry['number']}-{entry['model']}-{entry['quantity']}".replace(" ", "_")


def check(entry, ours, *, replicate_sd=None):
    """Our number against the printed one: to the last printed digit, unless the entry says why not.

    ``replicate_sd`` is the sd of a parameter over bootstrap samples, for its percentiles.
    """
    printed, obtained, half = entry["value"], entry["obtained"], 0.5 * 10.0 ** -entry["decimals"]
    said = f"note {entry['note']}, {entry['model']}, {entry['quantity']}: {entry['printed']} is printed, ours is {ours}"
    if printed is None:  # a statement in words, recorded as the number it rests on
        assert ours == obtained, said
    elif entry["status"] == "agree within Monte Carlo error":
        # the note drew 500 samples; R drew 2,000 for `obtained`, and so do we
        assert abs(ours - printed) <= 4 * percentile_error(replicate_sd, 500, 2000), said
        assert abs(ours - obtained) <= 3 * percentile_error(replicate_sd, 2000, 2000), f"{said}, R's is {obtained}"
    elif entry["status"] == "agree within the optimiser's tolerance":
        # nine decimals of an lme4 fit whose optimiser stopped short; ours is the optimum, as is `obtained`
        assert abs(ours - printed) <= 1e-6, said
        assert abs(ours - obtained) <= 1e-7, f"{said}, the optimum is at {obtained}"
    elif entry["status"] == "disagree":
        assert abs(ours - obtained) <= 1e-6 * max(abs(obtained), 1.0), f"{said}, and {obtained} is right"
        assert abs(ours - printed) > half, f"{said}: the note is right after all"
    elif entry["printed"].startswith("<"):
        assert ours < printed, said
    else:
        assert abs(ours - printed) <= half * (1 + 1e-9), said


def percentile_error(sd, *draws):
    """Standard error of the difference of two bootstraps' 2.5 % (or 97.5 %) points.

    A point below which a share p lies has the variance p(1 − p) / (draws · density²); the replicates are taken as
    normal, whose density there is 0.058 / sd. It is 0.13 sd for 500 and 2,000 draws, 0.08 sd for twice 2,000.
    """
    density = np.exp(-(1.96**2) / 2) / np.sqrt(2 * np.pi) / sd
    return np.sqrt(sum(0.025 * 0.975 / n for n in draws)) / density


def r_name(name):
    """A coefficient as R prints it: ``PrivPub[public]`` is ``PrivPubpublic``."""
    return "(Intercept)" if name == "Intercept" else name.replace("[", "").replace("]", "")


def summary_numbers(fit):
    """Everything R's ``summary`` of a mixed model prints, under the names the entries use."""
    numbers = {"REML criterion": fit.criterion, "AIC": fit.aic, "BIC": fit.bic, "logLik": fit.loglik}
    numbers |= {"-2 log L": fit.deviance, "df.resid": fit.df_resid, "observations": fit.nobs}
    numbers |= {f"groups {name}": count for name, count in fit.ngroups.items()}
    quantiles = np.quantile(fit.residuals("scaled"), [0, 0.25, 0.5, 0.75, 1])
    for percent, value in zip((0, 25, 50, 75, 100), quantiles, strict=True):
        numbers[f"scaled residual quantile {percent}%"] = value
    components = fit.variance_components()
    for row in components[components["quantity"].isin(["variance", "sd"])].itertuples():
        numbers[f"{row.group} {row.quantity}"] = row.estimate
        numbers[f"{row.group} {r_name(row.term)} {row.quantity}"] = row.estimate
    return numbers | coefficient_numbers(fit)


def coefficient_numbers(fit, ddf=None):
    table, numbers = fit.fixef(ddf=ddf), {}
    for name, row in table.iterrows():
        numbers[f"{r_name(name)} estimate"] = row["estimate"]
        numbers[f"{r_name(name)} se"] = row["std_error"]
        numbers[f"{r_name(name)} t"] = row["statistic"]
        numbers[f"{r_name(name)} p"] = row.get("p_value")
    cor = fit.vcov() / np.outer(table["std_error"], table["std_error"])
    for i, a in enumerate(table.index):
        for b in table.index[i + 1 :]:
            numbers[f"correlation of {r_name(a)} and {r_name(b)}"] = cor.loc[a, b]
    return numbers


def linear_model_numbers(fit, null, anova):
    """What R's ``summary`` of a linear model prints; ``fit`` and ``null`` are pairs of REML and ML fits."""
    (reml, ml), (null_reml, null_ml) = fit, null
    test = anova(null_reml, reml).table.iloc[1]
    numbers = {
        "residual se": reml.sigma,
        "residual df": test["df_resid"],
        "R squared": ml.pseudo_r2(null_ml).loc["Residual", "pseudo_r2"],
        "adjusted R squared": reml.pseudo_r2(null_reml).loc["Residual", "pseudo_r2"],
        "F": test["f"],
        "F numerator df": test["df"],
        "F denominator df": test["df_resid"],
        "F p": test["p_value"],
    }
    for percent, value in zip(
        (0, 25, 50, 75, 100), np.quantile(reml.residuals(), [0, 0.25, 0.5, 0.75, 1]), strict=True
    ):
        numbers[f"residual quantile {percent}%"] = value
    return numbers | coefficient_numbers(reml, ddf="satterthwaite")
