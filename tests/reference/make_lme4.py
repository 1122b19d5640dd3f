"""Extract the figures the tests need from full reference files: ``python make_lme4.py FOLDER > lme4.json``.

FOLDER holds one JSON file an ``lme4::lmer`` fit (lme4 1.1-31, lmerTest 3.1-3, performance 0.10.2).
"""

import json
import pathlib
import sys

fits = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
    full = json.loads(path.read_text())
    if full["kind"] != "lmer":
        continue
    fits[path.stem] = {
        "formula": full["formula"],
        "data": full["data_file"].split(".")[0],
        "factors": [c for c, v in full["columns"].items() if v["type"] == "factor"],
        "reml": full["REML"],
        "n": full["n"],
        "criterion": full["criterion"]["value"],
        "fixef": list(full["fixef"].values()),
        "se": list(full["se"].values()),
        "vcov": full["vcov"]["matrix"],
        "sigma": full["sigma"],
        "random": [{k: v[k] for k in ("group", "term_label", "names", "sd", "corr")} for v in full["VarCorr"]],
        "singular": full["isSingular"],
        "loglik": full["logLik"],
        "aic": full["AIC"],
        "bic": full["BIC"],
        "df_resid": full["df_resid"],
        "quantiles": list(full["resid_scaled_quantiles"].values()),
        "fitted": full["fitted_first20"],
        "fitted_sumsq": full["fitted_sumsq"],
        "ranef": full["ranef"],
        "satterthwaite": full.get("satterthwaite"),
        "kenward_roger": full.get("kenward_roger"),
        "confint_wald": full["confint_wald"],
        "confint_profile": full.get("confint_profile"),
        "r2_marginal": full["variances_by_definition"]["r2_marginal"],
        "r2_conditional": full["variances_by_definition"]["r2_conditional"],
        "icc_adjusted": full["variances_by_definition"]["icc_adjusted"],
        "icc_unadjusted": full["variances_by_definition"]["icc_unadjusted"],
    }
sys.stdout.write(json.dumps(fits, indent=None, separators=(",", ":")).replace("},", "},\n"))
