"""Extract the figures the tests need from full reference files: ``python make_publish.py FOLDER > publish.json``.

FOLDER holds estimated means, slopes and contrasts of ``lmerTest`` 3.1-3 fits by ``emmeans`` 1.8.4, with Satterthwaite's
and Kenward and Roger's (``pbkrtest`` 0.5.2) degrees of freedom.
"""

import json
import pathlib
import sys

MEANS = {
    "sleepstudy_slope": ("days", "trend"),
    "science_nested": ("priv",),
    "penicillin_sample": ("sample",),
    "chickweight_diet": ("at_times", "slopes"),
    "pastes_cask": ("cask",),
}


def plain(table, labels):
    """Labels, estimate, SE, df, lower, upper."""
    return [row[: labels + 5] for row in table["rows"]]


fits = {}
for name, means in MEANS.items():
    full = json.loads((pathlib.Path(sys.argv[1]) / f"{name}.json").read_text())
    fits[name] = {"formula": full["formula_py"], "data": full["data_file"].split(".")[0]}
    fits[name]["factors"] = [c for c, v in full["columns"].items() if v["type"] == "factor"]
    for mean in means:
        for method, ddf in (("satterthwaite", "satterthwaite"), ("kenward_roger", "kenward-roger")):
            tables = full["means"][mean][method]
            kept = {part: tables[part] for part in ("table", "contrasts") if part in tables}
            found = {part: plain(t, t["columns"].index("SE") - 1) for part, t in kept.items()}
            fits[name].setdefault(mean, {})[ddf] = found
sys.stdout.write(json.dumps(fits, indent=None, separators=(",", ":")).replace("},", "},\n") + "\n")
