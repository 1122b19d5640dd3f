"""NUTS on a PyMC model; a door to PyMC."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..design.names import Names
from ..errors import FitError, InputError, NotAvailableError
from ..tools.words import is_one_of
from .interrupts import interruptible

SAMPLERS = ("nutpie", "pymc", "numpyro")


def check_sampler(name: str) -> None:
    """Refuse a sampler that is not offered, or not installed."""
    if not is_one_of(name, (*SAMPLERS, "blackjax")):
        raise InputError(f"nuts_sampler={name!r}: samplers are {', '.join(map(repr, SAMPLERS))}")
    if name == "blackjax":
        raise NotAvailableError(
            "nuts_sampler='blackjax': blackjax 1.7 fails with PyMC 6.4, which passes it an argument that it does not "
            "know; use 'nutpie', 'pymc' or 'numpyro'"
        )
    if importlib.util.find_spec(name) is None:
        raise NotAvailableError(f"nuts_sampler={name!r}: {name} is not installed; pip install {name}")


def sample_nuts(
    model: Any,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int,
    random_seed: int | None,
    nuts_sampler: str,
    progressbar: bool,
    options: Mapping[str, Any],
) -> Any:
    """Sample a model by ``pymc.sample``, which takes the ``options``.

    Floating-point reassociation is switched off while compiling: with it the same seed gives other draws when the
    compiled code comes from the cache.

    Returns
    -------
    xarray.DataTree
        With ``compile_seconds``, ``tune_seconds`` and ``draw_seconds`` in ``posterior.attrs``; sampling is shared out
        between the last two by evaluations of the gradient.

    Raises
    ------
    InputError
        An option that ``pymc.sample`` does not take.
    FitError
        The sampler gave up; the message has its reason.
    """
    import pymc as pm
    import pytensor

    check_sampler(nuts_sampler)
    begin = time.perf_counter()
    with model, pytensor.config.change_flags(numba__fastmath=False):
        try:
            with interruptible():  # they answer Ctrl-C with the draws they have, of which there may be none
                tree = pm.sample(
                    draws=draws,
                    tune=tune,
                    chains=chains,
                    cores=cores,
                    random_seed=random_seed,
                    nuts_sampler=nuts_sampler,
                    progressbar=progressbar,
                    quiet=not progressbar,
                    compute_convergence_checks=False,
                    **{"discard_tuned_samples": False, **options},
                )
        except TypeError as error:
            raise InputError(f"pymc.sample refuses the options {sorted(options)}: {error}") from None
        except (EOFError, ConnectionError) as error:
            raise FitError(
                f"sampling: one of {cores} worker processes was killed, as the system does when memory runs out. With "
                "cores=1 this process does the work alone."
            ) from error
        except (pm.exceptions.SamplingError, RuntimeError) as error:
            raise FitError(
                f"sampling failed: {_first_line(error)}.{_impossible(model)} model.pymc.debug() looks closer."
            ) from error
    seconds = time.perf_counter() - begin
    sampling = float(tree.posterior.attrs.get("sampling_time", seconds))
    share = _share_of_tuning(tree)
    for group in [g for g in tree.children if g.startswith("warmup_")]:
        if not options.get("discard_tuned_samples", True):
            break
        del tree[group]
    tree.posterior.attrs |= {
        "sampler": f"NUTS ({nuts_sampler})",
        "tuning_steps": tune,
        "seconds": round(seconds, 3),
        "compile_seconds": round(max(seconds - sampling, 0.0), 3),
        "tune_seconds": round(share * sampling, 3),
        "draw_seconds": round((1.0 - share) * sampling, 3),
    }
    return tree


def keep_contract(tree: Any, names: Names) -> None:
    """Leave only the variables of the naming contract in the posterior: no coordinates of the sampler."""
    kept_names = [name for name in tree.posterior.data_vars if name in names.dims]
    tree["posterior"] = tree.posterior.to_dataset()[kept_names]


def _share_of_tuning(tree: Any) -> float:
    if "warmup_sample_stats" not in tree.children or "n_steps" not in tree.sample_stats.data_vars:
        return 0.5
    tuning = float(tree.warmup_sample_stats["n_steps"].sum())
    return tuning / max(tuning + float(tree.sample_stats["n_steps"].sum()), 1.0)


def _impossible(model: Any) -> str:
    """Which variables have no density at the model's start."""
    without_density = [name for name, value in model.point_logps().items() if not np.isfinite(value)]
    return f" At the start the log density of {', '.join(without_density)} is not finite." if without_density else ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
