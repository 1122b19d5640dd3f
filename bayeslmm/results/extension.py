"""Draws whose verdict hangs on chance are drawn longer and thinned, not warned about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..design.design import Design
from .diagnosis import Diagnosis, judge, narrowly_missed, too_sticky
from .settings import Settings

LONGER = 4  # times as many draws halve the Monte Carlo error, and quarter that of R-hat
FEWEST = 500  # draws a chain: those who ask for fewer want to see something soon
MOST_SECONDS = 60.0  # that a longer run of an exact sampler may take
MOST_NUMBERS = 250_000_000  # of random effects, held at a time: 2 GB
EVER = ("diverging", "maxdepth_reached")  # of a draw that is kept and those between it and the last one


def settled(sample: Callable[[Settings], Any], design: Design, settings: Settings) -> tuple[Any, Diagnosis]:
    """The draws of a sampler with their verdict; longer ones, thinned, where that helps.

    It does where a limit is missed within its error. Draws of an exact sampler go on as well where they are few for how
    seldom proposals are taken, up to sixteen times as many and about a minute.

    Parameters
    ----------
    sample : callable
        Settings → an ``xarray.DataTree``.

    Returns
    -------
    DataTree
        As many draws as ``settings`` say. If they are thinned, ``posterior.attrs["extended"]`` says why.
    Diagnosis
    """
    names, tree = design.names, sample(settings)
    diagnosis = judge(tree, names)
    doubt = narrowly_missed(tree, diagnosis, names)
    is_sticky = settings.draws >= FEWEST and not doubt
    doubt = doubt or (too_sticky(tree, diagnosis) if is_sticky else "")
    effects = sum(group.n_levels * group.q for group in design.groups)
    seconds = spent = float(tree.posterior.attrs.get("seconds", 0.0))
    for times in (LONGER, LONGER**2) if is_sticky else (LONGER,):
        too_many = times * settings.draws * settings.chains * effects > MOST_NUMBERS
        if not doubt or diagnosis.converged or too_many or (is_sticky and LONGER * seconds > MOST_SECONDS):
            break
        longer = sample(settings.changed({"draws": times * settings.draws}))
        of_longer, tree = judge(longer, names), thinned(longer, times)
        if of_longer.min_ebfmi is not None:  # the energies of thinned draws are less alike
            tree.sample_stats.attrs["ebfmi"] = of_longer.min_ebfmi
        seconds = float(longer.posterior.attrs.get("seconds", 0.0))
        spent += seconds
        tree.posterior.attrs |= {
            "rhat": of_longer.max_rhat,  # few draws that are kept tell less of how chains agree
            "seconds": round(spent, 3),
            "extended": f"{times} times as many draws, thinned, since {doubt} at first",
        }
        diagnosis = judge(tree, names)
    return tree, diagnosis


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
