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
from vaurien.hub import Hub
from vaurien.model import ProxyConfig


class StateFile:
    """Keeps the proxies of *hub* in the file at *path*: written whole beside it, then put in its place.

    A reader sees the proxies before a change or after it, never half of them, whenever the program or the machine dies.
    """

    def __init__(self, path: str, hub: Hub) -> None:
        self._path, self._hub = Path(path), hub
        self._written = b""
        self._planned = False

    async def restore(self, otherwise: Sequence[ProxyConfig] = ()) -> None:
        """Have the proxies of the file, or if there is none those of *otherwise*, and keep it up to date from now on.

        Raises `ConfigError` for a file that cannot be read, and what is wrong with its proxies.
        """
        await self._hub.replace(self._read(otherwise))
        self._hub.changed = self._plan
        self.save()

    def save(self) -> None:
        """Write what has changed. Raises `ConfigError` with the system's reason."""
        self._planned = False
        content = msgspec.json.format(msgspec.json.encode([proxy.config for proxy in self._hub.proxies.values()]))
        if content != self._written:
            self._write(content)
            self._written = content

    def _plan(self) -> None:
        """Several changes of one moment are written once."""
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._save_or_say_why)

    def _save_or_say_why(self) -> None:
        try:
            self.save()
        except ConfigError as error:
            print(f"vaurien: {error}", file=sys.stderr, flush=True)

    def _read(self, otherwise: Sequence[ProxyConfig]) -> Sequence[ProxyConfig]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[ProxyConfig])
        except FileNotFoundError:
            return otherwise
        except OSError as error:
            raise ConfigError(f"state file {str(self._path)!r} cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"state file {str(self._path)!r} is not what was written: {error}") from None

    def _write(self, content: bytes) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=self._path.name, delete=False) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self._path)
        except OSError as error:
            raise ConfigError(f"state file {str(self._path)!r} cannot be written: {error.strerror}") from None
