"""Run the notebooks of this folder from top to bottom: ``python examples/run.py [--check] [NAME ...]``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
LONGEST = 120.0  # seconds that a notebook should take on two idle cores


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks, such as quickstart; all by default")
    parser.add_argument("--check", action="store_true", help="leave the files as they are")
    options = parser.parse_args()
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # it warns of frozen modules
    known = {path.stem: path for path in sorted(HERE.glob("*.ipynb"))}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no notebook {unknown[0]!r}; there are {', '.join(known)}")
    results = [run(known[name], write=not options.check) for name in options.names or known]
    return 0 if all(results) else 1


def run(path: Path, *, write: bool) -> bool:
    """Whether the notebook ran without an error; its outputs are written into it if it was as quick as it should be."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False)
    begin = time.perf_counter()
    try:
        client.execute(cwd=str(HERE))
    except CellExecutionError as error:
        print(f"{path.stem}: {error}", file=sys.stderr)
        return False
    seconds = time.perf_counter() - begin
    print(f"{path.stem}: {seconds:.0f} s", flush=True)
    if seconds > LONGEST:
        print(f"{path.stem}: more than {LONGEST:.0f} s", file=sys.stderr)
        return not write  # a busy machine breaks no notebook
    if write:
        notebook.metadata.pop("widgets", None)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [o for o in cell.outputs if any(o.get("data", {"text": True}).values())]
        nbformat.write(notebook, path)
    return True


if __name__ == "__main__":
    raise SystemExit(main())
