"""Our fits beside all references of structures, fit by fit: ``python tests/structures.py``.

REML and ML fits of nlme, glmmTMB, lme4, metafor and mgcv, polished on dense covariance matrices: structures of a bar,
residual structures, known standard errors, relationship matrices, memberships and smooths.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayeslmm as blm

REFERENCE = Path(__file__).parent / "reference"
FOLDER = REFERENCE / "structures"
CRITERION, PARAMETER, FIXED, CURVE = 1e-6, 1e-3, 1e-3, 1e-3  # relative; relative; in se; in se of the curve
BARS = {
    "us": "us(0 + occasion | subject)",
    "diag": "diag(0 + occasion | subject)",
    "homdiag": "diag(0 + occasion | subject, hom=True)",
    "cs": "cs(0 + occasion | subject)",
    "homcs": "cs(0 + occasion | subject, hom = TRUE)",
    "ar1": "ar1(0 + occasion | subject)",
    "hetar1": "ar1(0 + occasion | subject, hom=False)",
}
WIDE = {  # formula, the term that is wide, its matrix
    "pedigree_a": ("weight ~ sex + record + (1 | gr(animal, cov=A))", "gr(animal)", "sim_pedigree_A"),
    "pedigree_a_pe": ("weight ~ sex + record + (1 | gr(animal, cov=A)) + (1 | animal)", "gr(animal)", "sim_pedigree_A"),
    "phylo": ("y ~ x + (1 | gr(species, cov=A))", "gr(species)", "sim_phylo_C"),
    "lattice_car": ("y ~ x + (1 | gr(cell, prec=A))", "gr(cell)", "sim_lattice_Q"),
    "mm_equal": ("y ~ x + (1 | mm(school1, school2))", "mm(school1, school2)", None),
    "mcycle_tp": ("accel ~ s(times, k=15)", "s(times)", None),
    "mcycle_cr": ("accel ~ s(times, k=20, bs='cr')", "s(times)", None),
    "mcycle_ps": ("accel ~ s(times, k=20, bs='ps')", "s(times)", None),
    "smooth_ri": ("y ~ s(x, k=12) + (1 | g)", "s(x)", None),
    "smooth_by": ("y ~ f + s(x, by=f, bs='cr')", "s(x):fA", None),
    "smooth_by_ri": ("y ~ f + s(x, by=f, bs='cr') + (1 | g)", "s(x):fA", None),
}


@cache
def kept(name: str) -> Any:
    """A file of references."""
    return json.loads((REFERENCE / name).read_text())


@dataclass
class Beside:
    """Our fit and a reference: differences in units of the tolerances' words."""

    name: str
    fit: Any
    criterion: float  # relative; below zero where ours is lower
    fixed: float = np.nan  # in standard errors
    errors: float = np.nan  # of standard errors, relative
    parameters: dict[str, float] = field(default_factory=dict)  # relative; a zero: over σ
    curve: float = np.nan  # in standard errors of the curve

    @property
    def parameter(self) -> float:
        return max(self.parameters.values(), default=np.nan)

    def is_right(self) -> bool:
        return (
            self.criterion <= CRITERION
            and not self.fixed > FIXED
            and not self.parameter > PARAMETER
            and not self.curve > CURVE
        )


def beside(name: str, fit: Any, wanted: dict[str, Any], parameters: dict[str, tuple[float, float]]) -> Beside:
    found = Beside(name=name, fit=fit, criterion=(fit.criterion - wanted["criterion"]) / abs(wanted["criterion"]))
    if wanted.get("fixef") is not None:
        se = np.array(wanted["se"])
        found.fixed = float(np.abs((fit.solution.beta - wanted["fixef"]) / se).max())
        found.errors = float(np.abs(np.sqrt(np.diag(fit.solution.vcov)) / se - 1.0).max())
    for label, (ours, theirs) in parameters.items():
        size = abs(theirs) if abs(theirs) > 1e-5 * fit.sigma else fit.sigma
        found.parameters[label] = abs(ours - theirs) / size
    return found


def estimate(model: blm.Model, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SingularFitWarning)  # some optima are on the boundary
        return model.fit_reml() if name.endswith("_reml") else model.fit_ml()


def bars() -> Iterator[Beside]:
    occasions = pd.read_csv(FOLDER / "sim_occ.csv")
    for name, wanted in kept("structures/bars.json").items():
        data, structure, _ = name.split("_")
        if data == "occ":
            model = blm.Model(f"y ~ x + occ + {BARS[structure]}", occasions)
        else:
            model = blm.Model(f"Reaction ~ Days + {structure}(Days | Subject)", blm.load_dataset("sleepstudy"))
        fit = estimate(model, name)
        cov = fit.solution.covariances[0]
        sd = np.sqrt(np.diag(cov))
        pairs = {f"sd {k}": pair for k, pair in enumerate(zip(sd, wanted["sd"], strict=True))}
        pairs["sigma"] = (fit.sigma, wanted["sigma"])
        if wanted["rho"] is not None:
            pairs["rho"] = (cov[0, 1] / sd[0] / sd[1], wanted["rho"])
        yield beside(name, fit, wanted, pairs)


