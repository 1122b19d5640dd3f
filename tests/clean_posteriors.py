"""Posteriors of real data with default settings, seed by seed: ``python tests/clean_posteriors.py`` prints verdicts.

These are models that samplers find hard (predictors far from zero, few levels with wide bars, effects a row, nested
factors), and all that R packages document which the catalogue MixedBench lists. A posterior is clean if its verdict is
"converged", R-hat is at most 1.01 and the effective sample size at least 400.

The data belong to R packages. What is not in the folder ``--data`` (and its ``mixedbench``) is looked for in
``--exported``, which ``Rscript tests/reference/export_tables.R FOLDER`` fills; models without data are named and left
out.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
import warnings

import numpy as np
import pandas as pd

import bayeslmm as blm
from bayeslmm.errors import BayesLMMWarning

SHARED = pathlib.Path(__file__).parents[2] / "shared"
MOST_RHAT, LEAST_ESS = 1.01, 400.0


class Tables:
    """CSV files in some folders."""

    def __init__(self, *folders):
        self.folders = [pathlib.Path(folder) for folder in folders]

    def __call__(self, name, *factors):
        """A table, with some columns as text. `FileNotFoundError` where no folder has it."""
        for path in (folder / file for folder in self.folders for file in (f"{name}.csv", f"{name}.csv.gz")):
            if path.is_file():
                table = pd.read_csv(path)
                return table.assign(**{f: table[f].astype(str) for f in factors})
        raise FileNotFoundError(name)


def hard(tables):
    """(formula, table, options) by name; a call each, as data may be missing."""

    def machines():
        return tables("machines", "Worker")

    def grouseticks():
        return tables("grouseticks", "YEAR", "BROOD", "INDEX", "LOCATION")

    def mmmec():
        table = tables("mmmec", "region")
        return table.assign(log_expected=np.log(table["expected"]))

    def hits():
        values = [18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7]  # Efron & Morris (1975)
        return pd.DataFrame({"Player": [f"p{k}" for k in range(18)], "Hits": values, "AB": 45})

    def counts(mean=1.0):
        rng = np.random.default_rng(4)
        g, x = np.arange(120) % 12, rng.normal(size=120)
        eta = np.log(mean) + 0.4 * x + rng.normal(0, 0.5, 12)[g] + rng.normal(0, 0.6, 120)
        return pd.DataFrame({"y": rng.poisson(np.exp(eta)), "x": x, "g": [f"g{k}" for k in g], "i": np.arange(120)})

    poisson, bernoulli = {"family": "poisson"}, {"family": "bernoulli"}
    offset = {**poisson, "offset": "log_expected"}
    guimmun = "immun ~ kid2p + mom25p + ord + ethn + momEd + husEd + momWork + rural + pcInd81 + (1 | mom) + (1 | comm)"
    return {
        "nlschools, raw IQ": lambda: ("lang ~ IQ + SES + COMB + (1 + IQ | class)", tables("nlschools", "class"), {}),
        "hsb, ses + 20": lambda: (
            "mathach ~ ses + (ses | school)",
            tables("hsb", "school").assign(ses=lambda t: t["ses"] + 20.0),
            {},
        ),
        "sleepstudy, Days + 200": lambda: (
            "Reaction ~ Days + (Days | Subject)",
            blm.load_dataset("sleepstudy").assign(Days=lambda t: t["Days"] + 200.0),
            {},
        ),
        "Pixel": lambda: ("pixel ~ day + I(day**2) + (day | Dog) + (1 | Dog:Side)", tables("pixel", "Dog"), {}),
        "Machines, (Machine | Worker)": lambda: ("score ~ Machine + (Machine | Worker)", machines(), {}),
        "Machines, (0 + Machine | Worker)": lambda: ("score ~ Machine + (0 + Machine | Worker)", machines(), {}),
        "baseball 1970": lambda: ("p(Hits, AB) ~ 1 + (1 | Player)", hits(), {"family": "binomial"}),
        "epil": lambda: ("y ~ lbase * trt + lage + V4 + (1 | subject)", tables("epil", "subject"), poisson),
        "epil, slopes": lambda: (
            "y ~ lbase * trt + lage + period + (period | subject)",
            tables("epil", "subject"),
            poisson,
        ),
        "Mmmec": lambda: ("deaths ~ uvb + (1 | nation) + (1 | region)", mmmec(), offset),
        "guImmun": lambda: (guimmun, tables("guimmun", "mom", "comm"), bernoulli),
        "Greene": lambda: (
            "decision ~ rater + nation + language + location + (1 | judge)",
            tables("cardata_greene"),
            bernoulli,
        ),
        "grouseticks": lambda: (
            "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
            grouseticks(),
            poisson,
        ),
        "counts around 1, (1 | i)": lambda: ("y ~ x + (1 | i)", counts(), poisson),
        "counts around 1, (1 | g) + (1 | i)": lambda: ("y ~ x + (1 | g) + (1 | i)", counts(), poisson),
        "counts around 0.3, (1 | g) + (1 | i)": lambda: ("y ~ x + (1 | g) + (1 | i)", counts(0.3), poisson),
        "toenail": lambda: ("y ~ treatment * time + (1 | patient)", tables("toenail", "patient"), bernoulli),
        "contraception": lambda: (
            "use ~ age + I(age**2) + urban + livch + (1 | district)",
            tables("contraception", "district"),
            bernoulli,
        ),
        "contraception, slopes": lambda: (
            "use ~ age + I(age**2) + urban + livch + (urban | district)",
            tables("contraception", "district"),
            bernoulli,
        ),
        "owls": lambda: (
            "calls ~ food * sex_parent + arrival + (1 | nest) + offset(log_brood)",
            tables("owls"),
            {"family": "negbinomial"},
        ),
    }


def documented(tables):
    """The same of MixedBench's models, as R writes them."""

    def case(entry):
        data = tables(entry["data_file"].removesuffix(".csv.gz"))
        for column, levels in entry["factors"].items():
            text = data[column].astype(str).where(data[column].notna())
            data[column] = pd.Categorical(text, categories=[str(level) for level in levels])
        return entry["formula_R"], data, {"family": entry["family"]}

    files = [folder / "models.json" for folder in tables.folders]
    entries = [entry for file in files if file.is_file() for entry in json.loads(file.read_text())]
    return {entry["name"]: lambda entry=entry: case(entry) for entry in entries}


