"""Random mixed-model designs for hypothesis, as arrays (`problems`) and as formulas with tables (`tables`).

One to three factors, nested, crossed or partially crossed, unbalanced and with singletons, one to four random columns.

`examples` says how many a law is tried on. An ordinary run tries the same few every time; ``make laws`` tries ``LAWS``
times as many, from a seed that it prints (the profile is in conftest.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st

import bayeslmm as blm
from bayeslmm.covariances.template import Template
from bayeslmm.engine.scaling import Problem

TIMES = int(os.environ.get("LAWS", "1"))


def examples(count):
    """Settings of a law that is tried on this many examples, under ``make laws`` on ``LAWS`` times as many."""
    return settings(max_examples=count * TIMES)


@st.composite
def problems(draw, *, max_factors=3, max_columns=3):
    """A Problem with matching templates drawn at random; every level occurs at least once."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    K = draw(st.integers(1, max_factors))
    n = draw(st.integers(20, 45))
    codes = [_every_level(rng, n, draw(st.integers(2, 6)), uneven=draw(st.booleans()))]
    for _ in range(K - 1):
        codes.append(_beside(rng, codes[-1], draw(st.integers(2, 4)), draw(st.sampled_from(RELATIONS))))
    shuffled = rng.permutation(K)
    codes = [codes[k].astype(np.int64) for k in shuffled]
    widths = [draw(st.integers(1, max_columns)) for _ in range(K)]
    blocks = tuple(draw(st.sampled_from(_partitions(q))) for q in widths)
    p = draw(st.integers(0, 3))
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 3))])[:, :p]
    Z = [np.column_stack([np.ones(n), rng.normal(size=(n, 3))])[:, :q] for q in widths]
    intercept = 0 if p and draw(st.booleans()) else None
    if p and intercept is None:  # a constant column that is no intercept
        X[:, 0] = draw(st.sampled_from([1.0, 0.5, -3.0]))
    if draw(st.booleans()) and widths[0] > 1:
        Z[0] = Z[0][:, ::-1]
    y = rng.normal(size=n) + sum(rng.normal(size=c.max() + 1)[c] for c in codes)
    weights = rng.uniform(0.5, 2.0, n) if draw(st.booleans()) else None
    return Problem(
        y=y,
        X=np.ascontiguousarray(X),
        codes=tuple(codes),
        Z=tuple(np.ascontiguousarray(z) for z in Z),
        levels=tuple(int(c.max()) + 1 for c in codes),
        blocks=blocks,
        weights=weights,
        intercept=intercept,
    )


@st.composite
def problems_with_theta(draw, **options):
    """A problem and a θ, with zeros on the diagonal now and then."""
    problem = draw(problems(**options))
    templates = [Template.from_blocks(b) for b in problem.blocks]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    theta = []
    for t in templates:
        part = rng.normal(0.5, 0.7, t.n_theta)
        part[t.is_diagonal] = np.abs(part[t.is_diagonal])
        if draw(st.integers(0, 4)) == 0:
            part[np.flatnonzero(t.is_diagonal)[-1]] = 0.0
        theta.append(part)
    return problem, templates, np.concatenate(theta)


RELATIONS = ("crossed", "nested", "partial")


def _every_level(rng, n, J, *, uneven=False):
    """Codes of n rows; uneven ones are mostly of the first levels, and the last ones are singletons."""
    share = 0.3 ** np.arange(J) if uneven else np.ones(J)
    return rng.permutation(np.concatenate([np.arange(J), rng.choice(J, n - J, p=share / share.sum())]))


def _beside(rng, codes, J, relation):
    """Codes of another factor: crossing this one, nested in it, or partially crossed (each level meets two)."""
    n = len(codes)
    if relation == "crossed":
        return _every_level(rng, n, J)
    if relation == "nested":
        finer = codes * J + rng.integers(0, J, n)
    else:
        finer = (codes + rng.integers(0, 2, n)) % J
    return np.unique(finer, return_inverse=True)[1].reshape(-1)


