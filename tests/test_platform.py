"""One switch takes the ways of Linux away, all of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vaurien import platform

FACTS = {name for name, value in vars(platform).items() if name.isupper() and isinstance(value, bool)}


def facts(**environment):
    """Those that are true in a new process."""
    code = f"from vaurien import platform; print(*(name for name in {sorted(FACTS)} if getattr(platform, name)))"
    clean = {name: value for name, value in os.environ.items() if name != platform.SWITCH}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="the ways of Linux")
def test_linux_has_them_all_until_they_are_switched_off():
    assert facts() == FACTS
    assert facts(VAURIEN_PORTABLE="1") == {"ADDRESS_REUSED"}


def test_without_its_own_cores_a_process_counts_those_of_the_machine(monkeypatch):
    monkeypatch.setattr(platform, "CORES_GRANTED", False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert platform.cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert platform.cores() == 1
