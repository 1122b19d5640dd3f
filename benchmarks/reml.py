"""REML and ML fits side by side with lme4 and statsmodels: python benchmarks/reml.py --help."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import workers

Answer = dict[str, Any]

REFERENCE = report.FOLDER.parent / "tests" / "reference" / "lme4.json"
WORKERS = [sys.executable, str(report.FOLDER / "workers.py")]
BOOTSTRAP = {
    "kind": "bootstrap",
    "formula": "mathach ~ ses + (ses | school)",
    "data": "hsb",
    "factors": ["school"],
    "term": "sd__ses",
    "draws": 1000,
    "cores": 2,
}
ALARM = 1e-3  # a criterion so much above another's is no optimum
FAST_BLAS = re.compile("openblas|mkl|blis|accelerate|veclib|atlas", re.IGNORECASE)


class Unavailable(Exception):
    """A program that is to be compared with cannot be run here; the text says why."""


class Worker:
    """A child process that answers a line of JSON with a line of JSON."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.complaints = tempfile.TemporaryFile("w+")  # a pipe would block the child when full
        try:
            self.process = subprocess.Popen(
                argv,
                env=report.one_thread(),
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.complaints,
            )
        except FileNotFoundError:
            raise Unavailable(f"{argv[0]} not found") from None
        self.hello = self._answer()

    def ask(self, task: Mapping[str, Any]) -> Answer:
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Answer:
        line = self.process.stdout.readline()
        if not line:
            self.process.communicate()
            self.complaints.seek(0)
            errors = [text.strip() for text in self.complaints if "Error" in text]
            raise Unavailable(errors[-1] if errors else "it ended without a message")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One model, and what each program said about it (None: not asked, or not available)."""

    name: str
    formula: str
    ours: Answer
    lme4: Answer | None
    statsmodels: Answer | None


# ---- what is asked ---------------------------------------------------------------------------------------


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="", help="names or beginnings of names, separated by commas")
    parser.add_argument("--repeats", type=int, help="runs a model (default: 21, or 5 from half a second on)")
    parser.add_argument("--no-r", action="store_true", help="leave lme4 out")
    parser.add_argument("--no-statsmodels", action="store_true", help="leave statsmodels out")
    parser.add_argument("--boot", action="store_true", help="run lme4's bootstrap as well (minutes)")
    parser.add_argument("--no-write", action="store_true", help="print only, leave README.md alone")
    return parser.parse_args(arguments)


def chosen_models(beginnings: str) -> dict[str, Any]:
    models = json.loads(REFERENCE.read_text(encoding="utf-8"))
    wanted = tuple(part.strip() for part in beginnings.split(",") if part.strip())
    chosen = {name: model for name, model in models.items() if not wanted or name.startswith(wanted)}
    if not chosen:
        raise SystemExit(f"--models {beginnings}: no such model; there are {', '.join(models)}")
    return chosen


def task_for(model: Mapping[str, Any], repeats: int | None) -> dict[str, Any]:
    return {
        "kind": "fit",
        "repeats": repeats,
        "slow": workers.SLOW,
        "repeats_fast": workers.REPEATS_FAST,
        "repeats_slow": workers.REPEATS_SLOW,
        **{key: model[key] for key in ("formula", "data", "factors", "reml")},
    }


def for_statsmodels(formula: str) -> dict[str, str] | None:
    """The model in MixedLM's terms, or None where that has more than one bar or ``||``."""
    bars = re.findall(r"\(([^()|]*)\|(\|?)([^()|]*)\)", formula)
    if len(bars) != 1 or bars[0][1]:
        return None
    columns, _, group = bars[0]
    fixed = re.sub(r"\s*\+\s*\([^()|]*\|[^()|]*\)", "", formula)
    fixed = re.sub(r"sqrt\((\w+)\)", r"I(\1 ** 0.5)", fixed)  # it would look for sqrt among the caller's names
    return {"fixed": fixed, "random": f"~ {columns.strip()}", "group": group.strip()}


# ---- measuring -------------------------------------------------------------------------------------------


def open_worker(stack: ExitStack, name: str, argv: Sequence[str], notes: list[str]) -> Worker | None:
    try:
        return stack.enter_context(Worker(argv))
    except Unavailable as reason:
        notes.append(f"{name} was not measured: {reason}.")
        print(notes[-1])
        return None


