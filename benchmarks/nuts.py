"""NUTS beside Bambi's, and the time from nothing to a posterior: python benchmarks/nuts.py --help."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import report
from posterior import smallest_ess

Answer = dict[str, Any]
Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model and the name of its data; ``data()`` makes them."""

    formula: str
    family: str
    source: str


CASES = {
    "cbpp": Case(formula="p(incidence, size) ~ period + (1 | herd)", family="binomial", source="cbpp"),
    "good": Case(formula="good ~ service + (1 | s) + (1 | d)", family="bernoulli", source="insteval"),
    "counts": Case(formula="count ~ x + (1 | site)", family="poisson", source="simulated"),
    "hsb": Case(formula="mathach ~ ses + (ses | school)", family="gaussian", source="hsb"),
    "sleepstudy": Case(formula="Reaction ~ Days + (Days | Subject)", family="gaussian", source="sleepstudy"),
    "robust": Case(formula="Reaction ~ Days + (Days | Subject)", family="student_t", source="sleepstudy"),
    "science": Case(formula="like ~ sex + PrivPub + (1 | school/class)", family="ordinal", source="science"),
}
BESIDE = ("cbpp", "good", "counts", "hsb")
FROM_NOTHING = ("sleepstudy", "cbpp", "good", "counts", "robust", "science")
SAMPLERS = {"default": "default sampler", "nutpie": "nutpie sampler"}
WAYS = {"loops": "compiled loops", "model": "PyMC model"}
SITUATIONS = {"cold": "nothing compiled", "warm": "new process", "again": "same process"}
LIMITS = {"cold": 25.0, "warm": 10.0, "again": 4.0}  # seconds of compilation

CHAINS, DRAWS = 4, 1000  # as many again to tune
SMALL = {"chains": 2, "draws": 200, "tune": 200}
WANTED = 2.0  # times Bambi's effective draws a second
AGREED = 1.01  # R-hat that raises no doubt

STUDENTS = 250  # of InstEval
ROWS, SITES = 2000, 100
INTERCEPT, SLOPE, SITE_SD = 0.5, 0.3, 0.6
SEED = 1


# ---- data ------------------------------------------------------------------------------------------------


def data(source: str) -> Any:
    """The rows of a model; those of InstEval are all ratings by a random part of the students."""
    import bayeslmm

    if source == "simulated":
        return simulate()
    frame = bayeslmm.load_dataset(source).dropna()
    if source != "insteval":
        return frame
    import numpy as np

    chosen = np.random.default_rng(SEED).permutation(frame["s"].unique())[:STUDENTS]
    frame = frame[frame["s"].isin(chosen)]
    return frame.assign(good=(frame["y"] >= 4).astype(int))


def simulate() -> Any:
    """Counts at sites, whose logarithms of the mean differ."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(SEED)
    site = rng.integers(SITES, size=ROWS)
    x = rng.standard_normal(ROWS)
    eta = INTERCEPT + SLOPE * x + SITE_SD * rng.standard_normal(SITES)[site]
    return pd.DataFrame({"count": rng.poisson(np.exp(eta)), "x": x, "site": [f"s{k}" for k in site]})


def job(name: str, folder: Path) -> Answer:
    """What a child needs to fit a model: its data go into a file, its priors are named as Bambi names them."""
    import bayeslmm

    case, frame = CASES[name], data(CASES[name].source)
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    priors = bayeslmm.Model(case.formula, frame, family=case.family).priors
    factors = [column for column in frame if frame[column].dtype.kind not in "biuf"]
    return {
        "formula": case.formula,
        "family": case.family,
        "data": str(path),
        "factors": factors,
        "priors": named_as_bambi(priors.entries),
    }


def named_as_bambi(entries: Sequence[Any]) -> dict[str, Answer]:
    """Priors by Bambi's terms: the coefficients of a factor in one vector; correlations, which it lacks, left out."""
    found: dict[str, Answer] = {}
    for entry in entries:
        if entry.kind == "cor":
            continue
        prior = {"distribution": entry.prior.name, **dict(entry.prior.params)}
        if entry.kind == "sd":
            term = "1" if entry.term == "Intercept" else entry.term
            found[f"{term}|{entry.group}"] = {"distribution": "Normal", "mu": 0.0, "sigma": prior}
            continue
        term = entry.term.partition("[")[0]
        if term in found:  # a further coefficient of the same factor
            joined = {key: [*listed(found[term][key]), value] for key, value in entry.prior.params}
            prior |= joined
        found[term] = prior
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---- in child processes ----------------------------------------------------------------------------------