def judged(formula, table, options, seed):
    """The posterior's verdict and seconds of one seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesLMMWarning)  # the verdict is printed instead
        started = time.perf_counter()
        posterior = blm.Model(formula, table, **options).fit(random_seed=seed, progressbar=False)
        return posterior.diagnosis, time.perf_counter() - started


def is_clean(diagnosis):
    """Whether nothing raises doubt, by the limits of this file as well."""
    ess = min(diagnosis.min_ess_bulk, diagnosis.min_ess_tail)
    return diagnosis.converged and round(diagnosis.max_rhat, 3) <= MOST_RHAT and ess >= LEAST_ESS


def main():
    """Print one line a model and seed; the exit code says whether all were clean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="models, or parts of their names (all)")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--data", type=pathlib.Path, default=SHARED)
    parser.add_argument("--exported", type=pathlib.Path, default=SHARED / "data")
    options = parser.parse_args()
    tables = Tables(options.exported, options.data / "data", options.data / "mixedbench")
    cases = {**hard(tables), **documented(tables)}
    # what numba compiles or loads belongs to no model
    blm.Model("y ~ 1 + (1 | g)", pd.DataFrame({"y": np.arange(8.0), "g": list("aabbccdd")})).fit_reml()
    tried = clean = 0
    for name, case in cases.items():
        if options.names and not any(part in name for part in options.names):
            continue
        try:
            formula, table, further = case()
        except FileNotFoundError as missing:
            print(f"{name:40s} left out: no table {missing}", flush=True)
            continue
        for seed in range(options.first, options.first + options.seeds):
            diagnosis, seconds = judged(formula, table, further, seed)
            tried, clean = tried + 1, clean + is_clean(diagnosis)
            ess = min(diagnosis.min_ess_bulk, diagnosis.min_ess_tail)
            print(
                f"{name:40s} seed {seed:2d} {'clean' if is_clean(diagnosis) else 'DOUBT':5s} "
                f"R-hat {diagnosis.max_rhat:.3f} ESS {ess:6,.0f} {seconds:6.1f} s; {diagnosis}",
                flush=True,
            )
    print(f"{clean} of {tried} are clean")
    return int(clean < tried)


if __name__ == "__main__":
    sys.exit(main())