def residuals() -> Iterator[Beside]:
    for name, wanted in kept("structures/residuals.json").items():
        stem = wanted["data"].removesuffix(".csv")
        try:
            data = pd.read_csv(FOLDER / wanted["data"]) if stem == "sim_irregular" else blm.load_dataset(stem)
        except blm.errors.DatasetUnavailableError as problem:
            print(f"{name:34} {problem}")
            continue
        data = data.dropna(subset=["sex"]) if "sex" in data else data
        fit = estimate(blm.Model(wanted["formula"], data, **wanted["options"]), name)
        told = fit.variance_components().set_index(["group", "term", "quantity"])["estimate"]["Residual"]
        pairs: dict[str, tuple[float, float]] = {}
        for parameter, value in wanted["residual"].items():
            if parameter == "sd":
                pairs |= {f"sd {level}": (told[level, "sd"], sd) for level, sd in value.items()}
            elif parameter == "corr":
                upper = [value[a][b] for b in range(len(value)) for a in range(b)]
                pairs |= {
                    f"cor {k}": pair
                    for k, pair in enumerate(zip(fit.solution.residual[-len(upper) :], upper, strict=True))
                }
            elif parameter == "sigma":
                pairs["sigma"] = (fit.sigma, value)
            else:  # the exponent or the power comes first
                pairs[parameter] = (told["rho", "cor"] if parameter == "rho" else fit.solution.residual[0], value)
        for term, cov in zip(wanted["random"], fit.solution.covariances, strict=True):
            sds = zip(np.sqrt(np.diag(cov)), term["sd"], strict=True)
            pairs |= {f"sd {term['group']} {k}": pair for k, pair in enumerate(sds)}
        yield beside(name, fit, wanted, pairs)


def known_errors() -> Iterator[Beside]:
    for name, wanted in kept("metafor.json")["fits"].items():
        right = " + ".join(f"(1 | {group})" for group in wanted["groups"])
        model = blm.Model(f"{wanted['fixed']} + {right}", blm.load_dataset(wanted["data"]), se="se")
        fit = estimate(model, name)
        sds = [np.sqrt(cov[0, 0]) for cov in fit.solution.covariances]
        optimum = wanted["optimum"]
        yield beside(
            name, fit, optimum, {f"sd {g}": pair for g, *pair in zip(wanted["groups"], sds, optimum["sd"], strict=True)}
        )


def wide() -> Iterator[Beside]:
    references = kept("structures/wide.json")
    for name, wanted in references.items():
        model, _ = name.rsplit("_", 1)
        formula, term, matrix = WIDE[model]
        data = pd.read_csv(FOLDER / wanted["data"], dtype={"record": str})
        given = None if matrix is None else {"A": pd.read_csv(FOLDER / f"{matrix}.csv", index_col=0)}
        fit = estimate(blm.Model(formula, data, matrices=given), name)
        sds = {g: float(np.sqrt(cov.iloc[0, 0])) for g, cov in fit.var_corr().items()}
        pairs = {"sigma": (fit.sigma, wanted["sigma"])}
        pairs |= {label: (sds[label.replace("s(x):", "s(x):f")], sd) for label, sd in wanted["smooth"].items()}
        others = [sd for g, sd in sds.items() if not g.startswith("s(")]
        # terms of groups in the order of their names there: the related ones first
        ours = sorted(sds[g] for g in sds if not g.startswith("s("))
        assert len(others) == len(wanted["random"]), name
        pairs |= {f"sd {k}": pair for k, pair in enumerate(zip(ours, sorted(wanted["random"].values()), strict=True))}
        has_line = not model.startswith(("mcycle_tp", "smooth"))  # other bases share a line with their curve
        found = beside(name, fit, wanted if has_line else wanted | {"fixef": None}, pairs)
        if "grid" in wanted:
            told = fit.predict(pd.DataFrame(wanted["grid"]), interval="plug-in", groups="average")
            se = np.array(wanted["grid_se"])
            found.curve = float(np.abs((told["estimate"] - wanted["grid_fit"]) / se).max())
        yield found


def factor_smooth() -> Iterator[Beside]:
    """mgcv's own basis as data: the bars that s(Days, Subject, bs="fs") stands for, its null space turned as there."""
    wanted = kept("structures/smooths.json")["sleepstudy"]
    days = blm.load_dataset("sleepstudy")
    basis = np.array(wanted["basis"])[days["Days"].to_numpy(dtype=int)]
    days = days.assign(**{f"b{k}": column for k, column in enumerate(basis.T)})
    right = "diag(0 + b0 + b1 + b2 | Subject, hom=True) + (0 + b3 | Subject) + (0 + b4 | Subject)"
    fit = estimate(blm.Model(f"Reaction ~ Days + {right}", days), "sleepstudy_fs_reml")
    sds = [np.sqrt(np.diag(cov)) for cov in fit.solution.covariances][0][[0, 3, 4]]
    theirs = np.array(wanted["sd"]) / np.sqrt(wanted["penalties"])  # of columns, not of coefficients under a penalty
    pairs = {f"sd {k}": pair for k, pair in enumerate(zip(sds, theirs, strict=True))}
    yield beside("sleepstudy_fs_reml", fit, wanted, pairs | {"sigma": (fit.sigma, wanted["sigma"])})


KINDS = {
    "structures of a bar": bars,
    "residual structures": residuals,
    "known standard errors": known_errors,
    "relationship matrices, memberships, smooths": wide,
    "a factor smooth, on mgcv's basis": factor_smooth,
}


def main() -> int:
    number, wrong = 0, []
    for title, kind in KINDS.items():
        print(f"\n{title}\n{'':34}{'criterion':>11}{'β, in se':>10}{'se':>10}{'parameters':>12}{'curve, in se':>14}")
        for each in kind():
            number += 1
            numbers = (each.fixed, each.errors, each.parameter, each.curve)
            told = [f"{value:.0e}" if np.isfinite(value) else "" for value in numbers]
            print(f"{each.name:34}{each.criterion:11.0e}{told[0]:>10}{told[1]:>10}{told[2]:>12}{told[3]:>14}")
            if not each.is_right():
                wrong.append(f"{each.name}: {each.parameters}")
    print(f"\n{number} fits, {len(wrong)} beyond the tolerances", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
