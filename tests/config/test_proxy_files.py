"""Proxies as the text of files, and back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vaurien import plugins
from vaurien.config import ini, load, proxy_files, toml
from vaurien.config.fault import parse as parse_fault
from vaurien.config.layers import Given
from vaurien.errors import VaurienError
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig, Share, Window

SLOW = Fault(
    "a slow one",
    "latency",
    {"latency": 5.0},
    stream="upstream",
    probability=0.5,
    window=Window(count=3, seconds=5.0),
    match={"client": "10.0.0.0/8"},
    ttl=9.0,
    expect_hits="1..3",
)
PLAIN = ProxyConfig(name="plain", listen=Address("127.0.0.1", 0), backend=Address("127.0.0.1", 9))
FULL = ProxyConfig(
    name='a "full" one \x7f\N{SNOWMAN}\\',
    listen=Address("127.0.0.1", 8001),
    backend=Address.parse("tls://localhost:9?verify=no"),
    protocol="http",
    policy=Policy(Mix.parse("20:delay,10:error"), (SLOW, Fault("freeze", "freeze", enabled=False))),
    seed="seven",
    timeout=3.5,
    stay_connected=True,
    max_connections=5,
    route=("*.example.test=127.0.0.1:8",),
    tls=("auto",),
    tls_alpn=("h2", "http/1.1"),
    enabled=False,
)


def permit(name):
    return plugins.find_for_caller(name, "behavior", "handler")


def loaded(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return load({}, {}, Given(str(folder / name), "a test")).proxies


def test_a_file_in_toml_stands_for_the_same_proxies(tmp_path):
    assert loaded(tmp_path, "a.toml", proxy_files.as_toml([PLAIN, FULL])) == (PLAIN, FULL)


def test_an_ini_file_stands_for_the_same_proxy_but_its_switch(tmp_path):
    full = msgspec.structs.replace(FULL, name="full")
    text = proxy_files.as_ini(full)
    assert loaded(tmp_path, "a.ini", text) == (msgspec.structs.replace(full, enabled=True),)
    assert "# enabled = false" in text


# One line that can be read back, as ini has it.
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))) | st.sampled_from(
    [
        "${HOME}",
        "$${HOME}",
        "a${HOME}$$${PATH}$",
        "%(name)s %% %",
        ' "quoted" ',
        "'",
        '"',
        "#x",
        ";x",
        "1.0",
        "true",
        "a = b",
    ]
)


@given(TEXTS, TEXTS)
def test_any_name_and_option_is_read_as_it_was_written(name, text):
    assume(name not in ("", ".", "..") and text.isprintable())
    fault = Fault("it", "error", {"message": text})
    one = msgspec.structs.replace(PLAIN, name=name, protocol="http", policy=Policy(faults=(fault,)))
    for read, written in ((toml.read, proxy_files.as_toml([one])), (ini.read, proxy_files.as_ini(one))):
        [section] = read(written, "a file", {"HOME": "/root", "PATH": "/bin"}).values()
        assert section.values["name"].value == name
        [line] = faults_of(section.values["fault"].value)
        assert parse_fault(line).options == fault.options
    [again] = proxy_files.from_toml(proxy_files.as_toml([one]), permit)
    assert again["name"] == name


def faults_of(value):
    return value.split("\n") if isinstance(value, str) else value


def test_what_a_file_has_no_place_for_is_said_in_it(tmp_path):
    mix = Mix((Share(20.0, "delay", {"sleep": 3.0}),))
    config = msgspec.structs.replace(
        PLAIN, protocol="http", protocol_options={"overwrite_host_header": True}, policy=Policy(mix)
    )
    text = proxy_files.as_toml([config])
    assert '# not said here: the options of the protocol, {"overwrite_host_header": true}' in text
    assert '# not said here: the options of delay in the mix, {"sleep": 3.0}' in text
    [read] = loaded(tmp_path, "a.toml", text)
    assert (read.protocol, str(read.policy.mix)) == ("http", "20:delay")


def test_what_is_read_is_what_was_written():
    plain, full = proxy_files.from_toml(proxy_files.as_toml([PLAIN, FULL]), permit)
    assert plain == {
        "name": "plain",
        "listen": "127.0.0.1:0",
        "backend": "127.0.0.1:9",
        "protocol": "tcp",
        "seed": "0",
        "mix": [],
        "faults": [],
        "enabled": True,
    }
    assert full["faults"] == [msgspec.to_builtins(one, enc_hook=str) for one in FULL.policy.faults]
    said = {name: value for name, value in full.items() if name not in ("faults", "mix", "listen", "backend")}
    assert said == {name: getattr(FULL, name) for name in said}
    assert [(share["percent"], share["behavior"]) for share in full["mix"]] == [(20.0, "delay"), (10.0, "error")]
    assert full["backend"] == "tls://localhost:9?verify=no"


def test_faults_may_be_tables_and_texts_in_lines():
    text = """
[[proxy]]
name = "a"
timeout = "500ms"
mix = ["20:delay", "10:error"]

[[proxy.fault]]
behavior = "latency"
latency = 7

[[proxy]]
name = "b"
fault = "freeze\\nlatency latency=3"
"""
    one, other = proxy_files.from_toml(text, permit)
    assert (one["timeout"], [share["behavior"] for share in one["mix"]]) == (0.5, ["delay", "error"])
    assert [fault["options"] for fault in one["faults"]] == [{"latency": 7.0}]
    assert [fault["name"] for fault in other["faults"]] == ["freeze", "latency"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[proxy", "the text: not valid TOML: "),
        ("a = " + "[" * 10_000, "the text: its values are nested too deeply"),
        ("[[proxy]]", "the text line 1 [[proxy]]: it has no name; expected one, such as name = 'redis'"),
        ('[[proxy]]\nname = "a"\nport = 1', "unknown key 'port' of [[proxy]]"),
        ('[[proxy]]\nname = "a"\ntimeout = "long"', "the text line 3 [[proxy]] timeout"),
        ('[vaurien]\nbackend = "h:1"', "(from the text line 1 [vaurien]); known are: [[proxy.fault]], [[proxy]]"),
        ('[DEFAULT]\nextends = "/etc/passwd"', "unknown table '[DEFAULT]'"),
        ('[[proxy]]\nname = "${HOME}"', "the text: ${HOME} would be a variable of the environment; expected its value"),
        ('[[proxy]]\nname = "a"\nfault = 3', "3"),
        ('[[proxy]]\nname = "a"\n[[proxy.fault]]\nlatency = 3', "behavior"),
        ('[[proxy]]\nname = "a"\nfault = "freez"', "did you mean 'freeze'"),
        ('[[proxy]]\nname = "a"\nfault = "antigravity.Fault x=1"', "'antigravity.Fault' cannot be used"),
        ('[[proxy]]\nname = "a"\nfault = """freeze\nanti\'gravity.F\'"""', "cannot be used"),
        ('[[proxy]]\nname = "a"\n[[proxy.fault]]\nbehavior = "antigravity.Fault"', "cannot be used"),
        ('[[proxy]]\nname = "a"\nfault = [{behavior = "antigravity.Fault"}]', "cannot be used"),
    ],
)
def test_what_cannot_be_read(text, message):
    with pytest.raises(VaurienError) as raised:
        proxy_files.from_toml(text, permit)
    assert message in str(raised.value)
