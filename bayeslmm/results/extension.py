"""Draws whose verdict hangs on chance are drawn longer and thinned, not warned about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..design.design import Design
from .diagnosis import Diagnosis, judge, narrowly_missed
from .settings import Settings

LONGER = 4  # times as many draws halve the Monte Carlo error, and quarter that of R-hat
MOST_NUMBERS = 250_000_000  # of random effects, held at a time: 2 GB
EVER = ("diverging", "maxdepth_reached")  # of a draw that is kept and those between it and the last one


def settled(sample: Callable[[Settings], Any], design: Design, settings: Settings) -> tuple[Any, Diagnosis]:
    """The draws of a sampler with their verdict; longer ones, thinned, where a limit is missed within its error.

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
    effects = sum(group.n_levels * group.q for group in design.groups)
    if not doubt or LONGER * settings.draws * settings.chains * effects > MOST_NUMBERS:
        return tree, diagnosis
    longer = sample(settings.changed({"draws": LONGER * settings.draws}))
    of_longer, thin = judge(longer, names), thinned(longer, LONGER)
    if of_longer.min_ebfmi is not None:  # the energies of thinned draws are less alike
        thin.sample_stats.attrs["ebfmi"] = of_longer.min_ebfmi
    seconds = [t.posterior.attrs.get("seconds", 0.0) for t in (tree, longer)]
    thin.posterior.attrs |= {
        "rhat": of_longer.max_rhat,  # few draws that are kept tell less of how chains agree
        "seconds": round(sum(seconds), 3),
        "extended": f"{LONGER} times as many draws, thinned, since {doubt} at first",
    }
    return thin, judge(thin, names)


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
