"""Point fits beside those of other Python packages for mixed models: python benchmarks/peers.py --help."""

from __future__ import annotations

import argparse
import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import growth
import reml
import report
import workers

Answer = dict[str, Any]

PACKAGES = ("mixedlm", "lme-python", "mixedlm-rs", "interlace-lme", "statsmodels")
WRONG = 1e-3  # a criterion so much above the lowest is no optimum
LARGE = {"name": "rows_1000000", "formula": growth.FORMULA, "factors": ["g"], "reml": True, "rows": 10**6}


class Peer:
    """A process of one package, started anew after it took too long or broke down."""

    def __init__(self, python: str, package: str, patience: float) -> None:
        self.argv = [python, str(report.FOLDER / "peer_worker.py"), package]
        self.package, self.patience = package, patience
        self.process: subprocess.Popen[str] | None = None
        self.hello = self._started()

    def ask(self, task: Mapping[str, Any]) -> Answer:
        if self.process is None:
            self._started()
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return self._answer(self.patience)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _started(self) -> Answer:
        self.process = subprocess.Popen(
            self.argv,
            env=report.one_thread(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self._answer(60.0)

    def _answer(self, patience: float) -> Answer:
        assert self.process is not None and self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], patience)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        self.close()
        return {"error": "it ended without an answer" if ready else f"no answer within {patience:g} s"}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=".venv/peers/bin/python", help="of the environment with the packages")
    parser.add_argument("--models", default="", help="names or beginnings of names, separated by commas")
    parser.add_argument("--repeats", type=int, help="runs a model (default: 21, or 5 from half a second on)")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds a package may take for all its runs")
    parser.add_argument("--no-large", action="store_true", help="leave the model with a million rows out")
    parser.add_argument("--no-write", action="store_true", help="print only, leave README.md alone")
    return parser.parse_args()


def fit_ours(task: Mapping[str, Any], data: Any) -> Answer:
    import bayeslmm

    def run() -> Any:
        model = bayeslmm.Model(task["formula"], data)
        fit = model.fit_reml() if task["reml"] else model.fit_ml()
        fit.vcov(), fit.ranef()
        return fit

    seconds, runs, fit = workers.timed(run, task["repeats"], time.process_time)
    return {"seconds": seconds, "runs": runs, "criterion": fit.criterion, "rows": fit.nobs}


def ours() -> None:
    """The process of bayeslmm: tasks in, answers out."""
    import warnings

    import pandas as pd

    import bayeslmm

    warnings.simplefilter("ignore", bayeslmm.errors.BayesLMMWarning)
    print(json.dumps({"versions": report.versions("numpy", "scipy", "numba", "pandas", "bayeslmm")}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        data = pd.read_csv(task["file"])
        for column in task["factors"]:
            data[column] = data[column].astype("str")
        print(json.dumps(fit_ours(task, data)), flush=True)


def tasks(options: argparse.Namespace, folder: Path, notes: list[str]) -> dict[str, dict[str, Any]]:
    """Every model by its name, with its data in a file."""
    found = {}
    for name, model in reml.chosen_models(options.models or "").items() if options.models != LARGE["name"] else ():
        file = reml.csv_of(model["data"], folder, notes)
        if file is not None:
            found[name] = {**{k: model[k] for k in ("formula", "factors", "reml")}, "file": str(file)}
    if not options.no_large:
        file = folder / "large.csv"
        growth.simulate(LARGE["rows"]).to_csv(file, index=False)
        found[LARGE["name"]] = {**{k: LARGE[k] for k in ("formula", "factors", "reml")}, "file": str(file)}
    return {name: {**task, "repeats": options.repeats} for name, task in found.items()}


def row_of(name: str, task: Mapping[str, Any], mine: Answer, others: Mapping[str, Answer]) -> dict[str, str]:
    row = {
        "model": name,
        "formula": f"`{task['formula']}`",
        "rows": f"{mine['rows']:,}",
        "bayeslmm ms": report.number(1e3 * mine["seconds"]),
    }
    for package, answer in others.items():
        shown = report.ABSENT
        if "error" not in answer:
            above = answer["criterion"] - mine["criterion"]
            shown = report.number(1e3 * answer["seconds"])
            shown += f" ({above:+.2g})" if abs(above) > WRONG else ""
        row[package] = shown
    return row


def summary(cases: Sequence[tuple[str, Answer, Mapping[str, Answer]]]) -> str:
    """In how many rows who is fastest, of the fits that are right."""
    slower, wrong = [], []
    for name, mine, others in cases:
        right = {p: a for p, a in others.items() if "error" not in a and a["criterion"] < mine["criterion"] + WRONG}
        slower += [
            f"{name} ({package} {report.number(mine['seconds'] / answer['seconds'])} times as fast)"
            for package, answer in right.items()
            if answer["seconds"] < mine["seconds"]
        ]
        wrong += [name for answer in right.values() if answer["criterion"] < mine["criterion"] - WRONG]
    text = f"bayeslmm is the fastest of the right fits in {len(cases) - len({s.split()[0] for s in slower})} of "
    text += f"{len(cases)} rows."
    if slower:
        text += f" Slower: {', '.join(slower)}."
    return text + (f" **A lower criterion was found in {', '.join(wrong)}.**" if wrong else "")


def main() -> None:
    options, notes = parse_arguments(), []
    if options.python == "ours":
        ours()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mine = reml.Worker([sys.executable, __file__, "--python", "ours"])
        peers = {package: Peer(options.python, package, options.patience) for package in PACKAGES}
        cases, rows = [], []
        for model, task in tasks(options, folder, notes).items():
            fit = mine.ask(task)
            others = {package: peer.ask(task) for package, peer in peers.items()}
            notes += [f"{p}, {model}: {a['error']}" for p, a in others.items() if "error" in a]
            cases.append((model, fit, others))
            rows.append(row_of(model, task, fit, others))
            print("  ".join(rows[-1].values()), flush=True)
        versions = "; ".join(h["versions"] for h in (mine.hello, *(peer.hello for peer in peers.values())))
        for peer in peers.values():
            peer.close()
        mine.process.communicate()
    facts = {
        "Machine": report.machine(),
        "Threads": "one for each process",
        "Versions": versions,
        "Command": f"`{report.command('peers.py', sys.argv[1:])}`",
    }
    text = "\n\n".join([report.facts(facts), report.table(rows, left=2), summary(cases)])
    print(f"\n{text}\n\n" + "\n".join(f"- {note}" for note in notes))
    if not options.no_write:
        report.write_between("peers", text)


if __name__ == "__main__":
    main()
