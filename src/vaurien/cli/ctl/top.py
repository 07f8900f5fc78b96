"""``vaurienctl top`` and ``watch``: the dashboard's overview in a terminal, and one proxy line by line."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from vaurien.cli.ctl import columns
from vaurien.cli.ctl.context import CtlContext, examples, pass_control
from vaurien.client import Client
from vaurien.errors import VaurienError

AGAIN = 1.0
"""Seconds until the interface is tried again when it is not reached."""

EVENTS = 8
"""Events that are shown."""

_TOLD = ("PolicyChanged", "Failed", "Listening", "WorkerDied", "Lost")
_QUIET = {"open": 0, "sent": 0, "received": 0, "exchanges": 0, "failed_dials": 0, "hits": {}}
"""The figures of a second without traffic, which the interface leaves out."""

_TITLES = ("proxy", "on", "listens", "backend", "open", "to backend", "to client", "exchanges", "hits", "faults")
_KEYS = "keys: up and down choose a proxy, t switches it, r removes its faults, a removes all faults, q quits"
_CLEAR = "\x1b[H\x1b[2J"
"""To the beginning of the screen, and erase it (ECMA-48, CUP and ED)."""


class Overview:
    """What is shown: the proxies, the figures of the last second, the last events, and which proxy is chosen."""

    def __init__(self) -> None:
        self.proxies: list[dict[str, Any]] = []
        self.figures: Mapping[str, Any] = {}
        self.seconds = 1.0
        self.revision = -1
        self._events: dict[object, tuple[str, int]] = {}
        self.chosen = 0
        self.note = ""

    def take(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Take a message of the stream. Whether the proxies have to be read again."""
        if kind == "Figures":
            self.figures, self.seconds = data["proxies"], data["seconds"]
            return bool(data["revision"] != self.revision)
        if kind in ("Hello", "Skipped"):
            return kind == "Hello"
        key = (data["proxy"], data["fault"]) if kind == "Injected" else object()
        _, before = self._events.pop(key, ("", 0))
        self._events[key] = (_event(kind, data), before + 1)
        if len(self._events) > EVENTS:
            del self._events[next(iter(self._events))]
        return kind in ("Listening", "PolicyChanged")

    @property
    def events(self) -> list[str]:
        """A line for each of the last events, and one for all hits of a fault, which would push out the others."""
        return [line if count == 1 else f"{line} (the last of {count:,} seen)" for line, count in self._events.values()]

    @property
    def proxy(self) -> dict[str, Any] | None:
        """The chosen proxy."""
        return self.proxies[self.chosen] if self.chosen < len(self.proxies) else None

    def choose(self, by: int) -> None:
        """Choose another proxy."""
        self.chosen = min(max(0, self.chosen + by), max(0, len(self.proxies) - 1))

    def step(self, proxy: str) -> dict[str, Any]:
        """The figures of the last second of a *proxy*."""
        return {**_QUIET, **self.figures.get(proxy, {})}

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each proxy."""
        return [self._row(proxy) for proxy in self.proxies]

    def _row(self, proxy: Mapping[str, Any]) -> tuple[str, ...]:
        step = self.step(proxy["name"])
        hits = sum(step["hits"].values())
        rates = [step[name] / self.seconds for name in ("sent", "received", "exchanges")]
        faults = [_fault(fault, proxy["fault_states"].get(fault["name"], {})) for fault in proxy["faults"]]
        mix = [f"{share['percent']:g}:{share['behavior']}" for share in proxy["mix"]]
        return (
            columns.cell(proxy["name"]),
            "yes" if proxy["enabled"] else "no",
            columns.cell(proxy["address"]),
            columns.cell(proxy["backend"]),
            str(step["open"]),
            f"{_bytes(rates[0])}/s",
            f"{_bytes(rates[1])}/s",
            f"{rates[2]:.0f}/s",
            f"{hits / self.seconds:.0f}/s",
            ", ".join([*mix, *faults]),
        )


def _fault(fault: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    facts = [columns.cell(fault["name"])]
    if not fault["enabled"]:
        facts.append("off")
    elif fault["probability"] < 1:
        facts.append(f"{fault['probability'] * 100:g} %")
    if state.get("seconds_left") is not None:
        facts.append(f"{state['seconds_left']:.0f} s left")
    return " ".join(facts)


def _event(kind: str, data: Mapping[str, Any]) -> str:
    """*data* in one line."""
    known = ("type", "at", "proxy", "hits", "elapsed", "offset")
    facts = [f"{name}={value}" for name, value in data.items() if name not in known and value is not None]
    return columns.cell(f"{_clock(data['at'])} {data['proxy']} {kind} {' '.join(facts)}")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def _plain(overview: Overview) -> str:
    """The screen as text."""
    rows = [_TITLES, *overview.rows()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_TITLES))]
    lines = []
    for number, row in enumerate(rows):
        mark = ">" if number == overview.chosen + 1 else " "
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"{mark} {'  '.join(cells)}".rstrip())
    return "\n".join([*lines, "", *overview.events, "", overview.note or _KEYS]) + "\n"


class _PlainScreen:
    """Writes the screen anew each time; where that is no terminal, one below the other."""

    def __enter__(self) -> _PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what was written."""

    def show(self, overview: Overview) -> None:
        click.echo((_CLEAR if sys.stdout.isatty() else "") + _plain(overview), nl=False)


class _RichScreen:
    """The screen as rich draws it."""

    def __init__(self) -> None:
        from rich.live import Live

        # It would put a stand-in for sys.stdout in its place, which is no terminal to read keys at.
        self._live = Live(screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def __enter__(self) -> _RichScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, overview: Overview) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(expand=True)
        for title in _TITLES:
            table.add_column(title)
        for number, row in enumerate(overview.rows()):
            table.add_row(*map(Text, row), style="reverse" if number == overview.chosen else None)
        events = [Text(line, no_wrap=True) for line in overview.events]
        self._live.update(Group(table, *events, Text(overview.note or _KEYS, style="dim")), refresh=True)


