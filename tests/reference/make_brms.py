"""Extract what tests need of brms's reference fits: ``python make_brms.py FOLDER > brms.json``."""

import json
import pathlib
import sys

found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
    full = json.loads(path.read_text())
    given = {entry["class"]: entry["prior"] for entry in full["priors"] if entry["prior"]}
    keys = ("mean", "sd", "q2.5", "q97.5", "mcse_mean", "mcse_sd", "mcse_q2.5", "mcse_q97.5")
    found[full["name"]] = {
        "formula": full["formula_py"],
        "versions": full["versions"],
        "priors": {key: given[key] for key in ("Intercept", "sd", "sigma")},
        "parameters": {
            name: {key: figures[key] for key in keys} for name, figures in full["long_run"]["parameters"].items()
        },
    }
sys.stdout.write(json.dumps(found, indent=1) + "\n")
