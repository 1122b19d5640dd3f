"""Which verb answers for which structure, and what it says else: ``python tests/verbs_of_structures.py --help``.

Point fits and posteriors of normal responses and of counts beside every structure of effects. A dot is an answer, a
number one of the reasons below the table, and X what should not be: an error that is not the package's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from scipy import sparse

mpl.use("Agg")

import bayeslmm as blm
from bayeslmm.cli.main import main as command_line

LEVELS = [f"l{k}" for k in range(12)]
SHORT = {"draws": 60, "tune": 100, "chains": 2, "cores": 1, "progressbar": False, "random_seed": 1}
BOOT = {"random_seed": 1, "cores": 1, "progressbar": False}
A = pd.DataFrame(0.6 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12))), index=LEVELS, columns=LEVELS)
Q = pd.DataFrame(np.linalg.inv(A), index=LEVELS, columns=LEVELS)

STRUCTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "us": ("x + (1 + x | g)", {}),
    "diag": ("x + diag(0 + f | g)", {}),
    "diag hom": ("x + diag(0 + f | g, hom=True)", {}),
    "cs": ("x + cs(0 + f | g)", {}),
    "cs hom": ("x + cs(0 + f | g, hom=True)", {}),
    "ar1": ("x + ar1(0 + f | g)", {}),
    "ar1 het": ("x + ar1(0 + f | g, hom=False)", {}),
    "se": ("x + (1 | row)", {"se": "w"}),
    "gr cov": ("x + (1 | gr(g, cov=A))", {"matrices": {"A": A}}),
    "gr prec": ("x + (1 | gr(g, prec=Q))", {"matrices": {"Q": Q}}),
    "gr sparse": ("x + (1 | gr(g, cov=A)) + (1 | g)", {"matrices": {"A": (LEVELS, sparse.csr_array(A.to_numpy()))}}),
    "mm": ("x + (1 | mm(g, h))", {}),
    "mm weights": ("x + (1 | mm(g, h, weights=[w, v]))", {}),
    "mm empty": ("x + (1 | mm(g, k))", {}),
    "s tp": ("s(t, k=6) + (1 | g)", {}),
    "s cr": ("s(t, k=6, bs='cr')", {}),
    "s ps": ("s(t, k=7, bs='ps')", {}),
    "s cc": ("s(t, k=6, bs='cc') + (1 | g)", {}),
    "s by": ("f + s(t, by=f, k=5)", {}),
    "s by x": ("x + s(t, by=x, k=5)", {}),
    "s fs": ("s(t, c, bs='fs', k=4)", {}),
}


def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 144
    i = np.arange(n)
    g, f = i % 12, i // 12 % 3
    effects, slopes = rng.normal(size=12), rng.normal(size=(12, 3))
    x, t = rng.normal(size=n), rng.uniform(0, 4, n)
    eta = 0.5 + 0.4 * x + 0.6 * effects[g] + 0.6 * slopes[g, f] + np.sin(2 * t) * (1 + 0.5 * f)
    data = pd.DataFrame(
        {
            "y": eta + 0.5 * rng.normal(size=n),
            "n": rng.poisson(np.exp(0.3 * eta)),
            "x": x,
            "t": t,
            "g": np.array(LEVELS)[g],
            "h": np.array(LEVELS)[(5 * i + i // 12) % 12],
            "c": np.array(list("abcd"))[i // 3 % 4],
            "f": np.array(["f1", "f2", "f3"])[f],
            "w": rng.uniform(0.3, 1.0, n),
            "v": rng.uniform(0.3, 1.0, n),
            "row": i,
            "z": rng.normal(size=n),
        }
    )
    data["k"] = data["h"].where(rng.random(n) > 0.3, None)
    return data


DATA = table()


def model_of(structure: str, family: str, *, trust: bool = True) -> blm.Model:
    formula, options = STRUCTURES[structure]
    if family != "gaussian":
        options = {key: value for key, value in options.items() if key != "se"}
    left = "y" if family == "gaussian" else "n"
    return blm.Model(f"{left} ~ {formula}", DATA, family=family, trust=trust, **options)


def x_of(structure: str) -> str:
    return "x" if "x" in STRUCTURES[structure][0].split("(")[0] else "t"


def strange(fit: Any) -> pd.DataFrame:
    return DATA.head(4).assign(g="new", h="new", c="new", k="new", row=-1, f="f2")


Verb = Callable[[Any, str], Any]


def figure(name: str, *arguments: str) -> Verb:
    def draw(fit: Any, structure: str) -> Any:
        try:
            return getattr(blm, name)(fit, *(x_of(structure) if a == "x" else a for a in arguments))
        finally:
            import matplotlib.pyplot as plt

            plt.close("all")

    return draw


def kept(fit: Any, structure: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        blm.save(fit, Path(folder, "fit.nc"))
        again = blm.load(Path(folder, "fit.nc"))
        np.testing.assert_allclose(again.fitted(), fit.fitted(), rtol=1e-9)
        str(again.summary())


def reported(fit: Any, structure: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return blm.report(fit, str(Path(folder, "report.html")), progressbar=False)


def called(fit: Any, structure: str) -> str:
    """The command line, from files: tables, check, report and saved fit."""
    formula, options = STRUCTURES[structure]
    is_normal, is_point = _family(fit) == "gaussian", not hasattr(fit, "idata")
    with tempfile.TemporaryDirectory() as folder:
        DATA.to_csv(Path(folder, "data.csv"), index=False)
        arguments = ["fit", str(Path(folder, "data.csv")), f"{'y' if is_normal else 'n'} ~ {formula}"]
        arguments += ["--family", "gaussian" if is_normal else "poisson"]
        if is_point:
            arguments += ["--reml" if is_normal else "--ml"]
        else:
            arguments += [
                "--posterior",
                "--draws",
                "100",
                "--tune",
                "200",
                "--chains",
                "2",
                "--seed",
                "1",
                "--cores",
                "1",
            ]
        if is_normal and "se" in options:
            arguments += ["--se", options["se"]]
        for name in options.get("matrices", {}):
            (Q if name == "Q" else A).to_csv(Path(folder, f"{name}.csv"))
            arguments += ["--matrix", f"{name}={Path(folder, name)}.csv"]
        arguments += ["--tidy", str(Path(folder, "tidy.csv")), "--save", str(Path(folder, "fit.nc"))]
        arguments += ["--check", "--report", str(Path(folder, "report.html"))]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command_line(arguments)
        if code not in (0, 1) or "Traceback" in err.getvalue():
            raise RuntimeError(f"exit code {code}: {err.getvalue()[-400:]}")
        if not (Path(folder, "tidy.csv").exists() and Path(folder, "report.html").exists()):
            raise RuntimeError("files are missing")
        return out.getvalue()


def beside(fit: Any, structure: str) -> Any:
    return str(blm.compare_estimates(fitted(structure, _family(fit), "point"), fit))


def untrusted(fit: Any, structure: str) -> Any:
    return model_of(structure, _family(fit), trust=False)


EITHER: dict[str, Verb] = {
    "summary": lambda f, s: str(f.summary()),
    "tidy": lambda f, s: f.tidy(("fixed", "ran_pars", "ran_vals", "ran_coefs")),
    "glance": lambda f, s: f.glance(),
    "augment": lambda f, s: f.augment(),
    "ranef": lambda f, s: f.ranef(),
    "coef": lambda f, s: f.coef(),
    "var_corr": lambda f, s: f.var_corr(),
    "variance_components": lambda f, s: f.variance_components(),
    "icc": lambda f, s: f.icc(),
    "icc, at values": lambda f, s: f.icc(at={"x": [0.0, 1.0]}),
    "within_correlation": lambda f, s: f.within_correlation({"x": [0.0, 1.0]}),
    "r2": lambda f, s: f.r2(),
    "heterogeneity": lambda f, s: f.heterogeneity(),
    "confint": lambda f, s: f.confint(),
    "fixef": lambda f, s: f.fixef(),
    "predict, rows": lambda f, s: f.predict(DATA.head(4)),
    "predict, average": lambda f, s: f.predict(strange(f), groups="average"),
    "predict, new levels": lambda f, s: f.predict(strange(f), groups="new"),
    "predict, unseen": lambda f, s: f.predict(strange(f)),
    "simulate": lambda f, s: f.simulate(2, random_seed=1),
    "simulate, observed": lambda f, s: f.simulate(2, random_seed=1, groups="observed"),
    "comparisons": lambda f, s: f.comparisons(x_of(s)),
    "slopes": lambda f, s: f.slopes(x_of(s)),
    "means": lambda f, s: f.means(x_of(s)).table,
    "smooths": lambda f, s: f.smooths(),
    "smooth": lambda f, s: f.smooth(next(g.name for g in f.design.smooths) if f.design.smooths else "s(t)"),
    "save, load": kept,
    "check": lambda f, s: str(blm.check(f, progressbar=False)),
    "ppc": lambda f, s: str(blm.ppc(f)),
    "compare_pooling": lambda f, s: str(blm.compare_pooling(model_of(s, _family(f)), **SHORT)),
    "model_table": lambda f, s: str(blm.model_table(f, loo=False)),
    "report": reported,
    "command line": called,
    "untrusted formula": untrusted,
    "explain": lambda f, s: str(model_of(s, _family(f)).explain()),
    "equations": lambda f, s: str(model_of(s, _family(f)).equations()),
    "plot_lines": figure("plot_lines", "x"),
    "plot_predictions": figure("plot_predictions", "x"),
    "plot_coef": figure("plot_coef"),
    "plot_estimates": figure("plot_estimates"),
    "plot_forest": figure("plot_forest"),
    "plot_funnel": figure("plot_funnel"),
    "plot_icc": figure("plot_icc"),
    "plot_ranef": figure("plot_ranef"),
    "plot_ranef_normality": figure("plot_ranef_normality"),
    "plot_residuals": figure("plot_residuals"),
    "plot_smooth": figure("plot_smooth"),
    "plot_variance": figure("plot_variance"),
    "plot_ppc": figure("plot_ppc"),
}
POINT: dict[str, Verb] = {
    "confint, profile": lambda f, s: f.confint("profile", ci_prob=0.8, progressbar=False),
    "confint, boot": lambda f, s: f.confint("boot", draws=3, **BOOT),
    "fixef, satterthwaite": lambda f, s: f.fixef(ddf="satterthwaite"),
    "fixef, kenward-roger": lambda f, s: f.fixef(ddf="kenward-roger"),
    "predict, plug-in": lambda f, s: f.predict(DATA.head(4), interval="plug-in"),
    "predict, simulated": lambda f, s: f.predict(DATA.head(4), interval="simulated", draws=4, **BOOT),
    "refit": lambda f, s: f.refit(f.simulate(1, random_seed=2)["sim_1"]),
    "update": lambda f, s: f.update(". ~ . + z"),
    "anova": lambda f, s: str(blm.anova(f, f.update(". ~ . + z"))),
    "anova, terms": lambda f, s: str(blm.anova(f)),
    "drop1": lambda f, s: str(blm.drop1(f)),
    "plot_profile": figure("plot_profile"),
    "ranova": lambda f, s: str(blm.ranova(f)),
}
POSTERIOR: dict[str, Verb] = {
    "refit": lambda f, s: f.refit(f.design.y[::-1], draws=15, tune=30),
    "with_priors": lambda f, s: f.with_priors({}, draws=15, tune=30),
    "loo": lambda f, s: f.loo(),
    "loo, group": lambda f, s: f.loo(f.design.groups[-1].name),
    "loo, conditional": lambda f, s: f.loo(conditional=True),
    "compare_estimates": beside,
    "bayes_r2": lambda f, s: f.bayes_r2(),
    "rank_groups": lambda f, s: f.rank_groups(top=2),
    "prior_sensitivity": lambda f, s: f.prior_sensitivity(),
    "predict, response": lambda f, s: f.predict(DATA.head(4), kind="response", random_seed=1),
    **{name: figure(name) for name in ("plot_trace", "plot_rank", "plot_prior_posterior")},
    "model.pymc": lambda f, s: model_of(s, _family(f)).pymc,
}
KINDS = [(family, kind) for family in ("gaussian", "poisson") for kind in ("point", "posterior")]
FITS: dict[tuple[str, str, str], Any] = {}


def _family(fit: Any) -> str:
    return "poisson" if fit.design.family.name == "poisson" else "gaussian"


def fitted(structure: str, family: str, kind: str) -> Any:
    key = (structure, family, kind)
    if key not in FITS:
        model = model_of(structure, family)
        if kind == "point":
            FITS[key] = model.fit_reml() if family == "gaussian" else model.fit_ml()
        else:
            FITS[key] = model.fit(**SHORT)
    return FITS[key]


def answer(verb: Verb, structure: str, family: str, kind: str) -> str | None:
    """None for an answer, else the reason; an error that is not the package's begins with X."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            verb(fitted(structure, family, kind), structure)
        except blm.errors.BayesLMMError as refusal:
            return f"{type(refusal).__name__}: {' '.join(str(refusal).split())}"
        except Exception as error:
            return f"X {type(error).__name__}: {' '.join(str(error).split())}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", nargs="*", help=f"of {', '.join(STRUCTURES)} (all)")
    wanted = parser.parse_args().structures
    structures = [name for name in STRUCTURES if not wanted or name in wanted]
    reasons: dict[str, int] = {}
    wrong = 0
    for family, kind in KINDS:
        verbs = EITHER | (POINT if kind == "point" else POSTERIOR)
        cells: dict[str, dict[str, str]] = {name: {} for name in verbs}
        for structure in structures:
            for name, verb in verbs.items():
                reason = answer(verb, structure, family, kind)
                if reason is None:
                    cells[name][structure] = "."
                    continue
                if reason not in reasons:
                    reasons[reason] = len(reasons) + 1
                is_foreign = reason.startswith("X")
                wrong += is_foreign
                cells[name][structure] = f"{'X' if is_foreign else ''}{reasons[reason]}"
            FITS.pop((structure, family, kind) if kind == "posterior" else ("", "", ""), None)
        print(f"\n{family}, {kind}\n{pd.DataFrame(cells).T[structures].to_string()}", flush=True)
    print("\nreasons")
    for reason, number in reasons.items():
        print(f"{number:4} {reason[:400]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
