"""The proxies in a file, so that they survive a restart of the program.

A change is *planned* when the hub has made it, and *settled* when a write that holds it has been tried:

    change ──► plan ──► a thread writes STATE.new, syncs it, renames it to STATE ──► settled ──► the answer goes out
                             │ the disk is full
                             └── tried again each second, until it is written

Changes that come while the thread writes are in the next write together. The file is locked (flock(2)), and so is each
new one before it takes its place; the system gives the lock back when the process ends, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from vaurien.cli.serve import precedence
from vaurien.cli.serve.precedence import Choice, Winner
from vaurien.console import to_user
from vaurien.errors import ConfigError
from vaurien.model import Config, ProxyConfig
from vaurien.proxies.hub import Hub

_NONE = -1
"""No descriptor."""

_RETRY = 1.0
"""Seconds after which a write that failed is tried again."""


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in the file: the proxies, and what was configured when they were made."""

    proxies: list[ProxyConfig]
    configured: list[ProxyConfig] | None = None


class StateFile:
    """Keeps the proxies of a hub in the file at *path*, which no other process keeps at the same time.

    *winner* is taken at the start where the file and the configuration contradict each other.

    A reader sees the proxies before a change or after it, never half of them, whenever the program or the machine dies.
    Once `settled` has returned true, a change is on the disk.
    """

    def __init__(self, path: str, winner: Winner | None = None) -> None:
        self._winner = winner
        self._path = Path(os.path.realpath(path))  # a link stays one
        self._new = self._path.with_name(f"{self._path.name}.new")
        self._locked = _NONE
        """A descriptor of the file, which holds the lock."""
        self._hub: Hub | None = None
        self._configured: Sequence[ProxyConfig] | None = None
        """What was configured, for the next start."""
        self._written = b""
        self._healthy = True
        self._planned = self._tried = 0
        self._thread = ThreadPoolExecutor(1, "state")  # its own: lookups of slow names fill the loop's
        self._news, self._settled = asyncio.Event(), asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    async def restore(
        self,
        hub: Hub,
        otherwise: Sequence[ProxyConfig] = (),
        configured: Sequence[ProxyConfig] | None = None,
    ) -> str:
        """Have in *hub* the proxies of the file, or if there is none *otherwise*, and keep it up to date from now on.

        *configured* are the proxies of *otherwise* as they were asked for, if they were: with them the file is not
        simply right, see `vaurien.cli.serve.precedence`. Returns where the proxies come from.

        Raises `ConfigError` for a file that cannot be read or written, that another process keeps, or that contradicts
        what is *configured*, and the error of a proxy that cannot be.
        """
        self._locked = self._take_lock()
        try:
            with contextlib.suppress(OSError):  # of a process that was killed while it wrote
                self._new.unlink()
            choice = self._choose(self._read(), otherwise, configured)
            await hub.replace(choice.proxies)
            self._write(self._content(hub.config))
        except BaseException:
            self._release()
            raise
        self._hub = hub
        hub.changed = self._plan
        self._writing = asyncio.get_running_loop().create_task(self._keep(hub))
        return choice.why

    def _choose(
        self,
        kept: _Kept | None,
        otherwise: Sequence[ProxyConfig],
        configured: Sequence[ProxyConfig] | None,
    ) -> Choice:
        if kept is None:
            self._configured = configured
            return Choice(otherwise, f"state file {str(self._path)!r} begins with what is configured")
        choice = precedence.choose(str(self._path), kept.proxies, kept.configured, configured, self._winner)
        self._configured = kept.configured if configured is None else configured
        if choice.proxies is configured:
            return Choice(otherwise, choice.why)
        return choice

    def configured_anew(self, configured: Sequence[ProxyConfig] | None) -> None:
        """The configuration was read again: the proxies of now are those that are *configured*."""
        self._configured = configured
        self._plan()

    async def settled(self) -> bool:
        """Wait until a write has been tried that holds all changes of now. Whether they are on the disk."""
        wanted = self._planned
        while self._tried < wanted and self._writing is not None:
            await self._settled.wait()
        return self._healthy

    async def close(self) -> None:
        """Follow no more changes; those that were made are in the file then. Before the hub is stopped."""
        hub, self._hub = self._hub, None
        if hub is None or self._writing is None:
            return
        hub.changed = lambda: None
        self._writing.cancel()
        await asyncio.wait([self._writing])  # a thread that writes comes to its end
        self._writing = None
        self._thread.shutdown()
        self._try(hub.config)
        self._settle(self._planned)
        self._release()

    def _plan(self) -> None:
        if self._hub is not None:
            self._planned += 1
            self._news.set()

    async def _keep(self, hub: Hub) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            number = self._planned
            attempt = asyncio.get_running_loop().run_in_executor(self._thread, self._try, hub.config)
            try:
                await asyncio.shield(attempt)
            except asyncio.CancelledError:
                await attempt
                raise
            self._settle(number)
            if not self._healthy:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY):
                        await self._news.wait()
                self._news.set()

    def _settle(self, number: int) -> None:
        """Wake what waits for change *number* and those before."""
        self._tried = number
        self._settled.set()
        self._settled = asyncio.Event()

    def _try(self, config: Config) -> None:
        """Write *config*, and say so when that fails, and when it succeeds again."""
        try:
            self._write(self._content(config))
        except ConfigError as error:
            if self._healthy:
                to_user(f"{error}; changes hold, and are written when that is possible")
            self._healthy = False
        else:
            if not self._healthy:
                to_user(f"state file {str(self._path)!r} is written again")
            self._healthy = True

    def _take_lock(self) -> int:
        if self._path.exists() and not (self._path.is_file() or self._path.is_dir()):
            raise ConfigError(f"state file {str(self._path)!r} is a device or a pipe; expected a file, or none yet")
        try:
            return _open_locked(self._path)
        except BlockingIOError as held:
            wanted = "expected another file, or that it ends first"
            raise ConfigError(f"state file {str(self._path)!r} is kept by {held.strerror}; {wanted}") from None
        except OSError as error:
            raise ConfigError(
                f"state file {str(self._path)!r} cannot be written: {error.strerror}; expected one that can be"
            ) from None

    def _release(self) -> None:
        if not os.fstat(self._locked).st_size:  # made for the lock alone
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._locked)
        self._locked = _NONE

    def _read(self) -> _Kept | None:
        try:
            content = self._path.read_bytes()
            if not content:
                return None
            if content.lstrip().startswith(b"["):  # of a program that remembered no configuration
                return _Kept(msgspec.json.decode(content, type=list[ProxyConfig]))
            return msgspec.json.decode(content, type=_Kept)
        except OSError as error:
            raise ConfigError(f"state file {str(self._path)!r} cannot be read: {error.strerror}") from None
        except msgspec.ValidationError as error:
            raise self._spoilt(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._spoilt("it is no JSON") from None

    def _spoilt(self, why: str) -> ConfigError:
        what = f"state file {str(self._path)!r} is not what was written: {why}"
        return ConfigError(f"{what}; expected another file, or none: move it away to begin anew")

    def _content(self, config: Config) -> bytes:
        kept = _Kept(list(config.proxies), None if self._configured is None else list(self._configured))
        return msgspec.json.format(msgspec.json.encode(kept)) + b"\n"

    def _write(self, content: bytes) -> None:
        if content == self._written:
            return
        try:
            self._put(content)
        except OSError as error:
            raise ConfigError(f"state file {str(self._path)!r} cannot be written: {error.strerror}") from None
        self._written = content

    def _put(self, content: bytes) -> None:
        """Write *content* beside the file and put it in its place; both the bytes and the name are on the disk then."""
        with contextlib.suppress(FileNotFoundError):
            self._new.unlink()
        new = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _flock(new)
            with open(new, "wb", closefd=False) as file:
                file.write(content)
            os.fsync(new)
            os.replace(self._new, self._path)
        except OSError:
            os.close(new)
            with contextlib.suppress(OSError):
                self._new.unlink()
            raise
        os.close(self._locked)
        self._locked = new
        _sync_folder(self._path.parent)


def _open_locked(path: Path) -> int:
    """A descriptor of the file at *path*, which is made if need be, that holds the lock.

    Raises `BlockingIOError`, whose text names the process, where another one has it.
    """
    while True:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _flock(descriptor)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError as error:
            owner = _owner(os.fstat(descriptor).st_ino)
            os.close(descriptor)
            raise BlockingIOError(error.errno, owner) from None
        os.close(descriptor)  # another file has just taken its place


def _owner(inode: int) -> str:
    """The process that holds the lock on the file of this number, where the system tells (proc_locks(5))."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode) and int(fields[4]) > 0:
                return f"process {fields[4]}"
    return "another process"


def _flock(descriptor: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(path: Path) -> None:
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