def _partitions(q):
    return {
        1: [((0,),)],
        2: [((0, 1),), ((0,), (1,))],
        3: [((0, 1, 2),), ((0,), (1,), (2,)), ((0, 2), (1,))],
        4: [((0, 1, 2, 3),), ((0,), (1,), (2,), (3,)), ((0, 3), (1, 2))],
    }[q]


# -- formulas and tables

FIXED = ("1", "x", "x + z", "x + f", "x * z", "x * f", "0 + x", "0 + f + x")
BARS = {
    1: ("(1 | {})", "(0 + x | {})"),
    2: ("(x | {})", "(x || {})", "(f | {})", "(0 + f | {})"),
    3: ("(x + z | {})", "(x + z || {})", "(1 | {0}) + (0 + x + z | {0})"),
    4: ("(x + z + t | {})", "(x + z + t || {})", "(x * z | {})"),
}
LOCATIONS = (0.0, 3.0, 200.0)  # in sds; the last is that of years of this century with an sd of ten
SCALES = (1e-6, 1e-3, 1.0, 1e3, 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A formula and the table it is about."""

    formula: str
    data: pd.DataFrame
    options: Mapping[str, Any] = field(default_factory=dict)  # weights, offset

    def __repr__(self):
        numbers = self.data.select_dtypes("number").agg(["mean", "std"])
        return f"{self.formula!r} {dict(self.options)} of {len(self.data)} rows\n{numbers}\n"

    def _repr_pretty_(self, printer, cycle):  # what hypothesis shows of a failing example
        printer.text(repr(self))

    def model(self):
        return blm.Model(self.formula, self.data, **self.options)

    def changed(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Table:
        """The same formula about a changed copy of the table."""
        return replace(self, data=change(self.data.copy()))


@st.composite
def tables(draw, *, fixed=FIXED, bars=BARS, max_factors=3, locations=LOCATIONS, scales=SCALES):
    """A Table with response y, predictors x, z, t, factors f and g, h, k to group by, weights w and an offset o."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(45, 90))
    groups = ["g", "h", "k"][: draw(st.integers(1, max_factors))]
    codes = {"g": _every_level(rng, n, draw(st.integers(3, 9)), uneven=draw(st.booleans()))}
    for before, name in zip(groups, groups[1:], strict=False):
        codes[name] = _beside(rng, codes[before], draw(st.integers(2, 4)), draw(st.sampled_from(RELATIONS)))
    data = pd.DataFrame({name: [f"{name}{code}" for code in column] for name, column in codes.items()})
    data["f"] = np.array(["a", "b"])[_every_level(rng, n, 2)]
    for name in ("x", "z", "t"):
        data[name] = draw(st.sampled_from(scales)) * (draw(st.sampled_from(locations)) + rng.normal(size=n))
    written = [draw(st.sampled_from(fixed))]
    eta = sum(_standard(data[name]) * rng.normal() for name in ("x", "z"))
    for name, column in codes.items():
        room = (n - 1) // (column.max() + 1)  # fewer random effects than rows
        widest = min(4 if name == "g" else 2, max(bars), room)
        if widest < 1:
            continue
        q = draw(st.sampled_from([1, *(width for width in bars if width <= widest)]))  # wide ones are slow
        written.append(draw(st.sampled_from(bars[q])).format(name))
        sds = rng.uniform(0.3, 2.0, 2) * (rng.uniform(size=2) > 0.2)  # some are zero
        b = rng.normal(size=(column.max() + 1, 2)) * sds
        eta = eta + b[column, 0] + b[column, 1] * _standard(data["x"])
    noise = draw(st.sampled_from([0.3, 1.0, 3.0]))
    data["w"], data["o"] = rng.uniform(0.5, 2.0, n), rng.normal(size=n)
    y_scale = draw(st.sampled_from(scales))
    data["y"] = y_scale * (draw(st.sampled_from(locations)) + eta + noise * rng.normal(size=n))
    data["o"] *= y_scale
    options = {key: column for key, column in (("weights", "w"), ("offset", "o")) if draw(st.booleans())}
    return Table(formula=f"y ~ {' + '.join(written)}", data=data, options=options)


def _standard(values):
    return ((values - values.mean()) / values.std()).to_numpy()
