"""What is published of fits is R's, in all reference files; the table is in docs/evidence.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import KINDS, LIMIT, LIMITS, differences


@pytest.mark.reference
@pytest.mark.parametrize("name", KINDS)
def test_every_number_is_that_of_r(name):
    found = differences(name)
    assert sum(found.count.values()) >= 7
    for kind, value in found.largest.items():
        assert value < LIMITS.get(kind, LIMIT), kind


def test_the_page_tells_of_every_file():
    page = (Path(__file__).parents[1] / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert "## What is published, beside R" in page and f"{len(KINDS)} fits" in page
