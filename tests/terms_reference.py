"""Fits of lmerTest, pbkrtest and emmeans beside ours."""

import functools
import json
import pathlib

import numpy as np
import pandas as pd

import bayeslmm as blm

FOLDER = pathlib.Path(__file__).parent / "reference" / "terms"
FITS = sorted(path.stem for path in FOLDER.glob("*.json"))


@functools.cache
def reference(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@functools.cache
def fit_of(name):
    wanted = reference(name)
    data = (
        pd.read_csv(FOLDER / wanted["data_file"])
        if wanted["data_file"].startswith("psim")
        else blm.load_dataset(wanted["data_file"].removesuffix(".csv"))
    )
    for column, kind in wanted["columns"].items():
        if kind["type"] == "factor":
            levels = [str(level) for level in kind["levels"]]
            data[column] = pd.Categorical(data[column].astype(str), categories=levels)
    formula = wanted["formula_py"]
    if "contr.sum" in wanted["contrasts"].values():
        formula = "y ~ C(A, Sum) * C(B, Sum) * C(C, Sum) + (A | subject)"
    used = [column for column in wanted["columns"] if column in data]
    return blm.lmer(formula, data.dropna(subset=used), weights=wanted["weights"])


def numbers(table, column):
    position = table["columns"].index(column)
    return np.array([np.nan if row[position] is None else row[position] for row in table["rows"]], dtype=float)
