"""Extract what the tests need from full reference files into terms/: ``python make_terms.py REFERENCES DATA``.

REFERENCES holds F tests of terms by ``lmerTest`` 3.1-3, ``pbkrtest`` 0.5.2 and ``car`` 3.1-1, marginal means, contrasts
and joint tests by ``emmeans`` 1.8.4; DATA the simulated tables that are not bundled.
"""

import json
import pathlib
import shutil
import sys

FITS = (
    "cbpp_weighted",
    "chickweight_diet",
    "control_plus",
    "empty_cell",
    "factorial_sum",
    "factorial_treatment",
    "items_crossed",
    "pastes_cask",
    "penicillin_sample",
    "science_nested",
    "sleepstudy_slope",
)
KEPT = (
    "formula_py",
    "data_file",
    "columns",
    "contrasts",
    "weights",
    "anova",
    "car_Anova",
    "joint_tests",
    "means",
    "tests",
    "coefficients",
    "fit",
    "kenward_roger_dense",
)
OF_IMPUTED = ("formula_py", "pooled", "parts", "D1", "each")
OTHERS = {"mmrm": ("trial_mmrm",), "bootstrap": ("boot_pastes", "boot_sleepstudy")}  # folders of their own

references, data = map(pathlib.Path, sys.argv[1:3])
folder = pathlib.Path(__file__).parent / "terms"
for name in FITS:
    full = json.loads((references / f"{name}.json").read_text())
    kept = {key: full[key] for key in KEPT if key in full}
    (folder / f"{name}.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")
    if full["data_file"].startswith("psim"):
        shutil.copy(data / full["data_file"], folder / full["data_file"])
        (folder / full["data_file"]).chmod(0o644)
full = json.loads((references / "hsb_imputed.json").read_text())
kept = {key: full[key] for key in OF_IMPUTED}
(folder.parent / "imputed.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")
for kind, names in OTHERS.items():
    folder = pathlib.Path(__file__).parent / kind
    folder.mkdir(exist_ok=True)
    for name in names:
        full = json.loads((references / f"{name}.json").read_text())
        (folder / f"{name}.json").write_text(json.dumps(full, separators=(",", ":")) + "\n")
        if full["data_file"].startswith("psim"):
            shutil.copy(data / full["data_file"], folder / full["data_file"])
            (folder / full["data_file"]).chmod(0o644)
