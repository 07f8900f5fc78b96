from __future__ import annotations

import pytest

from vaurien import plugins
from vaurien.cli import help, main

SCREEN = 60
"""Lines of a page of help, in a terminal of 80 columns."""


@pytest.fixture
def page(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "82")

    def shown(*topic):
        assert main.main(["--help", *topic]) == 0
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize("topic", [topic for topic in help.TOPICS if topic != "all"])
def test_a_page_fits_a_screen(page, topic):
    words = topic.replace("behavior NAME", "behavior bandwidth").replace("protocol NAME", "protocol http")
    words = words.replace("FAMILY", "tls").split()
    assert 0 < len(page(*words).splitlines()) <= SCREEN


def test_the_first_page_fits_a_screen_and_leads_to_the_others(page):
    lines = page().splitlines()
    assert len(lines) <= SCREEN
    for topic in help.TOPICS:
        assert topic in " ".join(lines[-3:])
    assert not any(line.lstrip().startswith("--behavior-") for line in lines)


def test_the_page_of_a_behavior_has_its_options_and_no_others(page):
    text = page("behavior", "latency")
    assert "--behavior-latency-jitter MILLISECONDS" in text
    assert text.count("--behavior-") == text.count("--behavior-latency-")


def test_the_pages_of_behaviors_have_each_on_a_line_of_its_own(page):
    found = []
    general = page("behaviors").split("More of them:")[0]
    for text in (general, *(page("behaviors", family) for family in ("grpc", "h2", "stream", "tls", "ws"))):
        names = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
        assert names == sorted(names)
        found += names
    assert sorted(found) == plugins.names("behavior")


def test_the_presets_have_a_page(page):
    assert "postgres.deadlock" in page("presets")


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        (["behavor"], "unknown topic 'behavor' of --help; did you mean 'behaviors'?"),
        (["behavior", "latncy"], "unknown behavior 'latncy'; did you mean 'latency'?"),
    ],
)
def test_a_topic_that_there_is_not(capsys, topic, message):
    assert main.main(["--help", *topic]) == 2
    assert capsys.readouterr().err == f"vaurien: {message}\n"


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version(capsys, flag):
    assert main.main([flag]) == 0
    assert capsys.readouterr().out.startswith("vaurien 3.")


def test_there_is_colour_on_a_terminal_alone(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    from vaurien.cli.configure import coloured

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal())
