"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

ABANDONED = 600.0  # seconds since its last byte, after which nobody writes a part any more, where locks do not tell


def checked_path(path: Any, verb: str) -> Path:
    """A path, or InputError for what is none."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"{verb}: a path is a text or a pathlib.Path, not {path!r}")
    return Path(path)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file, or leave the one that is there as it is: the new one takes its place once it is on the disk.

    It has the permissions of the one it replaces. Where a link is named, what it points at is replaced; a device or a
    pipe is written to. What a process that was killed has left beside the file is removed.

    Raises
    ------
    OSError
        The disk is full, or the place is not to be written to.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    target = Path(os.path.realpath(path))
    _remove_abandoned(target)
    part = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("xb") as stream:
            _lock(stream.fileno())
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # some disks say only now that they are full
            if target.exists():
                shutil.copymode(target, part)
            if os.name == "posix":  # elsewhere an open file cannot be renamed
                part.replace(target)
        if os.name != "posix":
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _remove_abandoned(target: Path) -> None:
    """Remove the parts of this file that no process is writing any more, as far as they may be."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.part")
    with suppress(OSError):  # of a folder that may not be listed, or a part of somebody else: both may stay
        for part in target.parent.iterdir():
            if ours.fullmatch(part.name) and part.is_file() and _is_abandoned(part):
                part.unlink(missing_ok=True)


def _is_abandoned(part: Path) -> bool:
    """Whether the process that wrote a part is gone: its lock went with it.

    A part without a byte may be about to be locked; it is left until it is old, as all are where there are no locks.
    """
    with part.open("rb") as stream:
        status = os.fstat(stream.fileno())
        if time.time() - status.st_mtime > ABANDONED:
            return _lock(stream.fileno())
        return fcntl is not None and status.st_size > 0 and _lock(stream.fileno())


def _lock(descriptor: int) -> bool:
    """Take the lock of an open file; False if a process has it. True where there are no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
