"""The scripts by which bash, zsh and fish ask a program what may stand on its command line.

click has such scripts, and what they miss is here: values with commas (fish), options written ``--name=value`` (all
three), and no space behind what ends with ``=`` (bash, zsh). Each script calls the program with the line in
``COMP_WORDS``, and reads a type (plain, file, dir) and a value for each candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

_BASH = """%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                if [[ $value == *= ]]; then compopt -o nospace; fi
                ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """%(complete_func)s() {
    (( $+commands[%(prog_name)s] )) || return 1
    local type value about
    local -a names values described
    COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) %(complete_var)s=zsh_complete %(prog_name)s |
    while IFS= read -r type && IFS= read -r value && IFS= read -r about; do
        case $type in
            dir) compset -P '-*='; _path_files -/ ;;
            file) compset -P '-*='; _path_files -f ;;
            plain)
                if [[ $about != _ ]]; then described+=("$value:$about")
                elif [[ $value == *= ]]; then names+=("$value")
                else values+=("$value")
                fi
                ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#names )) && compadd -U -S '' -V unsorted -a names
    (( $#values )) && compadd -U -V unsorted -a values
}
compdef %(complete_func)s %(prog_name)s
"""

_FISH = """function %(complete_func)s
    command -q %(prog_name)s; or return
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -t)
    for line in (%(complete_var)s=fish_complete command %(prog_name)s)
        set -l found (string split -m 1 , -- $line)
        switch $found[1]
            case dir file
                set -l name (string match -r -- '^-[^=]*=' $found[2])
                set -l typed (string replace -r -- '^-[^=]*=' '' $found[2])
                set -l of path
                test $found[1] = dir; and set of directories
                for path in (__fish_complete_$of $typed)
                    printf '%%s%%s\n' "$name" $path
                end
            case plain
                printf '%%s\\n' $found[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class _WholeWord(ShellComplete):
    """What zsh and fish need: each candidate takes the place of the whole word, the ``--name=`` in it too."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        """The candidates for *incomplete*, behind *args*."""
        name, equals, _ = incomplete.partition("=")
        found = super().get_completions(args, incomplete)
        if not equals or not name.startswith("-"):
            return found
        return [CompletionItem(name + equals + str(one.value), one.type, one.help) for one in found]


class Bash(BashComplete):
    """bash, which makes three words of ``--name=value``, and wants the last of them only."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one under the cursor, and that one."""
        before, last = super().get_completion_args()
        words: list[str] = []
        for word in (*before, last):
            if words and (word == "=" or words[-1].endswith("=")) and words[-1].startswith("-"):
                words[-1] += word
            else:
                words.append(word)
        return words[:-1], words[-1]


class Zsh(_WholeWord, ZshComplete):
    """zsh."""

    source_template = _ZSH


class Fish(_WholeWord, FishComplete):
    """fish."""

    source_template = _FISH


SHELLS: Mapping[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def register() -> None:
    """Have click answer the scripts of these shells, in place of its own."""
    for name, shell in SHELLS.items():
        add_completion_class(shell, name)