def _screen() -> _PlainScreen | _RichScreen:
    """What draws: rich where it is installed, on a terminal."""
    if sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            return _RichScreen()
    return _PlainScreen()


@click.command(
    "top", short_help="Show all proxies, live.", epilog=examples("vaurienctl top", "vaurienctl top --once --json")
)
@click.option("--once", is_flag=True, help="Show the figures of one second, and end.")
@pass_control
def top(control: CtlContext, once: bool) -> None:
    """Show all proxies, live: faults, traffic, hits and the last events.

    Keys: up and down (or k and j) choose a proxy, t switches it on or off, r removes its faults, a removes the faults
    of all, q quits. With rich (the extra 'tui') it is drawn in colors. With --json each second is a line.
    """
    overview, client = Overview(), control.client
    client.get_version()  # an interface that is not there, or refuses, is said at once; one that goes away may be back
    if control.as_json:
        for kind, data in client.live():
            if overview.take(kind, data):
                _read_proxies(client, overview)
            if kind == "Figures":
                steps = {one["name"]: overview.step(one["name"]) for one in overview.proxies}
                click.echo(json.dumps({**data, "proxies": steps}))
                if once:
                    break
        return
    _read_proxies(client, overview)
    news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_follow, args=(client, news.put), daemon=True).start()
    with _screen() as screen, _keys(news.put):
        while True:
            kind, data = news.get()
            if kind == "key":
                if data == "q":
                    return
                _press(data, client, overview)
            elif kind == "lost":
                overview.note = f"not connected, trying again: {data}"
            else:
                overview.note = "" if kind == "Hello" else overview.note
                if overview.take(kind, data):
                    _read_proxies(client, overview)
            if kind in ("Figures", "key", "lost"):
                screen.show(overview)
            if once and kind == "Figures":
                return


def _follow(client: Client, put: Callable[[tuple[str, Any]], None]) -> None:
    """Put each message of the stream, and begin it again when it breaks."""
    while True:
        try:
            for kind, data in client.live():
                put((kind, data))
            put(("lost", "the interface has ended"))
        except VaurienError as error:
            put(("lost", str(error)))
        time.sleep(AGAIN)


def _read_proxies(client: Client, overview: Overview) -> None:
    with contextlib.suppress(VaurienError):
        overview.proxies, overview.revision = client.list_proxies(), client.get_config()["revision"]
        overview.choose(0)


def _press(key: str, client: Client, overview: Overview) -> None:
    """Do what *key* stands for."""
    proxy = overview.proxy
    try:
        if key in ("j", "k"):
            overview.choose(1 if key == "j" else -1)
        elif key == "t" and proxy is not None:
            client.change_proxy(proxy["name"], enabled=not proxy["enabled"])
        elif key == "r" and proxy is not None:
            client.change_proxy(proxy["name"], faults=[], mix="")
        elif key == "a":
            for one in overview.proxies:
                client.change_proxy(one["name"], faults=[], mix="")
    except VaurienError as error:
        overview.note = str(error)
    _read_proxies(client, overview)


_ARROWS = {"\x1b[A": "k", "\x1b[B": "j", "\x1bOA": "k", "\x1bOB": "j"}
"""What terminals send for up and down."""


@contextlib.contextmanager
def _keys(put: Callable[[tuple[str, Any]], None]) -> Iterator[None]:
    """Put each key that is pressed, where there is a terminal to press one at."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield
        return
    import termios
    import tty

    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            if select.select([file], [], [], 0.1)[0]:
                text = os.read(file, 16).decode("latin-1")
                for sequence, key in _ARROWS.items():
                    text = text.replace(sequence, key)
                for key in text:
                    put(("key", key))

    tty.setcbreak(file)
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        termios.tcsetattr(file, termios.TCSADRAIN, before)


@click.command(
    "watch",
    short_help="Follow one proxy, a line a second.",
    epilog=examples("vaurienctl watch redis", "vaurienctl watch redis --count 10 --json"),
)
@click.argument("proxy")
@click.option("--count", type=click.IntRange(1), help="End after so many lines.")
@pass_control
def watch(control: CtlContext, proxy: str, count: int | None) -> None:
    """Follow one proxy: its figures, a line a second, and in between what becomes of its faults, and what fails."""
    client = control.client
    client.get_proxy(proxy)
    lines = 0
    for kind, data in client.live():
        if kind == "Figures":
            step = {**_QUIET, **data["proxies"].get(proxy, {})}
            if control.as_json:
                click.echo(json.dumps({"type": kind, "at": data["at"], "seconds": data["seconds"], **step}))
            else:
                click.echo(_line(data["at"], data["seconds"], step))
            lines += 1
            if lines == count:
                return
        elif kind in _TOLD and data["proxy"] == proxy and lines:
            click.echo(json.dumps({"type": kind, **data}) if control.as_json else _event(kind, data))


def _line(at: float, seconds: float, step: Mapping[str, Any]) -> str:
    hits = ", ".join(f"{columns.cell(name)} {count}" for name, count in step["hits"].items()) or "none"
    facts = [
        f"open {step['open']}",
        f"to backend {_bytes(step['sent'] / seconds)}/s",
        f"to client {_bytes(step['received'] / seconds)}/s",
        f"exchanges {step['exchanges'] / seconds:.0f}/s",
        f"failed dials {step['failed_dials']}",
        f"hits {hits}",
    ]
    return f"{_clock(at)}  {'  '.join(facts)}"
