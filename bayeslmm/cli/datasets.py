"""``datasets``: what there is to learn and to test with."""

from __future__ import annotations

import argparse
import textwrap

from ..datasets import _catalogue, load_dataset

WIDTH = 96


def run_datasets(options: argparse.Namespace) -> int:
    """List all data sets, or describe one."""
    catalogue = _catalogue()
    if options.name is None:
        print(f"{'name':12} {'rows':>6}  columns")
        for name, entry in catalogue.items():
            columns = textwrap.shorten(", ".join(entry.columns), WIDTH - 21, placeholder=" ...")
            print(f"{name:12} {entry.rows:>6}  {columns}")
        print('\ndatasets NAME describes one; fit NAME "FORMULA" fits it.')
        return 0
    if options.name not in catalogue:
        load_dataset(options.name)  # raises, and knows what was meant
    entry = catalogue[options.name]
    about = (
        f"{entry.name}: {entry.title}. {entry.description}",
        f"Source: {entry.source}",
        f"Licence: {entry.licence}",
    )
    for text in (*about, f"Columns of {entry.rows:,} rows:"):
        print(textwrap.fill(text, WIDTH, subsequent_indent="  "))
    for column, meaning in entry.columns.items():
        print(textwrap.fill(f"  {column}: {meaning}", WIDTH, subsequent_indent="    "))
    return 0