def ask(worker: Worker | None, who: str, name: str, task: Mapping[str, Any], notes: list[str]) -> Answer | None:
    if worker is None:
        return None
    answer = worker.ask(task)
    if "error" in answer:
        notes.append(f"{who} could not fit {name}: {answer['error']}")
        return None
    return answer


def measure(options: argparse.Namespace, folder: Path, notes: list[str]) -> tuple[list[Case], dict[str, Answer]]:
    """Every model by every program in turn, so that all see the machine in the same state."""
    models, cases = chosen_models(options.models), []
    with ExitStack() as stack:
        ours = stack.enter_context(Worker([*WORKERS, "ours"]))
        lme4 = None if options.no_r else open_worker(stack, "lme4", r_command(), notes)
        rival = None
        if not options.no_statsmodels:
            rival = open_worker(stack, "statsmodels", [*WORKERS, "statsmodels"], notes)
        for name, model in models.items():
            if (file := csv_of(model["data"], folder, notes)) is None:
                continue
            task = task_for(model, options.repeats)
            fit = ask(ours, "bayeslmm", name, task, notes)
            if fit is None:
                continue
            terms = for_statsmodels(model["formula"])
            cases.append(
                Case(
                    name=name,
                    formula=model["formula"],
                    ours=fit,
                    lme4=ask(lme4, "lme4", name, {**task, "file": str(file)}, notes),
                    statsmodels=ask(rival if terms else None, "statsmodels", name, {**task, **(terms or {})}, notes),
                )
            )
            print("  ".join(row_of(cases[-1]).values()), flush=True)
        named = {"bayeslmm": ours, "lme4": lme4, "statsmodels": rival}
        return cases, {name: worker.hello for name, worker in named.items() if worker}


def r_command() -> list[str]:
    return ["Rscript", "--vanilla", str(report.FOLDER / "reml.R")]


def csv_of(data: str, folder: Path, notes: list[str]) -> Path | None:
    """The data set as R shall read it, or None, with a note, where it cannot be had."""
    import bayeslmm

    file = folder / f"{data}.csv"
    if not file.exists():
        try:
            bayeslmm.load_dataset(data).to_csv(file, index=False, na_rep="NA")
        except bayeslmm.errors.DatasetUnavailableError:
            note = f"The models on {data} were left out: the data are not bundled, see BAYESLMM_DATA."
            if note not in notes:
                notes.append(note)
            return None
    return file


def cold_starts(folder: Path) -> list[tuple[str, Answer]]:
    environment = report.one_thread(NUMBA_CACHE_DIR=str(folder / "numba"))
    found = []
    for label in ("nothing compiled yet", "compiled before"):
        start = time.perf_counter()
        answer = run_once("cold", "", environment)
        found.append((label, {**answer, "process": time.perf_counter() - start}))
    return found


def bootstraps(options: argparse.Namespace, folder: Path, notes: list[str]) -> list[tuple[str, Answer]]:
    found = [('bayeslmm `confint(method="boot")`', run_once("bootstrap", json.dumps(BOOTSTRAP) + "\n"))]
    if options.boot and not options.no_r:
        with ExitStack() as stack:
            worker = open_worker(stack, "lme4's bootstrap", r_command(), notes)
            file = csv_of(BOOTSTRAP["data"], folder, notes)
            if answer := ask(worker, "lme4", "the bootstrap", {**BOOTSTRAP, "file": str(file)}, notes):
                found.append(("lme4 `bootMer()`", answer))
    notes.extend(f"Bootstrap: {answer['error']}." for _, answer in found if "error" in answer)
    return [(who, answer) for who, answer in found if "error" not in answer]


