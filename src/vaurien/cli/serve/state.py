"""The proxies in a file, so that they survive a restart of the program."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from vaurien.errors import ConfigError
from vaurien.events import Event, PolicyChanged
from vaurien.model import ProxyConfig
from vaurien.proxies.hub import Hub


class StateFile:
    """Keeps the proxies of a hub in the file at *path*: written whole beside it, then put in its place.

    A reader sees the proxies before a change or after it, never half of them, whenever the program or the machine dies.
    Disks can be slow, so a thread writes, and a change is in the file some moments after it was made.

    It is an observer too: faults that remove themselves are changes.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(os.path.realpath(path))  # a link stays one
        self._hub: Hub | None = None
        self._written = b""
        self._due = False
        self._writing: asyncio.Task[None] | None = None

    async def restore(self, hub: Hub, otherwise: Sequence[ProxyConfig] = ()) -> None:
        """Have in *hub* the proxies of the file, or if there is none *otherwise*, and keep it up to date from now on.

        Raises `ConfigError` for a file that cannot be read or written, and what is wrong with its proxies.
        """
        await hub.replace(self._read(otherwise))
        self._write(self._content(hub))
        self._hub = hub
        hub.changed = self._plan

    def __call__(self, event: Event) -> None:
        """Keep what *event* has changed."""
        if isinstance(event, PolicyChanged):
            self._plan()

    async def close(self) -> None:
        """Follow no more changes; those that were made are in the file then. Before the hub is stopped."""
        hub, self._hub = self._hub, None
        if hub is not None:
            if self._writing is not None:
                await self._writing
            self._write_or_say_why(self._content(hub))

    def _plan(self) -> None:
        self._due = True
        if self._writing is None and self._hub is not None:
            self._writing = asyncio.get_running_loop().create_task(self._keep(self._hub))

    async def _keep(self, hub: Hub) -> None:
        """Write; several changes of one moment, or of the time that a disk takes, once."""
        while self._due and self._hub is not None:
            self._due = False
            await asyncio.to_thread(self._write_or_say_why, self._content(hub))
        self._writing = None

    def _content(self, hub: Hub) -> bytes:
        return msgspec.json.format(msgspec.json.encode(hub.config.proxies)) + b"\n"

    def _write_or_say_why(self, content: bytes) -> None:
        try:
            self._write(content)
        except ConfigError as error:
            print(f"vaurien: {error}", file=sys.stderr, flush=True)

    def _read(self, otherwise: Sequence[ProxyConfig]) -> Sequence[ProxyConfig]:
        if self._path.exists() and not (self._path.is_file() or self._path.is_dir()):
            raise ConfigError(f"state file {str(self._path)!r} is a device or a pipe; expected a file, or none yet")
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[ProxyConfig])
        except FileNotFoundError:
            return otherwise
        except OSError as error:
            raise ConfigError(f"state file {str(self._path)!r} cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"state file {str(self._path)!r} is not what was written: {error}") from None

    def _write(self, content: bytes) -> None:
        if content == self._written:
            return
        try:
            self._put(content)
        except OSError as error:
            raise ConfigError(f"state file {str(self._path)!r} cannot be written: {error.strerror}") from None
        self._written = content

    def _put(self, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=self._path.name, delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, self._path)
            except OSError:
                os.unlink(file.name)
                raise