def read(job: Answer) -> Any:
    import pandas as pd

    return pd.read_csv(job["data"], dtype=dict.fromkeys(job["factors"], str))


def ours(job: Answer) -> list[Answer]:
    """Fits by NUTS from formula and data frame, one a seed; imports are left out."""
    import bayeslmm

    frame = read(job)
    found = []
    for seed in job["seeds"]:
        begin = time.perf_counter()
        post = bayeslmm.Model(job["formula"], frame, family=job["family"]).fit(
            method="nuts", draws=job["draws"], tune=job["draws"], chains=CHAINS, random_seed=seed, progressbar=False
        )
        seconds = time.perf_counter() - begin
        found.append(measured(post.idata, seconds))
    return found


def bambi(job: Answer) -> list[Answer]:
    """The same for Bambi with the same priors. Its random effects have no correlation."""
    import bambi

    frame = read(job)
    frame = frame.astype(dict.fromkeys(job["factors"], "category"))
    priors = {term: bambi_prior(prior) for term, prior in job["priors"].items()}
    method = {} if job["sampler"] == "default" else {"inference_method": job["sampler"]}
    found = []
    for seed in job["seeds"]:
        begin = time.perf_counter()
        tree = bambi.Model(job["formula"], frame, family=job["family"], priors=priors).fit(
            draws=job["draws"],
            tune=job["draws"],
            chains=CHAINS,
            cores=min(os.cpu_count() or 1, CHAINS),
            random_seed=seed,
            progressbar=False,
            **method,
        )
        seconds = time.perf_counter() - begin
        found.append(measured(tree, seconds))
    return found


def bambi_prior(prior: Mapping[str, Any]) -> Any:
    import bambi

    parameters = {
        key: bambi_prior(value) if isinstance(value, dict) else value
        for key, value in prior.items()
        if key != "distribution"
    }
    return bambi.Prior(prior["distribution"], **parameters)


def measured(tree: Any, seconds: float) -> Answer:
    """Times of a fit and its diagnostics; ``sampling`` is None where the sampler does not tell."""
    posterior = tree.posterior.to_dataset()
    attrs = posterior.attrs
    sampling = attrs.get("sampling_time")
    if "tune_seconds" in attrs:
        sampling = attrs["tune_seconds"] + attrs["draw_seconds"]
    return {
        "seconds": seconds,
        "sampling": sampling,
        "divergences": int(tree.sample_stats["diverging"].sum()),
        "rhat": largest_rhat(posterior),
        "ess": smallest_ess(posterior),
    }


def largest_rhat(posterior: Any) -> float:
    """Over the variables that count for the smallest effective sample size."""
    import arviz as az
    import numpy as np

    largest = 1.0
    for name, draws in posterior.data_vars.items():
        if not np.isfinite(smallest_ess(posterior[[name]])):
            continue
        flat = draws.to_numpy().reshape(*draws.shape[:2], -1)
        varying = np.flatnonzero(flat.std(axis=(0, 1)) > 0)
        largest = max([largest, *(float(az.rhat(flat[..., k])) for k in varying)])
    return largest


def twice(job: Answer) -> list[Answer]:
    """Seconds to a posterior in a new process, imports included, and again; and what of it is compilation."""
    found = []
    for seed in (1, 2):
        begin = time.perf_counter()
        import bayeslmm

        frame = read(job)
        model = bayeslmm.Model(job["formula"], frame, family=job["family"])
        how = {"method": "nuts"} if job["way"] == "loops" else {"nuts_sampler": "nutpie"}
        post = model.fit(**SMALL, **how, random_seed=seed, progressbar=False)
        seconds = time.perf_counter() - begin
        compiling = post.idata.posterior.attrs["compile_seconds"] if job["way"] == "model" else None
        found.append({"seconds": seconds, "compiling": compiling})
    return found


CHILDREN = {"ours": ours, "bambi": bambi, "twice": twice}


# ---- in the parent: beside Bambi -------------------------------------------------------------------------


