"""Command lines and files as the first releases documented them."""

from __future__ import annotations

import pytest

from vaurien import config
from vaurien.config import Given, early_spellings, ini


@pytest.mark.parametrize(
    ("typed", "now", "spelling"),
    [
        ("--local localhost:8000", "--proxy localhost:8000", "--proxy"),
        ("--local=localhost:8000", "--proxy=localhost:8000", "--proxy"),
        ("--distant localhost:80", "--backend localhost:80", "--backend"),
        ("--handlers.delay.sleep 2", "--handler-delay-sleep 2", "--handler-delay-sleep"),
        ("--handlers.delay.sleep=2", "--handler-delay-sleep=2", "--handler-delay-sleep"),
        ("--handlers-delay-sleep=2", "--handler-delay-sleep=2", "--handler-delay-sleep"),
        ("--handlers.error.http=1", "--protocol http", "--protocol http"),
        ("--handlers.error.http 1", "--protocol http", "--protocol http"),
        ("--handlers.error.http", "--protocol http", "--protocol http"),
        ("--handler-error-http=1", "--protocol http", "--protocol http"),
        ("--handlers.error.http=0", "", "--protocol http"),
        ("--handler-error-protocol http", "--protocol http", "--protocol"),
        ("--handler_error_protocol=http", "--protocol=http", "--protocol"),
    ],
)
def test_a_flag_is_taken_with_a_line_that_says_the_new_spelling(typed, now, spelling):
    words, lines = early_spellings.of_arguments(typed.split())
    assert words == now.split()
    flag = typed.replace("=", " ").split()[0]
    assert lines == [f"{flag} is the spelling of an early release; write {spelling}"]


@pytest.mark.parametrize(
    "words", ["--proxy localhost:8000 --backend localhost:80", "--handler-delay-sleep 2", "--local-x", "-h", ""]
)
def test_other_words_stay_as_they_are(words):
    assert early_spellings.of_arguments(words.split()) == (words.split(), [])


INI = """\
[vaurien]
local = localhost:8000
distant = localhost:9000
behavior = 20:delay,10:error

[handlers.delay]
sleep = 2

[handler:error]
http = 1
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "early.ini"
        path.write_text(text, encoding="utf-8")
        return config.load({}, {}, Given(str(path), "--config"))

    return read


def test_a_file_is_read_with_a_line_for_each_old_spelling(read, tmp_path):
    configuration = read(INI)
    (proxy,) = configuration.proxies
    assert (str(proxy.listen), str(proxy.backend), proxy.protocol) == ("localhost:8000", "localhost:9000", "http")
    assert [(share.percent, share.behavior, dict(share.options)) for share in proxy.policy.mix.shares] == [
        (20, "delay", {"sleep": 2.0}),
        (10, "error", {}),
    ]
    path, protocol = tmp_path / "early.ini", "[vaurien] protocol = http"
    assert list(configuration.warnings) == [
        f"{path} line 2 [vaurien] local: local is the spelling of an early release; write proxy",
        f"{path} line 3 [vaurien] distant: distant is the spelling of an early release; write backend",
        f"{path} line 6: [handlers.delay] is the spelling of an early release; write [handler:delay]",
        f"{path} line 10 [handler:error] http: http is the spelling of an early release; write {protocol}",
    ]


@pytest.mark.parametrize(
    ("error", "protocol"), [("protocol = http", "http"), ("http = 0", "tcp"), ("http = no\nprotocol = smtp", "smtp")]
)
def test_the_protocol_of_errors_is_the_protocol_of_the_proxy(read, error, protocol):
    assert read(f"[vaurien]\nbackend = localhost:9000\n[handlers.error]\n{error}\n").proxies[0].protocol == protocol


def test_todays_spelling_comes_first(read):
    text = (
        "[vaurien]\nproxy = localhost:1\nbackend = localhost:9000\nprotocol = smtp\n[handler:error]\nprotocol = http\n"
    )
    assert read(text).proxies[0].protocol == "smtp"


def test_a_class_of_ones_own_keeps_its_options():
    tables = ini.read("[handler:error]\ncallable = my.Error\nprotocol = http\n", "early.ini", {})
    now, lines = early_spellings.of_tables(tables)
    assert (now, lines) == (tables, [])
