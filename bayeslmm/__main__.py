"""Command line: ``python -m bayeslmm demo`` and ``python -m bayeslmm compile``."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

DEMOS = (
    ("hsb", "mathach ~ ses + (ses | school)"),
    ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bayeslmm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="fit two data sets both ways, print tables, save pictures")
    demo.add_argument("--build", type=Path, default=Path("build"), help="folder for pictures (build)")
    demo.add_argument("--seed", type=int, default=1, help="random seed (1)")
    for name in ("compile", "warmup"):
        commands.add_parser(name, help="compile the loops now, so that the first fit does not have to")
    options = parser.parse_args(arguments)
    return run_demo(options.build, options.seed) if options.command == "demo" else compile_loops()


def run_demo(build: Path, seed: int) -> int:
    """Fit High School & Beyond and sleepstudy by REML and with a full posterior; print, and save a picture of each."""
    import bayeslmm as blm

    build.mkdir(parents=True, exist_ok=True)
    saved = []
    for name, formula in DEMOS:
        _heading(f"{name}: {formula}")
        model = blm.Model(formula, blm.load_dataset(name))
        print(model)
        with _timed("REML fit"):
            reml = model.fit_reml()
        print(f"\n{reml.summary()}\n")
        with _timed("posterior"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytensor|nutpie|arviz")
            post = model.fit(random_seed=seed, progressbar=sys.stderr.isatty())
        print(f"\n{post.summary()}")
        _heading("random effects (posterior mean of the first five groups)", "-")
        print(post.ranef(wide=True).head(5).round(3).to_string())
        _heading("variance components", "-")
        print(post.variance_components().round(3).to_string(index=False))
        _heading("intraclass correlation", "-")
        print(post.icc().round(3).to_string())
        _heading("REML beside the posterior", "-")
        print(blm.compare_estimates(reml, post))
        picture = build / f"{name}_pooling.png"
        blm.plot_pooling(post).savefig(picture, dpi=130)
        saved.append(picture)
    _heading("pictures")
    for picture in saved:
        print(f"shrinkage: {picture.resolve()}")
    return 0


def compile_loops() -> int:
    """Fit a small model both ways; what gets compiled is kept beside the modules, or in NUMBA_CACHE_DIR."""
    import bayeslmm as blm

    with _timed("compiling"), warnings.catch_warnings():
        warnings.simplefilter("ignore", blm.errors.SamplingWarning)  # ten draws are in doubt
        model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
        model.fit_reml().summary()
        model.fit(random_seed=1, progressbar=False).loo()
        model.fit(method="nuts", draws=10, tune=10, chains=1, random_seed=1, progressbar=False)
    return 0


def _heading(text: str, line: str = "=") -> None:
    print(f"\n{text}\n{line * len(text)}")


class _timed:
    """Say what starts, and how long it took."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        print(f"\n... {self.what}", flush=True)
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        print(f"    {self.what}: {time.perf_counter() - self.start:.2f} s", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
