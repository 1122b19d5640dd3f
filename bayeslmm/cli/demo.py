"""``bayeslmm demo``."""

from __future__ import annotations

import argparse
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import StorageError
from .console import heading, shows_progress

DEMOS = (("hsb", "mathach ~ ses + (ses | school)"), ("sleepstudy", "Reaction ~ Days + (Days | Subject)"))


def run_demo(options: argparse.Namespace) -> int:
    """Fit High School & Beyond and sleepstudy by REML and with a full posterior; print, and save a picture of each."""
    import bayeslmm as blm

    try:
        options.build.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise StorageError(f"--build: {options.build} cannot be made: {problem.strerror}") from None
    saved = []
    for name, formula in DEMOS:
        heading(f"{name}: {formula}")
        model = blm.Model(formula, blm.load_dataset(name))
        print(model)
        with _timed("REML fit"):
            reml = model.fit_reml()
        print(f"\n{reml.summary()}\n")
        with _timed("posterior"):
            post = model.fit(random_seed=options.seed, progressbar=shows_progress())
        print(f"\n{post.summary()}")
        heading("random effects (posterior mean of the first five groups)", "-")
        print(post.ranef(wide=True).head(5).round(3).to_string())
        heading("variance components", "-")
        print(post.variance_components().round(3).to_string(index=False))
        heading("intraclass correlation", "-")
        print(post.icc().round(3).to_string())
        heading("REML beside the posterior", "-")
        print(blm.compare_estimates(reml, post))
        picture = options.build / f"{name}_pooling.png"
        _save(blm.plot_pooling(post), picture)
        saved.append(picture)
    heading("pictures")
    for picture in saved:
        print(f"shrinkage: {picture.resolve()}")
    return 0


def _save(figure: Any, path: Path) -> None:
    from ..results.files import write_whole

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    try:
        write_whole(path, buffer.getbuffer())
    except OSError as problem:
        raise StorageError(f"--build: {path} cannot be written: {problem.strerror}") from None


class _timed:
    """Say what starts, and how long it took."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        print(f"\n... {self.what}", flush=True)
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        print(f"    {self.what}: {time.perf_counter() - self.start:.2f} s", flush=True)
