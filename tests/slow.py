"""Write into slow.txt which tests `make test` leaves to `make test-all`: the slowest of a run that was timed.

Most of the time goes into few tests. Of a test with many cases some stay: it is listed case by case, and the first one
that is not among the very slowest stays out of the list, so that what it tests is still tried.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

LIST = Path(__file__).parent / "slow.txt"
SECONDS = 0.3  # of one case
EVEN_ALONE = 1.2  # the only case of a test goes from here on


def cases(report: Path):
    """Every test that ran, as pytest names it, with the seconds that it computed."""
    for case in ElementTree.parse(report).iter("testcase"):  # one that was interrupted has no place
        if case.get("classname") is None:
            continue
        path = Path(*case.get("classname").split(".")).with_suffix(".py")
        for each in case.iter("property"):
            if each.get("name") == "processor_seconds":
                yield f"{path.as_posix()}::{case.get('name')}", float(each.get("value"))


def slow(timed):
    """Names of the cases to leave out."""
    by_test = defaultdict(list)
    for name, seconds in timed:
        by_test[name.split("[")[0]].append((seconds, name))
    for same in by_test.values():
        kept = min(same)
        for seconds, name in same:
            if seconds >= (EVEN_ALONE if (seconds, name) == kept else SECONDS):
                yield name


if __name__ == "__main__":
    timed = list(cases(Path(sys.argv[1])))
    names = sorted(slow(timed))
    LIST.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    left = sum(seconds for name, seconds in timed if name not in set(names))
    print(f"{len(names)} of {len(timed):,} cases are slow; the others take {left:,.0f} seconds on one core")
