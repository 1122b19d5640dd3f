"""Models of real data as R packages document them, in R's formulas (the list is MixedBench's), against R's fits.

The data belong to R packages and are not part of this repository: without the folder of them these tests are skipped.
"""

import json
import os
import pathlib

import pandas as pd
import pytest

import bayeslmm as blm

FOLDER = pathlib.Path(
    os.environ.get("BAYESLMM_MIXEDBENCH", pathlib.Path(__file__).parents[2] / "shared" / "mixedbench")
)
MODELS = json.loads((FOLDER / "models.json").read_text()) if FOLDER.is_dir() else []
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not MODELS, reason="the data of the documented models are not here"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning"),
]


def model_of(documented):
    data = pd.read_csv(FOLDER / documented["data_file"])
    for column, levels in documented["factors"].items():
        text = data[column].astype(str).where(data[column].notna())
        data[column] = pd.Categorical(text, categories=[str(level) for level in levels])
    family = documented["family"]
    return blm.Model(documented["formula_R"], data, family=family)


@pytest.mark.parametrize("documented", MODELS, ids=[each["name"] for each in MODELS])
def test_a_documented_formula_runs_as_written_and_reaches_rs_optimum(documented):
    model = model_of(documented)
    if documented["family"] == "gaussian":
        # R's default stops early here and there, so that below is right as well
        assert model.fit_reml().criterion <= documented["reml_criterion"] + 1e-5
    else:
        assert model.fit_ml().loglik >= documented["loglik"] - 1e-4
