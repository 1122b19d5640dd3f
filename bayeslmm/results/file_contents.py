"""What a file of a fit may hold: its own numbers and text, as many as its size allows.

An HDF5 file can point at others: links to datasets of another file, virtual datasets made of them, datasets whose bytes
are those of any file on the disk. Who reads such a file and shows what it holds gives others away. It can also claim
arrays of any size, which are filled in when they are read.
"""

from __future__ import annotations

import os
from typing import Any

BEST_COMPRESSION = 1032  # of deflate, to one; more than that was never written
SMALL = 1_000_000  # bytes that may be claimed by a file of any size


def check_contents(file: Any) -> None:
    """Refuse an open ``h5py.File`` that points outside itself or claims more than it can hold.

    Raises
    ------
    ValueError
        With the name of the dataset or link.
    """
    import h5py

    claimed, groups, visited = 0, [file], set()
    while groups:
        group = groups.pop()
        for name in group:
            where = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{where} is a link, and a saved fit has none")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in visited:
                raise ValueError(f"{where} stands in the file under two names")
            visited.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ValueError(f"{where} takes its values from another file")
                claimed += int(item.size or 0) * item.dtype.itemsize
    most = SMALL + BEST_COMPRESSION * os.path.getsize(file.filename)
    if claimed > most:
        raise ValueError(f"its arrays would hold {claimed:,} bytes, more than the file can")
