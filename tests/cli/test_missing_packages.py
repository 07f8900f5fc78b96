"""A command without the package that it needs names the package, and the extra that installs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from vaurien.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("module", "arguments", "expected"),
    [
        ("nats", ["serve", "-port", "0", "--fleet", "nats://127.0.0.1:1"], "pip install nats-py (the extra 'fleet')"),
        ("mcp", ["mcp"], "pip install mcp (the extra 'mcp')"),
        ("cryptography", ["ca"], "pip install cryptography (the extra 'tls')"),
    ],
)
def test_it_ends_and_names_the_package(module, arguments, expected):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_goes_on_and_leaves_tls_closed():
    arguments = ["run", "--fault", "latency latency=1ms", "--", "true"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "cryptography", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        "warning: TLS passes through unopened: TLS needs the package cryptography; "
        "expected pip install cryptography (the extra 'tls')" in done.stderr
    )
