"""What tables show of leave-one-out prediction: nothing that nobody asked for."""

from __future__ import annotations

import bayeslmm as blm


def test_no_table_leaves_rows_out_unasked(monkeypatch):
    from bayeslmm.results import loo

    model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    post = model.fit(draws=100, chains=2, random_seed=1, progressbar=False)
    computed, compute = [], loo._leave_one_out
    monkeypatch.setattr(loo, "_leave_one_out", lambda *args: computed.append(args) or compute(*args))
    assert "elpd_loo" not in post.glance() and "elpd (LOO)" not in str(blm.model_table(post))
    assert not computed
    elpd = post.glance(loo=True)["elpd_loo"].iloc[0]
    assert len(computed) == 1
    assert post.glance()["elpd_loo"].iloc[0] == elpd  # it is there now
    assert ("Fit", loo_row()) in blm.model_table(post).table.index
    assert "elpd_loo" not in post.glance(loo=False) and len(computed) == 1


def loo_row():
    from bayeslmm.model_comparison.model_table import ELPD

    return ELPD
