"""What a daemon tells its operator: lines of text, or those of Toxiproxy's log."""

from __future__ import annotations

from typing import Protocol

from vaurien import __version__
from vaurien.console import to_user
from vaurien.model import Address


class Report(Protocol):
    """The facts in the life of a program that serves an HTTP interface."""

    def serving(self, address: Address, seed: str) -> None:
        """The interface answers at *address*; new proxies have *seed*."""

    def warn(self, message: str) -> None:
        """The program goes on, but its operator should know *message*."""

    def populated(self, count: int, path: str) -> None:
        """The file *path* gave *count* proxies."""

    def not_populated(self, path: str, error: str) -> None:
        """Some or all proxies of the file *path* are not there, because of *error*."""

    def unreadable(self, path: str, error: str) -> None:
        """The system did not give the contents of the file *path*, because of *error*."""

    def reloaded(self, count: int) -> None:
        """The configuration was read again; now there are *count* proxies."""

    def not_reloaded(self, error: str) -> None:
        """The configuration was read again, and not all of it is in force, because of *error*."""

    def stopping(self) -> None:
        """A signal ends the program."""


class TextReport:
    """Lines of text, each behind the name of *program*: news on standard output, trouble on standard error."""

    def __init__(self, program: str) -> None:
        self._program = program

    def serving(self, address: Address, seed: str) -> None:
        """Say where, with the version of the program."""
        print(f"{self._program} {__version__}: HTTP at {address}, seed {seed}", flush=True)

    def warn(self, message: str) -> None:
        """Say it."""
        to_user(message, name=self._program)

    def populated(self, count: int, path: str) -> None:
        """Say how many."""
        self.warn(f"populated {count} proxies from {path!r}")

    def not_populated(self, path: str, error: str) -> None:
        """Say why."""
        self.warn(f"failed to populate proxies from {path!r}: {error}")

    def unreadable(self, path: str, error: str) -> None:
        """Say why."""
        self.warn(f"cannot read the configuration file {path!r}: {error}")

    def reloaded(self, count: int) -> None:
        """Say how many."""
        print(f"{self._program}: configuration read again, {count} proxies", flush=True)

    def not_reloaded(self, error: str) -> None:
        """Say why."""
        self.warn(f"not all of the configuration is in force: {error}")

    def stopping(self) -> None:
        """Say nothing: the operator knows."""