def run_once(worker: str, request: str, environment: Mapping[str, str] | None = None) -> Answer:
    run = subprocess.run(
        [*WORKERS, worker],
        input=request,
        env=environment or report.one_thread(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


# ---- reporting -------------------------------------------------------------------------------------------


def milliseconds(answer: Answer | None, key: str = "seconds") -> str:
    return report.number(1e3 * answer[key]) if answer else report.ABSENT


def ratio(case: Case) -> float | None:
    return case.lme4["alone"] / case.ours["seconds"] if case.lme4 else None


def row_of(case: Case) -> dict[str, str]:
    ours, lme4, rival = case.ours, case.lme4, case.statsmodels
    return {
        "model": case.name,
        "formula": f"`{case.formula}`",
        "rows": f"{ours['rows']:,}",
        "bayeslmm ms": milliseconds(ours),
        "lmer() ms": milliseconds(lme4, "alone"),
        "lmer() + vcov + ranef ms": milliseconds(lme4),
        "lmer() / bayeslmm": report.number(ratio(case)),
        "statsmodels ms": milliseconds(rival),
        "evaluations": str(ours["evaluations"]),
        "criterion − lme4's": report.difference(ours["criterion"] - lme4["criterion"] if lme4 else None),
        "statsmodels' − criterion": report.difference(rival["criterion"] - ours["criterion"] if rival else None),
    }


def summary(cases: Sequence[Case]) -> str:
    ratios = {case.name: ratio(case) for case in cases if case.lme4}
    if not ratios:
        return "lme4 was not measured in this run."
    least, most = min(ratios, key=ratios.get), max(ratios, key=ratios.get)
    slower = [name for name, value in ratios.items() if value < 1.0]
    return (
        f"lmer() takes {report.number(ratios[least])} ({least}) to {report.number(ratios[most])} ({most}) times as "
        f"long as bayeslmm; bayeslmm is slower in {len(slower)} of {len(ratios)} models"
        f"{': ' + ', '.join(slower) if slower else ''}."
    )


def doubts(cases: Sequence[Case]) -> list[str]:
    """Fits that fail, and criteria above those of another program: a fast wrong fit shows here."""
    found = [
        f"**{case.name}: bayeslmm says that its search failed.**" for case in cases if case.ours["status"] == "failed"
    ]
    for case in cases:
        for who, answer in (("lme4", case.lme4), ("statsmodels", case.statsmodels)):
            if answer and case.ours["criterion"] > answer["criterion"] + ALARM:
                found.append(f"**{case.name}: {who} found a lower criterion.**")
    return found or [f"No program found a criterion more than {ALARM} below bayeslmm's."]


def circumstances(hellos: Mapping[str, Answer], arguments: Sequence[str]) -> str:
    items = {
        "Machine": report.machine(),
        "Threads": "one for each process (the bootstrap: 2 processes)",
        "Versions": "; ".join(hello["versions"] for hello in hellos.values()),
        "BLAS of Python": hellos["bayeslmm"]["blas"],
    }
    if "lme4" in hellos:
        items["BLAS of R"] = hellos["lme4"]["blas"]
        if not FAST_BLAS.search(hellos["lme4"]["blas"]):
            items["BLAS of R"] += " — **the slow reference BLAS: the crossed models are unfair to lme4**"
    return report.facts({**items, "Command": f"`{report.command('reml.py', arguments)}`"})


def cold_table(found: Sequence[tuple[str, Answer]]) -> str:
    heads = {
        "import": "import s",
        "data": "load data s",
        "first": "first fit s",
        "second": "second fit s",
        "process": "whole process s",
    }
    rows = [
        {"new process": label, **{head: report.number(answer[key]) for key, head in heads.items()}}
        for label, answer in found
    ]
    return report.table(rows)


def bootstrap_table(found: Sequence[tuple[str, Answer]]) -> str:
    if not found:
        return "Not measured."
    rows = [
        {
            "program": who,
            "s": report.number(answer["seconds"]),
            "refits a second": report.number(BOOTSTRAP["draws"] / answer["seconds"]),
            "95% interval of the sd of slopes": f"{answer['low']:.3f} to {answer['high']:.3f}",
        }
        for who, answer in found
    ]
    return report.table(rows)


def compose(
    cases: Sequence[Case], hellos: Mapping[str, Answer], folder: Path, notes: list[str], options: argparse.Namespace
) -> str:
    boot, cold = bootstraps(options, folder, notes), cold_starts(folder)
    title = f"### {BOOTSTRAP['draws']:,} bootstrap refits of `{BOOTSTRAP['formula']}` on {BOOTSTRAP['cores']} cores"
    sections = [
        circumstances(hellos, sys.argv[1:]),
        report.table([row_of(case) for case in cases], left=2),
        " ".join([summary(cases), *doubts(cases)]),
        "\n".join(f"- {note}" for note in notes),
        f"{title}\n\n{bootstrap_table(boot)}",
        f"### The first fit of a new process (sleepstudy)\n\n{cold_table(cold)}",
    ]
    return "\n\n".join(section for section in sections if section)


def main() -> None:
    options, notes = parse_arguments(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases, hellos = measure(options, folder, notes)
        if not cases:
            raise SystemExit("Nothing was measured. " + " ".join(notes))
        text = compose(cases, hellos, folder, notes, options)
    print(f"\n{text}")
    if not options.no_write:
        report.write_between("reml", text)


if __name__ == "__main__":
    main()
