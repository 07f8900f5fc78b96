"""Which files callers of the HTTP interface, and of a fleet, may name for TLS.

The program reads these files with its own rights, and a caller has others. So a caller names files that the program was
started with (on the command line, in a variable, in its files), or that a pattern permits.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterator

from vaurien.errors import OptionError
from vaurien.model import AUTO, Address, ProxyConfig


class TlsFiles:
    """The files that the configuration of a hub has named so far, and the patterns of others that callers may name."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._patterns: tuple[str, ...] = ()

    def allow(self, patterns: Collection[str]) -> None:
        """Let callers name the files that one of *patterns* matches, seen from the working directory.

        ``*`` stands for any characters; the ``..`` of a caller's path is resolved before.
        """
        self._patterns = tuple(map(os.path.abspath, patterns))

    def learn(self, config: ProxyConfig) -> None:
        """Callers may name the files of *config*, which is in force, from now on."""
        self._named.update(os.path.abspath(file) for _, file in _named_by(config))

    def check(self, config: ProxyConfig) -> None:
        """Raise `OptionError` for a file of *config*, which a caller has sent, that callers may not name."""
        for option, file in _named_by(config):
            path = os.path.abspath(file)
            if path not in self._named and not any(fnmatch.fnmatchcase(path, one) for one in self._patterns):
                raise OptionError(
                    option,
                    file,
                    "a file that the program was started with: callers may name no other; "
                    f"start it with --allow-tls-file {file!r} to permit this one",
                )


def _named_by(config: ProxyConfig) -> Iterator[tuple[str, str]]:
    """The files that *config* names, each with the option that names it."""
    for option, files in (
        ("backend", _of_backend(config.backend)),
        ("tls", [file for file in config.tls if file != AUTO]),
        ("tls_key", config.tls_key),
        ("tls_passphrase_file", [config.tls_passphrase_file]),
        ("tls_authority", [config.tls_authority]),
        ("tls_client_ca", [config.tls_client_ca]),
    ):
        for file in files:
            if file:
                yield option, file


def _of_backend(backend: Address) -> list[str | None]:
    return [] if backend.tls is None else [backend.tls.ca, backend.tls.certificate, backend.tls.key]
