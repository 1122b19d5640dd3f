"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import InputError


def checked_path(path: Any, verb: str) -> Path:
    """A path, or InputError for what is none."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"{verb}: a path is a text or a pathlib.Path, not {path!r}")
    return Path(path)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file, or leave the one that is there as it is: the new one takes its place once it is on the disk.

    It has the permissions of the one it replaces. Where a link is named, what it points at is replaced; a device or a
    pipe is written to.

    Raises
    ------
    OSError
        The disk is full, or the place is not to be written to.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # some disks say only now that they are full
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
