"""Write glmm.json and glmm_data/ from full fits of glmmTMB, clmm and glmer, kept outside the repository.

    python tests/reference/make_glmm.py FOLDER_OF_FITS FOLDER_OF_DATA

What the tests compare is kept: optimum, standard errors, modes of the first levels; and the columns that are used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
FAMILIES = {
    "binomial": "binomial",
    "poisson": "poisson",
    "nbinom2": "negbinomial",
    "Gamma": "gamma",
    "beta": "beta",
    "ordinal": "ordinal",
    "nbinom1": "nbinom1",
    "betabinomial": "beta_binomial",
    "student_t": "student_t",
    "truncated_poisson": "truncated_poisson",
}
WITH_ZEROS = {  # a part for zeros beside it
    "poisson": "zero_inflated_poisson",
    "negbinomial": "zero_inflated_negbinomial",
    "truncated_poisson": "hurdle_poisson",
}
NAMES = (
    "cbpp_betabinomial cbpp_cloglog cbpp_logit cbpp_probit cbpp_reml contraception_intercept contraception_slope "
    "epil_nbinom2 epil_poisson epil_slope gsim_beta gsim_counts gsim_crossed gsim_crossed_uncorr gsim_gamma "
    "gsim_over_betabinomial gsim_over_nbinom1 gsim_student gsim_zerovar owls_hurdle owls_nbinom1 owls_nbinom2 "
    "owls_poisson owls_zinb owls_zip respiratory respiratory_reml toenail wine_logit wine_probit"
).split()


def main(fits: Path, data: Path) -> None:
    kept = {}
    for name in NAMES:
        full = json.loads((fits / f"{name}.json").read_text())
        response, family = full["response"], FAMILIES[full["family"]]
        left = response["y"]
        if family == "binomial":
            left = f"p({left}, {response['size']})" if response.get("size") else left
            family = "binomial" if response.get("size") else "bernoulli"
        if family == "beta_binomial":
            left = f"p({left}, {response['size']})"
        zero = full.get("zero")
        family = WITH_ZEROS[family] if zero else family
        ranef = {
            group: {"cond_sd": each["cond_sd"], "levels": each["levels"], "values": each["values"]}
            for group, each in (full.get("ranef") or {}).items()
            if not each.get("truncated") and len(each["levels"]) <= 60
        }
        kept[name] = {
            "formula": left + " ~" + full["formula_py"].split("~", 1)[1],
            "family": family,
            "link": full["link"],
            "offset": full.get("offset"),
            "data": full["data_file"],
            "restricted": bool(full.get("REML")),
            "ordered": response.get("levels"),
            "response": response["y"],
            "factors": {c: i["levels"] for c, i in full["columns"].items() if i["type"] == "factor" and "levels" in i},
            "logLik": full["logLik"],
            "n_par": full.get("n_par"),
            "AIC": full.get("AIC"),
            "BIC": full.get("BIC"),
            "fixef": full["fixef"],
            "se": full["se"],
            "VarCorr": full["VarCorr"],
            "dispersion": full.get("dispersion"),
            "zero": zero and {key: zero[key] for key in ("formula", "fixef", "se")},
            "cutpoints": full.get("cutpoints"),
            "ranef": ranef,
            "pearson_sumsq": full.get("pearson_sumsq"),
            "deviance_sumsq": full.get("conditional_deviance_residual_sum"),
            "others": [each["logLik"] for each in (full.get("lme4"),) if each and full.get("canonical_link")],
            "nAGQ25": (full.get("adaptive_quadrature") or {}).get("nAGQ25"),
        }
        table = pd.read_csv(data / full["data_file"])
        (HERE / "glmm_data").mkdir(exist_ok=True)
        table.to_csv(HERE / "glmm_data" / f"{full['data_file']}.gz", index=False)
    (HERE / "glmm.json").write_text(json.dumps(kept, indent=0) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
