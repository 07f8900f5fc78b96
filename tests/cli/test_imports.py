"""What a start must not import: who asks for help, or wants a plain proxy, does not wait for what others need."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

INTERFACE = {"uvicorn", "h11", "prometheus_client", "vaurien.control"}
"""The HTTP interface, and its metrics."""

OTHERS = {"uvloop", "http.client", "urllib.request", "multiprocessing", "vaurien.client", "vaurien.testing", "pytest"}
"""Another loop, clients, processes, the kit for tests."""

SERVING = {
    "asyncio",
    "concurrent.futures",
    "ssl",
    "subprocess",
    "vaurien.engine",
    "vaurien.proxies.hub",
    "vaurien.observers",
}
"""What moves bytes."""

READING = {"click", "msgspec", "importlib.metadata", "vaurien.config", "vaurien.plugins", "vaurien.options"}
"""What reads options and finds plugins."""

LATER = {"importlib.metadata", "json", "encodings.idna", "concurrent.futures.thread"}
"""What looks for plugins of others, writes JSON, prepares names for the resolver, and writes a file of proxies."""

ALL = INTERFACE | OTHERS | SERVING | READING


def imported(arguments, served=False):
    """The modules that a new interpreter imports, *served*: until it says that it listens, and is told to stop."""
    command = [sys.executable, "-X", "importtime", *arguments]
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("VAURIEN_")
    }  # they may be options
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables) as process:
        if served:
            process.stdout.readline()
            process.terminate()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    return set(re.findall(r"\| +([\w.]+)$", log, re.MULTILINE))


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["-m", "vaurien", "--help"], INTERFACE | OTHERS | SERVING | {"shutil", "json"}),
        (["-m", "vaurien", "--version"], INTERFACE | OTHERS | SERVING),
        (["-m", "vaurien", "--show-config"], INTERFACE | OTHERS | SERVING),
        (["-m", "vaurien.cli.ctl.main", "--help"], INTERFACE | {"msgspec", "vaurien.engine", "vaurien.proxies.hub"}),
        (["-c", "import vaurien"], ALL),
        (["-c", "from vaurien import Client"], INTERFACE | READING | {"vaurien.engine", "vaurien.proxies.hub"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",  # a set has another order each time
)
def test_what_does_not_serve_imports_little(arguments, unwanted):
    assert imported(arguments) & unwanted == set()


@pytest.mark.parametrize("more", [[], ["--behavior", "20:delay"], ["--fault", "latency latency=10"]], ids=str)
def test_a_plain_proxy_imports_no_interface(more):
    arguments = ["-m", "vaurien", "--proxy", "127.0.0.1:0", "--backend", "127.0.0.1:1", *more]
    found = imported(arguments, served=True)
    assert found >= {"asyncio", "vaurien.engine"}  # it did serve
    assert found & (INTERFACE | OTHERS | LATER) == set()


def test_one_with_the_interface_imports_it():
    """These lists name what there is: a module that has got another name would never be found."""
    arguments = ["-m", "vaurien", "--proxy", "127.0.0.1:0", "--backend", "127.0.0.1:1", "--http", "--http-port", "0"]
    assert imported(arguments, served=True) >= {"uvicorn", "h11", "vaurien.control"}


def test_the_plugin_for_pytest_does_not_slow_other_tests_down():
    found = imported(["-c", "import vaurien.pytest_plugin"])
    assert found & (INTERFACE | SERVING - {"subprocess"} | {"uvloop", "http.client", "urllib.request"}) == set()
