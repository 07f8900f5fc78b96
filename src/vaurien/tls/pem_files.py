"""Reads the files that TLS is told to use: regular ones, of a size that such files have.

A caller of the HTTP interface may name them. A pipe would hold up the loop for ever, a device fill the memory.
"""

from __future__ import annotations

import errno
import os
import stat

from vaurien.errors import OptionError

LIMIT = 4 * 2**20
"""Bytes of a file; the certificates of all public authorities together are a quarter of a megabyte."""


def stamp(*paths: str | None) -> tuple[object, ...]:
    """What differs once one of the files *paths* is another, or has been written."""
    return tuple(map(_stamp, paths))


def _stamp(path: str | None) -> object:
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def content(path: str) -> bytes:
    """What is in the file *path*. Raises OSError for one that cannot be read, is no regular file, or is too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a device or a pipe")
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise OSError(errno.EFBIG, f"it is larger than {LIMIT // 2**20} MiB")
    return data


def of_option(option: str, path: str, what: str) -> bytes:
    """What is in the file *path* that *option* names. Raises `OptionError`, which says that *what* is to be there."""
    try:
        return content(path)
    except OSError as error:
        raise OptionError(option, path, f"a PEM file with {what} ({error.strerror})") from None
