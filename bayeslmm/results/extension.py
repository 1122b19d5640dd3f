"""Draws whose verdict hangs on chance are drawn longer and thinned, not warned about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..design.design import Design
from .diagnosis import MOST_LONGER, Diagnosis, covers, hardly_moves, judge, narrowly_missed, too_slow, too_sticky
from .progress import note
from .settings import Settings

LONGER = 4  # times as many draws halve the Monte Carlo error, and quarter that of R-hat
FEWEST = 500  # draws a chain: those who ask for fewer want to see something soon
MOST_SECONDS = 60.0  # that a longer run of an exact sampler may take
MOST_WORK = 4e9  # of a longer run of NUTS, in rows and effects met by gradients: some minutes, and the same everywhere
MOST_NUMBERS = 250_000_000  # of random effects, held at a time: 2 GB
ELSEWHERE = "chains in other coordinates do not reach where those before were: there may be two modes"
EVER = ("diverging", "maxdepth_reached")  # of a draw that is kept and those between it and the last one


def settled(
    sample: Callable[[Settings], Any],
    design: Design,
    settings: Settings,
    better: Callable[[Any, Settings], tuple[Settings, str]] | None = None,
) -> tuple[Any, Diagnosis]:
    """The draws of a sampler with their verdict; longer ones, thinned, where that helps.

    It does where a limit is missed within its error. Draws of an exact sampler go on as well where they are few for how
    seldom proposals are taken, and those of NUTS where chains agree but are slow: up to sixteen times as many, and some
    minutes. Chains of NUTS that hardly move have another try, in better coordinates.

    Parameters
    ----------
    sample : callable
        Settings → an ``xarray.DataTree``.
    better : callable, optional
        Draws of slow chains and their settings → settings under which they may be faster, and these in words.

    Returns
    -------
    DataTree
        As many draws as ``settings`` say. If they are thinned, ``posterior.attrs["extended"]`` says why.
    Diagnosis
    """
    names, tree = design.names, sample(settings)
    diagnosis = judge(tree, names)
    doubt = narrowly_missed(tree, diagnosis, names)
    has_enough = settings.draws >= FEWEST and not doubt
    sticky = too_sticky(tree, diagnosis) if has_enough else ""
    slow = too_slow(tree, diagnosis, names) if has_enough else ""
    hardly = hardly_moves(tree, diagnosis) if has_enough and better and not slow else ""
    changed, words = better(tree, settings) if better and (slow or hardly) else (settings, "")
    doubt = doubt or sticky or slow or (hardly if words else "")
    effects = sum(group.n_levels * group.q for group in design.every_group)
    seconds = spent = float(tree.posterior.attrs.get("seconds", 0.0))
    work = _gradients(tree) * (design.n + effects)
    first, first_ess = tree, min(diagnosis.min_ess_bulk, diagnosis.min_ess_tail)
    for times in (LONGER, MOST_LONGER) if sticky or slow else (LONGER,):
        too_many = times * settings.draws * settings.chains * effects > MOST_NUMBERS
        too_long = (sticky and LONGER * seconds > MOST_SECONDS) or ((slow or hardly) and LONGER * work > MOST_WORK)
        if not doubt or diagnosis.converged or diagnosis.divergences or too_many or too_long:
            break
        note(f"{doubt}: {times} times as many draws{words}", show=settings.progressbar and seconds > 1.0)
        longer = sample(changed.changed({"draws": times * settings.draws}))
        of_longer, tree = judge(longer, names), thinned(longer, times)
        if of_longer.min_ebfmi is not None:  # the energies of thinned draws are less alike
            tree.sample_stats.attrs["ebfmi"] = of_longer.min_ebfmi
        seconds, work = float(longer.posterior.attrs.get("seconds", 0.0)), LONGER * work
        spent += seconds
        tree.posterior.attrs |= {
            "rhat": of_longer.max_rhat,  # few draws that are kept tell less of how chains agree
            "seconds": round(spent, 3),
            "extended": f"{times} times as many draws{words}, thinned, since {doubt} at first",
        }
        if hardly and not covers(longer, first, names):
            tree.posterior.attrs["doubt"] = ELSEWHERE
        diagnosis = judge(tree, names)
        if words and min(of_longer.min_ess_bulk, of_longer.min_ess_tail) < times * first_ess:
            changed, words = settings, ""  # it was no better
    return tree, diagnosis


def _gradients(tree: Any) -> float:
    """How many gradients NUTS took for its draws; 0 where nothing says so."""
    stats = tree.sample_stats if "sample_stats" in tree.children else {}
    return float(stats["n_steps"].sum()) if "n_steps" in stats else 0.0


def thinned(tree: Any, by: int) -> Any:
    """Every so-manieth draw of all groups that hold draws."""
    import xarray as xr

    def cut(dataset: Any) -> Any:
        if "draw" not in dataset.dims:
            return dataset
        kept = dataset.isel(draw=slice(by - 1, None, by))
        n = kept.sizes["draw"]
        for name in EVER:
            if name in dataset:
                ever = dataset[name].to_numpy().reshape(dataset.sizes["chain"], n, by).any(axis=-1)
                kept[name] = (("chain", "draw"), ever)
        return kept.assign_coords(draw=range(n))

    groups = {
        name: child.to_dataset() if name.startswith("warmup_") else cut(child.to_dataset())
        for name, child in tree.children.items()
    }
    return xr.DataTree.from_dict(groups)
