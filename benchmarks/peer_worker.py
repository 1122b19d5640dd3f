"""One Python package for mixed models, named by the argument: a line of JSON for each model in, a line back.

It runs in the environment of the peers, which has no bayeslmm.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import workers  # of this folder; loads nothing beside the standard library

Task = Mapping[str, Any]
BAR = re.compile(r"\s*\+\s*(\([^()|]*\|[^()|]*\))")


def parts_of(formula: str) -> tuple[str, list[str]]:
    """The fixed part, and the bars."""
    return BAR.sub("", formula), BAR.findall(formula)


def successes(task: Task, data: pd.DataFrame) -> tuple[str, Any]:
    """The formula and the trials of each row, with the share of successes on the left of binomial ones."""
    formula, trials = task["formula"], None
    if task.get("trials"):
        count, right = re.fullmatch(r"p\((\w+),.*?\)(.*)", formula, re.DOTALL).groups()  # type: ignore[union-attr]
        data["share_of_trials"] = data[count] / data[task["trials"]]
        formula, trials = f"share_of_trials{right}", data[task["trials"]].to_numpy(float)
    return formula, trials


def mixedlm(task: Task, data: pd.DataFrame) -> Callable[[], float]:
    import mixedlm as package

    if "family" in task:
        formula, trials = successes(task, data)
        family = getattr(package.families, {"binomial": "Binomial", "poisson": "Poisson"}[task["family"]])(task["link"])
        offset = None if task["offset"] is None else data[task["offset"]].to_numpy(float)
        of_family = {"family": family, "weights": trials, "offset": offset, "nAGQ": task["nodes"]}
        return lambda: -2.0 * log_lik(package.glmer(formula, data, **of_family))

    def run() -> float:
        fit = package.lmer(task["formula"], data, REML=task["reml"])
        fit.vcov(), fit.ranef()
        return (
            float(fit.REMLcrit() if callable(fit.REMLcrit) else fit.REMLcrit) if task["reml"] else -2.0 * log_lik(fit)
        )

    return run


def log_lik(fit: Any) -> float:
    value = fit.logLik()
    return float(getattr(value, "value", value))


def lme_python(task: Task, data: pd.DataFrame) -> Callable[[], float]:
    import lme_python as package

    if "family" in task:
        formula, trials = successes(task, data)
        if task["offset"] is not None:
            formula += f" + offset({task['offset']})"
        asked: tuple[Any, ...] = (formula, data, task["family"], task["nodes"])
        if trials is None:
            return lambda: -2.0 * float(package.glmer(*asked, task["link"]).log_likelihood)
        return lambda: -2.0 * float(package.glmer_weighted(*asked, trials, task["link"]).log_likelihood)

    def run() -> float:
        fit = package.lmer(task["formula"], data, reml=task["reml"])
        fit.v_beta_unscaled, fit.std_errors, fit.ranef  # noqa: B018  (computed when asked for)
        return -2.0 * float(fit.log_likelihood)

    return run


def mixedlm_rs(task: Task, data: pd.DataFrame) -> Callable[[], float]:
    from mixedlm_rs import mixedlm as model

    return _like_statsmodels(model, task, data)


def statsmodels(task: Task, data: pd.DataFrame) -> Callable[[], float]:
    from statsmodels.formula.api import mixedlm as model

    return _like_statsmodels(model, task, data)


def _like_statsmodels(model: Any, task: Task, data: pd.DataFrame) -> Callable[[], float]:
    fixed, bars = parts_of(task["formula"])
    if len(bars) != 1 or "||" in bars[0] or "/" in bars[0]:
        raise NotImplementedError("more than one bar, or ||")
    columns, group = (text.strip() for text in bars[0].strip("()").split("|"))
    if ":" in group:
        data["pasted"] = data[group.split(":")].astype(str).agg(":".join, axis=1)
        group = "pasted"
    fixed = re.sub(r"sqrt\((\w+)\)", r"I(\1 ** 0.5)", fixed)

    def run() -> float:
        fit = model(fixed, data, groups=group, re_formula=f"~ {columns}").fit(reml=task["reml"])
        fit.cov_params(), fit.random_effects  # noqa: B018
        return -2.0 * float(fit.llf)

    return run


def interlace(task: Task, data: pd.DataFrame) -> Callable[[], float]:
    import interlace as package

    fixed, bars = parts_of(task["formula"])
    bars = [re.sub(r"^\((?![01] )", "(1 + ", bar) for bar in bars]  # an intercept is not understood there

    def run() -> float:
        fit = package.fit(fixed, data, random=bars, method="REML" if task["reml"] else "ML")
        fit.fe_cov, fit.random_effects  # noqa: B018
        return -2.0 * float(fit.llf)

    return run


PACKAGES = {
    "mixedlm": (mixedlm, "mixedlm"),
    "lme-python": (lme_python, "lme-python"),
    "mixedlm-rs": (mixedlm_rs, "mixedlm-rs"),
    "interlace-lme": (interlace, "interlace-lme"),
    "statsmodels": (statsmodels, "statsmodels"),
}


def answer(prepare: Any, task: Task) -> dict[str, Any]:
    try:
        data = pd.read_csv(task["file"]).dropna()
        for column in task["factors"]:
            data[column] = data[column].astype(str)
        seconds, runs, criterion = workers.timed(prepare(task, data), task["repeats"], time.process_time)
    except BaseException as error:  # a panic of compiled code is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return {"error": f"{type(error).__name__}: {str(error).strip()[:200]}"}
    return {"seconds": seconds, "runs": runs, "criterion": criterion}


def main() -> None:
    prepare, distribution = PACKAGES[sys.argv[1]]
    warnings.simplefilter("ignore")
    channel = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what a library prints must not look like an answer
        _say(channel, {"versions": f"{distribution} {importlib.metadata.version(distribution)}"})
        for line in sys.stdin:
            _say(channel, answer(prepare, json.loads(line)))


def _say(channel: Any, reply: Mapping[str, Any]) -> None:
    channel.write(json.dumps(reply) + "\n")
    channel.flush()


if __name__ == "__main__":
    main()
