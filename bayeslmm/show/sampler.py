"""ArviZ's pictures of the draws, of the parameters that one looks at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import RefusedVerbError
from ..results.fit import Fit
from ..results.parameter_draws import parameter_draws
from ..results.posterior import PosteriorFit
from . import style

WIDEST = 10.5  # inches, for text of a size that can be read


def plot_trace(fit: Fit, *, var_names: str | Sequence[str] | None = None, **options: Any) -> Any:
    """Draws of every chain in the order they were drawn, by ``arviz_plots.plot_trace``.

    Parameters
    ----------
    fit : PosteriorFit
    var_names : str or sequence of str, optional
        Variables of ``fit.idata.posterior``; by default all parameters but the random effects.
    **options
        For ArviZ: ``coords``, ``visuals``, ``figure_kwargs``, ...

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    RefusedVerbError
        Of a point fit.
    InputError
        No such variable.

    Examples
    --------
    >>> import bayeslmm as blm
    >>> post = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit(random_seed=1)
    >>> len(blm.plot_trace(post).axes)
    3
    """
    return _by_arviz("plot_trace", fit, var_names, options)


def plot_rank(fit: Fit, *, var_names: str | Sequence[str] | None = None, **options: Any) -> Any:
    """Whether the chains drew from one distribution: ECDF of the ranks of each, by ``arviz_plots.plot_rank``.

    Chains that agree stay within the grey envelope (Säilynoja, Bürkner & Vehtari 2022); draws are thinned
    before, since the envelope is that of independent ones. ``method="mtc_c"`` is ArviZ's test of all draws.

    Parameters
    ----------
    fit, var_names, **options
        As in :func:`plot_trace`.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import bayeslmm as blm
    >>> post = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit(random_seed=1)
    >>> len(blm.plot_rank(post, var_names="sigma").axes)
    1
    """
    return _by_arviz("plot_rank", fit, var_names, {"method": "envelope", **options})


def plot_energy(fit: Fit, **options: Any) -> Any:
    """Marginal energy beside its changes between draws, by ``arviz_plots.plot_energy``: of NUTS only.

    Parameters
    ----------
    fit : PosteriorFit
        From ``fit(method="nuts")``; the exact sampler has no energy.
    **options
        For ArviZ.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    RefusedVerbError
        Of a point fit, or of draws without energy.
    """
    fit = _posterior(fit, "plot_energy")
    groups = fit.idata.children
    if "sample_stats" not in groups or "energy" not in fit.idata["sample_stats"].data_vars:
        raise RefusedVerbError(
            "plot_energy: these draws have no energy, which is a matter of NUTS; fit(method='nuts') has"
        )
    import arviz_plots

    return _figure(arviz_plots.plot_energy(fit.idata, backend="matplotlib", **options))


def _posterior(fit: Any, verb: str) -> PosteriorFit:
    style.check_fit(fit, verb)
    if not isinstance(fit, PosteriorFit):
        raise RefusedVerbError(f"{verb}: a point fit has no draws; model.fit() gives a posterior")
    return fit


def _by_arviz(verb: str, fit: Fit, var_names: str | Sequence[str] | None, options: dict[str, Any]) -> Any:
    fit = _posterior(fit, verb)
    import arviz_plots

    draw = getattr(arviz_plots, verb)
    options = {"color": list(style.CYCLE), **options}  # of the chains
    if var_names is None:
        return _figure(draw(_looked_at(fit), backend="matplotlib", **options))
    variables = style.chosen("variable", var_names, list(fit.idata.posterior.data_vars))
    return _figure(draw(fit.idata, var_names=variables, backend="matplotlib", **options))


def _looked_at(fit: PosteriorFit) -> Any:
    """The draws with a variable for each parameter, named as in all pictures: no random effects, no constants."""
    import xarray as xr

    labels, draws = parameter_draws(fit)
    # xarray reads a slash as a path, and I(x / 2) is a name like others
    names = [name.replace("/", "∕") for name in style.parameter_names(fit.design, labels)]
    parameters = {name: (("chain", "draw"), draws[..., k]) for k, name in enumerate(names)}
    steps = {dim: fit.idata.posterior[dim].to_numpy() for dim in ("chain", "draw")}
    kept = {"posterior": xr.Dataset(parameters, coords=steps)}
    if "sample_stats" in fit.idata.children:  # where divergences are
        kept["sample_stats"] = fit.idata["sample_stats"].to_dataset()
    return xr.DataTree.from_dict(kept)


def _figure(collection: Any) -> Any:
    figure = style.as_picture(collection.viz["figure"].item())
    figure.set_figwidth(min(figure.get_figwidth(), WIDEST))
    for unused in [axis for axis in figure.axes if not axis.has_data()]:
        unused.remove()
    figure.set_layout_engine("constrained")
    return figure
