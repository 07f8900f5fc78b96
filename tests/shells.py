"""Shells that complete a command line, as a user has them with Tab: bash, zsh and fish."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

PATIENCE = 60.0
"""Seconds that a shell may take to complete one line; each asks a Python that starts for it."""


def require(shell: str) -> None:
    """Skip the test where *shell* is not installed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed (tests/packages.txt names its package)")


def bash(script: str, words: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """What bash offers for the last of *words*, which are as readline splits a line: at ``=`` too."""
    asking = "\n".join(
        [
            "compopt() { :; }  # a builtin that works only where readline completes",
            script,
            'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))',
            '_"$1"_completion "$1"',
            'if ((${#COMPREPLY[@]})); then printf "%s\\n" "${COMPREPLY[@]}"; fi',
        ]
    )
    done = subprocess.run(
        ["bash", "-c", asking, "bash", *words], env=variables, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def fish(script: str, lines: Sequence[str], variables: Mapping[str, str], folder: Path) -> list[list[str]]:
    """What fish offers at the end of each of *lines*, without its descriptions."""
    (folder / "script.fish").write_text(script)
    asking = "source script.fish; for line in $argv; complete -C $line; echo end of line; end"
    done = subprocess.run(
        ["fish", "--no-config", "-c", asking, *lines],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stderr == ""
    answers = done.stdout.split("end of line\n")[:-1]
    return [[one.partition("\t")[0] for one in answer.splitlines()] for answer in answers]


_ZSHRC = """
PS1= RPS1= LISTMAX=9999
autoload -Uz compinit && compinit -D -u
zstyle ':completion:*' menu no
setopt no_auto_menu no_always_last_prompt
compadd() {
    local -a found
    builtin compadd -O found "$@"
    offered+=("${found[@]}")
    builtin compadd "$@"
}
complete-asked-line() {
    offered=()
    IFS= read -r BUFFER < asked
    CURSOR=$#BUFFER
    zle expand-or-complete
    print -rl -- "$BUFFER" "${offered[@]}" > answered
}
zle -N complete-asked-line
bindkey '^T' complete-asked-line
typeset -ga offered
source script.zsh
print ready > answered
"""


class Zsh:
    """A zsh on a terminal of its own, with zsh's own completion and *script*."""

    def __init__(self, terminal: int, folder: Path) -> None:
        self._terminal, self._folder = terminal, folder

    def complete(self, line: str) -> tuple[str, list[str]]:
        """The line that Tab makes of *line*, and all that was offered."""
        (self._folder / "asked").write_text(line + "\n")
        os.write(self._terminal, b"\x14")  # Ctrl-T
        made, *offered = self.answer()
        return made, offered

    def answer(self) -> list[str]:
        """The lines of the shell's next answer. Fails when there is none in time."""
        answered = os.open(self._folder / "answered", os.O_RDONLY | os.O_NONBLOCK)
        screen, text, end = b"", b"", time.monotonic() + PATIENCE
        with contextlib.closing(os.fdopen(answered, "rb", buffering=0)):
            while True:
                ready = select.select([self._terminal, answered], [], [], max(0.0, end - time.monotonic()))[0]
                if not ready:
                    pytest.fail(f"zsh did not answer; on its screen: {screen!r}")
                if self._terminal in ready:
                    screen += os.read(self._terminal, 65536)
                if answered in ready:
                    piece = os.read(answered, 65536)
                    text += piece
                    if not piece and text:
                        return text.decode().splitlines()


@contextlib.contextmanager
def zsh(script: str, variables: Mapping[str, str], folder: Path) -> Iterator[Zsh]:
    """A `Zsh` in *folder*, until the end of the block."""
    (folder / ".zshrc").write_text(_ZSHRC)
    (folder / "script.zsh").write_text(script)
    os.mkfifo(folder / "answered")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-d", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**variables, "ZDOTDIR": str(folder), "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        shell = Zsh(ours, folder)
        assert shell.answer() == ["ready"]
        yield shell
    finally:
        process.kill()
        process.wait()
        os.close(ours)
