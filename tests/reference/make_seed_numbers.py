"""Extract what tests need of the printed numbers: ``python make_seed_numbers.py FILE > seed_numbers.json``."""

import json
import pathlib
import sys

full = json.loads(pathlib.Path(sys.argv[1]).read_text())
entries = [
    {
        "note": full["documents"].index(n["document"]),
        "number": i,
        "model": n["model"],
        "quantity": n["quantity"],
        "printed": n["printed"],
        "value": n["printed_value"],
        "decimals": n["decimals"],
        "obtained": n["obtained"],
        "status": n["status"],
    }
    for i, n in enumerate(full["numbers"])
]
sys.stdout.write("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