def child(python: str, what: str, job: Answer, **environment: str) -> list[Answer]:
    run = subprocess.run(
        [python, __file__, "--child", what, json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if run.returncode:
        raise RuntimeError(f"{what} failed with {job['formula']}:\n{run.stderr[-3000:]}")
    return json.loads(run.stdout.splitlines()[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Runs of one program on one model under the same circumstances, summed up by medians and worst cases."""

    model: str
    program: str
    again: bool  # not the first of the process
    answers: Sequence[Answer]

    @property
    def label(self) -> str:
        return f"{self.program}: {'again' if self.again else 'first of a process'}"

    @property
    def seconds(self) -> float:
        return median(a["seconds"] for a in self.answers)

    @property
    def sampling(self) -> float | None:
        known = [a["sampling"] for a in self.answers if a["sampling"]]
        return median(known) if known else None

    @property
    def divergences(self) -> int:
        return max(a["divergences"] for a in self.answers)

    @property
    def rhat(self) -> float:
        return max(a["rhat"] for a in self.answers)

    def rate(self, clock: str = "seconds") -> float | None:
        """Effective draws a second of all the time, or of ``sampling``."""
        known = [a["ess"] / a[clock] for a in self.answers if a[clock]]
        return median(known) if known else None

    def slower_than(self, other: Runs, clock: str = "seconds") -> float | None:
        """How many times as many effective draws a second the other has."""
        mine, theirs = self.rate(clock), other.rate(clock)
        return theirs / mine if mine and theirs else None

    def is_no_better_than(self, other: Runs) -> bool:
        """Whether the other has no more divergences, and no larger R-hat or one that raises no doubt."""
        return other.divergences <= self.divergences and other.rhat <= max(self.rhat, AGREED)


def compare(name: str, options: argparse.Namespace, folder: Path) -> Iterator[tuple[Runs, Runs | None]]:
    """Runs of each program, with those of ours that they compare with."""
    work = job(name, folder)
    mine = in_warm_process("bayeslmm", name, sys.executable, "ours", work, options.repeats)
    yield from ((runs, None) for runs in mine)
    for sampler, told in SAMPLERS.items() if options.bambi else ():
        theirs = in_warm_process(
            f"Bambi, {told}", name, options.bambi, "bambi", {**work, "sampler": sampler}, options.repeats
        )
        yield from zip(theirs, mine, strict=True)


def in_warm_process(program: str, model: str, python: str, what: str, work: Answer, repeats: int) -> list[Runs]:
    """The first fit of a process and those that count, after another has filled the compile cache on disk."""
    child(python, what, {**work, "draws": 10, "seeds": [0]})
    first, *rest = child(python, what, {**work, "draws": DRAWS, "seeds": [0, *range(repeats)]})
    found = [
        Runs(model=model, program=program, again=again, answers=answers)
        for again, answers in ((False, [first]), (True, rest))
    ]
    for runs in found:
        print(f"{model}, {runs.label}: {report.number(runs.seconds)} s", flush=True)
    return found


def row(runs: Runs, base: Runs | None) -> Row:
    return {
        "model": runs.model,
        "program": runs.label,
        "runs": str(len(runs.answers)),
        "seconds": report.number(runs.seconds),
        "sampling s": report.number(runs.sampling),
        "divergences": str(runs.divergences),
        "R-hat": f"{runs.rhat:.3f}",
        "smallest bulk ESS": f"{median(a['ess'] for a in runs.answers):,.0f}",
        "ESS / s": report.number(runs.rate()),
        "ESS / s of sampling": report.number(runs.rate("sampling")),
        "faster by": times(base and runs.slower_than(base)),
        "sampling faster by": times(base and runs.slower_than(base, "sampling")),
    }


def times(ratio: float | None) -> str:
    return "" if ratio is None else f"{report.number(ratio)}×"


def verdict(compared: Sequence[tuple[Runs, Runs | None]]) -> str:
    """The smallest ratios, and whether the diagnostics are as good everywhere; of runs in a warm process."""
    pairs = [(runs, base) for runs, base in compared if base and runs.again]
    if not pairs:
        return "Bambi was left out."
    parts = []
    for clock, told in (("seconds", "wall time"), ("sampling", "time of sampling alone")):
        ratios = [(r, runs) for runs, base in pairs if (r := runs.slower_than(base, clock))]
        least, runs = min(ratios, key=lambda pair: pair[0])
        word = "reached" if least >= WANTED else "missed"
        parts.append(f"{times(least)} by {told} ({runs.model}, {runs.program}): {WANTED:g}× is {word}")
    equal = sum(runs.is_no_better_than(base) for runs, base in pairs)
    return (
        f"Smallest ratio of ESS / s, for fits again in the same process: {'; '.join(parts)}. "
        f"Diagnostics are as good as Bambi's or better in {equal} of {len(pairs)} comparisons "
        f"(no more divergences; R-hat no larger, or at most {AGREED:g})."
    )


# ---- in the parent: from nothing to a posterior ----------------------------------------------------------


def from_nothing(name: str, way: str, folder: Path) -> dict[str, Answer]:
    """One model in a process with empty compile caches, in the next one, and again in that."""
    caches = folder / f"{name}-{way}"
    flags = [os.environ.get("PYTENSOR_FLAGS", ""), f"base_compiledir={caches / 'pytensor'}"]
    environment = {"NUMBA_CACHE_DIR": str(caches / "numba"), "PYTENSOR_FLAGS": ",".join(filter(None, flags))}
    work = {**job(name, folder), "way": way}
    cold, _ = child(sys.executable, "twice", work, **environment)
    warm, again = child(sys.executable, "twice", work, **environment)
    shown = ", ".join(report.number(answer["seconds"]) for answer in (cold, warm, again))
    print(f"{name}, {WAYS[way]}: {shown} s", flush=True)
    return {"cold": cold, "warm": warm, "again": again}


def cold_row(name: str, way: str, found: Mapping[str, Answer]) -> Row:
    cells = {"model": name, "family": CASES[name].family, "way": WAYS[way]}
    for situation, told in SITUATIONS.items():
        cells[f"{told} s"] = report.number(found[situation]["seconds"])
        cells[f"{told}: compiling s"] = report.number(found[situation]["compiling"])
    return cells


def limits(found: Sequence[tuple[str, Mapping[str, Answer]]]) -> str:
    """The longest compilation in each situation beside its limit.

    The loops do not tell how long they compiled, so that all counts which the same process does not need again.
    """
    parts = []
    for situation, told in SITUATIONS.items():
        longest = dict.fromkeys(WAYS, 0.0)
        for way, answers in found:
            compiling = answers[situation]["compiling"]
            if compiling is None:
                compiling = answers[situation]["seconds"] - answers["again"]["seconds"]
            longest[way] = max(longest[way], compiling)
        word = "kept" if max(longest.values()) <= LIMITS[situation] else "exceeded"
        shown = f"{longest['model']:.1f} s ({longest['loops']:.1f} s)"
        parts.append(f"{told} {shown}, limit {LIMITS[situation]:g} s: {word}")
    return (
        "Longest compilation of a PyMC model, and in brackets what the compiled loops took beyond the time in the "
        f"same process, imports included: {'; '.join(parts)}."
    )


# ---- all together ----------------------------------------------------------------------------------------


def beside_table(names: Sequence[str], options: argparse.Namespace, folder: Path) -> list[str]:
    compared = [pair for name in names if name in BESIDE for pair in compare(name, options, folder)]
    if not compared:
        return []
    rows = [row(runs, base) for runs, base in compared]
    return ["### By NUTS, beside Bambi", report.table(rows, left=2), verdict(compared)]


def cold_table(names: Sequence[str], folder: Path) -> list[str]:
    wanted = [(name, way) for name in FROM_NOTHING if name in names for way in WAYS]
    if not wanted:
        return []
    found = [(name, way, from_nothing(name, way, folder)) for name, way in wanted]
    rows = [cold_row(*each) for each in found]
    return [
        "### From nothing to a posterior",
        report.table(rows, left=3),
        limits([(way, answers) for _, way, answers in found]),
    ]


def models(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in CASES:
            raise argparse.ArgumentTypeError(f"no model {name!r}: there are {', '.join(CASES)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=models, default=list(CASES), help="which, with commas between")
    parser.add_argument("--repeats", type=int, default=5, help="runs that count, one a seed (5)")
    parser.add_argument("--bambi", help="a Python with Bambi; without it Bambi is left out")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave the second table out")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave README.md alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = beside_table(options.models, options, Path(folder))
        if options.compile:
            parts += cold_table(options.models, Path(folder))
    facts = report.facts(
        {"machine": report.machine(), "versions": report.versions("bayeslmm", "numba", "nutpie", "pymc", "arviz")}
    )
    text = "\n\n".join([facts, *parts])
    print(text)
    if options.write:
        report.write_between("nuts", text)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(CHILDREN[sys.argv[2]](json.loads(sys.argv[3]))))
    else:
        sys.exit(main())
