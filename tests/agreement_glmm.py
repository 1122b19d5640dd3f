"""Point fits of other families against glmmTMB, lme4 and clmm: ``python tests/agreement_glmm.py`` prints how far.

A line for every reference fit: by how much our log-likelihood is above the best program's, how far fixed effects are
away in their standard errors, and the relative differences of standard errors, sds, the family's parameters, and
modes and their sds. ``LIMITS`` are what may be off.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import bayeslmm as blm

HERE = Path(__file__).parent / "reference"
LIMITS = {  # of log likelihoods below the best; standard errors; relative; residuals are relative as well
    "loglik": 1e-4,
    "beta": 1e-3,
    "se": 5e-3,
    "sd": 5e-3,
    "family": 5e-3,
    "modes": 5e-3,
    "AIC, BIC": 2e-4,
    "residuals": 5e-3,
}


def references():
    """Reference fits by name."""
    return json.loads((HERE / "glmm.json").read_text(encoding="utf-8"))


def model_of(name, ref):
    """The model of a reference fit."""
    data = pd.read_csv(HERE / "glmm_data" / f"{ref['data']}.gz")
    for column, levels in ref["factors"].items():
        ordered = bool(ref["ordered"]) and column == ref["response"]
        data[column] = pd.Categorical(data[column].astype(str), categories=levels, ordered=ordered)
    options = {}
    if (ref["zero"] or {}).get("formula", "~1") != "~1":
        options["hu" if ref["family"].startswith("hurdle") else "zi"] = ref["zero"]["formula"]
    return blm.Model(ref["formula"], data, family=ref["family"], link=ref["link"], offset=ref["offset"], **options)


def _relative(ours, theirs):
    """Largest relative difference; of zeros, whether ours is one."""
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    return float(np.max(np.abs(ours - theirs) / np.where(theirs == 0.0, 1.0, np.abs(theirs)), initial=0.0))


def differences(name, ref, fit):
    """How far a fit is from its reference, by the names of ``LIMITS``, of what the reference has."""
    solution = fit.solution
    p = len(solution.beta)
    beta, se = (np.array(list(ref[part].values()))[-p:] for part in ("fixef", "se"))
    sds = np.sort(np.concatenate([np.sqrt(np.diag(cov)) for cov in solution.covariances]))
    wanted = np.sort(np.concatenate([each["sd"] for each in ref["VarCorr"]])) if "VarCorr" in ref else sds
    wanted = np.where(wanted < 1e-3, 0.0, wanted)  # at a boundary, where theirs stop on the way
    out = {
        "loglik": fit.loglik - max(ref["logLik"], *(ref.get("others") or [ref["logLik"]])),
        "beta": float(np.max(np.abs(solution.beta - beta) / se, initial=0.0)),
        "se": _relative(np.sqrt(np.diag(solution.vcov)), se),
        "sd": _relative(sds, wanted),
    }
    pairs = []
    if ref["dispersion"]:
        pairs.append((next(iter(solution.parameters.values())), ref["dispersion"]["value"]))
    if ref["cutpoints"]:
        pairs.append((solution.parameters["cutpoint"], list(ref["cutpoints"].values())))
    if ref["zero"]:
        value = list(solution.parameters.values())[-1]
        pairs.append((value if np.ndim(value) else np.log(value / (1.0 - value)), list(ref["zero"]["fixef"].values())))
    if pairs:
        out["family"] = max(_relative(np.ravel(ours), np.ravel(theirs)) for ours, theirs in pairs)
    modes = []
    for group, ours, covariance in zip(fit.design.groups, solution.modes, solution.mode_covariances, strict=True):
        if group.name in ref["ranef"] and len(solution.modes) == 1:
            theirs = ref["ranef"][group.name]
            order = [theirs["levels"].index(str(level)) for level in group.levels]
            sd = np.array(theirs["cond_sd"])[order]
            unit = sd.max() if sd.max() > 1e-3 else 1.0  # of a variance of zero
            modes.append(float(np.max(np.abs(ours - np.array(theirs["values"])[order]) / unit)))
            if unit == sd.max() and not ref["restricted"]:  # theirs carry the uncertainty of the fixed effects as well
                modes.append(_relative(np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)), sd))
    if modes:
        out["modes"] = max(modes)
    if ref["AIC"] is not None:
        # of ordinal fits the reference counts no sds; clmm itself prints an AIC of 177.13 for wine_logit, with them
        uncounted = len(ref["VarCorr"]) if ref["cutpoints"] else 0
        aic, bic = ref["AIC"] + 2 * uncounted, ref["BIC"] + np.log(fit.nobs) * uncounted
        out["AIC, BIC"] = max(abs(fit.aic - aic), abs(fit.bic - bic))
    if ref["pearson_sumsq"]:  # over the sd of y given the modes, which includes the dispersion
        out["residuals"] = _relative(np.sum(fit.residuals("scaled") ** 2), ref["pearson_sumsq"])
    if ref.get("deviance_sumsq"):
        ours = np.sum(fit.residuals("deviance") ** 2)
        out["residuals"] = max(out.get("residuals", 0.0), _relative(ours, ref["deviance_sumsq"]))
    return out


def beyond(found):
    """The names of ``LIMITS`` that a fit misses; a log likelihood may be higher."""
    return [n for n, value in found.items() if (value < -LIMITS[n] if n == "loglik" else not value <= LIMITS[n])]


def fitted(name, ref):
    """The fit by the rule of the reference."""
    model = model_of(name, ref)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.BayesLMMWarning)
        if ref["restricted"]:
            return model.fit_reml()
        return model.fit_ml(nAGQ=45 if name == "gsim_student" else 1)  # that one is an integral


def main():
    """Print one line a reference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="references (all)")
    options = parser.parse_args()
    columns = list(LIMITS)
    print(f"{'reference':24}" + "".join(f"{column:>11}" for column in columns) + "   s     verdict")
    missed = 0
    for name, ref in references().items():
        if options.names and name not in options.names:
            continue
        start = time.process_time()
        fit = fitted(name, ref)
        seconds = time.process_time() - start
        found = differences(name, ref, fit)
        cells = "".join(f"{found[c]:>+11.0e}" if c in found else f"{'–':>11}" for c in columns)
        missed += bool(beyond(found))
        verdict = f"MISSED: {', '.join(beyond(found))}" if beyond(found) else fit.solution.status
        print(f"{name:24}{cells}  {seconds:5.2f}  {verdict}", flush=True)
    print(f"{missed} beyond the limits: " + ", ".join(f"{name} {limit:g}" for name, limit in LIMITS.items()))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
