"""Random mixed-model problems for hypothesis: one to three factors, nested, crossed or both, unbalanced."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from bayeslmm.engine.scaling import Problem
from bayeslmm.spec.covariance import Template


@st.composite
def problems(draw, *, max_factors=3, max_columns=3):
    """A Problem with matching templates drawn at random; every level occurs at least once."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    K = draw(st.integers(1, max_factors))
    n = draw(st.integers(20, 45))
    kinds = [draw(st.sampled_from(["crossed", "nested"])) for _ in range(K - 1)]
    codes = [_every_level(rng, n, draw(st.integers(2, 6)))]
    for kind in kinds:
        J = draw(st.integers(2, 4))
        if kind == "crossed":
            codes.append(_every_level(rng, n, J))
        else:  # finer than the last one: its levels split
            _, finer = np.unique(codes[-1] * J + rng.integers(0, J, n), return_inverse=True)
            codes.append(finer.reshape(-1))
    shuffled = rng.permutation(K)
    codes = [codes[k].astype(np.int64) for k in shuffled]
    widths = [draw(st.integers(1, max_columns)) for _ in range(K)]
    blocks = tuple(draw(st.sampled_from(_partitions(q))) for q in widths)
    p = draw(st.integers(0, 3))
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 3))])[:, :p]
    Z = [np.column_stack([np.ones(n), rng.normal(size=(n, 2))])[:, :q] for q in widths]
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


def _every_level(rng, n, J):
    return rng.permutation(np.concatenate([np.arange(J), rng.integers(0, J, n - J)]))


def _partitions(q):
    return {
        1: [((0,),)],
        2: [((0, 1),), ((0,), (1,))],
        3: [((0, 1, 2),), ((0,), (1,), (2,)), ((0, 2), (1,))],
    }[q]
