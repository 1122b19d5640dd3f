"""The page of pictures is complete and light. Its code runs in tests/test_docs.py."""

import re
from pathlib import Path

import pytest

import bayeslmm as blm

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "gallery.md"
IMAGES = sorted(
    {
        (page.parent / image).resolve().relative_to(DOCS).as_posix()
        for page in DOCS.rglob("*.md")
        for image in re.findall(r"\]\(([^)]*gallery/[^)]+\.png)\)", page.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_is_there_and_small(image):
    assert 0 < (DOCS / image).stat().st_size < 80_000


def test_no_image_is_left_over():
    assert {p.name for p in (DOCS / "gallery").iterdir()} == {Path(image).name for image in IMAGES}


@pytest.mark.parametrize("name", [name for name in blm.__all__ if name.startswith("plot_")])
def test_every_picture_is_shown(name):
    assert f"blm.{name}(" in PAGE.read_text(encoding="utf-8")
