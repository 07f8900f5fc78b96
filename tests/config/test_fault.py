from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien import options, plugins
from vaurien.config import fault
from vaurien.errors import OptionError, UnknownName, VaurienError
from vaurien.model import Fault, Scope, Stream, Window


def test_all_of_it():
    text = (
        "latency name=slow latency=100 jitter=20ms stream=downstream probability=0.3 scope=chunk ttl=30s "
        "skip=1 count=2 every=3 for=1m match.path='glob:/a b/*' match.client=10.0.0.0/8"
    )
    assert fault.parse(text) == Fault(
        name="slow",
        behavior="latency",
        options={"latency": 100.0, "jitter": 20.0},
        stream=Stream.DOWNSTREAM,
        probability=0.3,
        scope=Scope.CHUNK,
        window=Window(skip=1, count=2, every=3, seconds=60.0),
        match={"path": "glob:/a b/*", "client": "10.0.0.0/8"},
        ttl=30.0,
    )


def test_a_behavior_alone_is_a_fault_of_its_name():
    assert fault.parse("noop") == Fault(name="noop", behavior="noop")


def test_a_table_says_the_same():
    table = {"behavior": "latency", "latency": "100ms", "match": {"header": {"X-Slow": "yes"}}, "for": 2}
    assert fault.read(table, lambda key: key) == fault.parse("latency latency=100 for=2 match.header.X-Slow=yes")


def test_backslashes_are_the_patterns_own():
    assert fault.parse(r"latency match.path=regex:^/v\d$").match == {"path": r"regex:^/v\d$"}


def test_dashes_are_underscores():
    assert fault.parse("reset_peer after-bytes=4KiB").options == {"after_bytes": 4096}


@pytest.fixture
def clash(monkeypatch):
    class Clash:
        options = {"count": ("How many", int, 1), "name": ("A name", str, "")}

        def __call__(self, client_sock, backend_sock, to_backend): ...

    monkeypatch.setitem(plugins._registered["handler"], "clash", Clash)


def test_an_option_that_is_called_as_a_field_has_a_way_in(clash):
    made = fault.parse("clash count=3 options.count=4 options.name=x")
    assert (made.window.count, made.options) == (3, {"count": 4, "name": "x"})
    assert fault.parse(fault.text(made)) == made


def test_no_built_in_behavior_has_an_option_that_is_called_as_a_field():
    taken = {"match", "options", "behavior", *fault.FIELDS}
    for name in plugins.names("behavior"):
        assert not taken & {option.name for option in plugins.find(name, "behavior").declarations}


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("latncy", UnknownName, "unknown behavior or handler 'latncy' (from here); did you mean 'latency'?"),
        (
            "latency jiter=1",
            UnknownName,
            "unknown option 'jiter' of fault 'latency' (from here); did you mean 'jitter'?",
        ),
        ("latency probabilty=1", UnknownName, "did you mean 'probability'?"),
        (
            "latency probability=2",
            OptionError,
            "fault 'latency' option probability: '2' (from here) is not valid; expect",
        ),
        ("latency stream=up", OptionError, "expected one of upstream, downstream, both"),
        (
            "latency every=0",
            OptionError,
            "fault 'latency' option every: '0' (from here) is not valid; expected a whole n",
        ),
        (
            "latency for=-1",
            OptionError,
            "fault 'latency' option for: '-1' (from here) is not valid; expected seconds, ze",
        ),
        (
            "latency latency=soon",
            OptionError,
            "behavior 'latency' option latency: 'soon' (from here) is not valid; expec",
        ),
        (
            "latency 100",
            OptionError,
            "fault 'latency': '100' (from here) is not valid; expected name=value, such as prob",
        ),
        (
            "latency latency=1 latency=2",
            OptionError,
            "fault 'latency' option latency: '2' (from here) is not valid; expe",
        ),
        ("latency=100", OptionError, "expected a behavior's name first, such as: latency latency=100"),
        ("", OptionError, "expected a behavior's name first"),
        ("latency match.path='a", OptionError, "expected a closing quote"),
        ("slicer average_size=1 size_variation=2", OptionError, "size_variation to be at most average_size, 1"),
    ],
)
def test_what_is_wrong_is_said(text, kind, message):
    with pytest.raises(kind) as raised:
        fault.parse(text, "here")
    assert message in str(raised.value)


def test_a_table_without_a_behavior_is_refused():
    with pytest.raises(OptionError, match=r"fault option behavior: None \(from behavior\) is not valid"):
        fault.read({"latency": 1}, lambda key: key)


FAULTS = st.builds(
    Fault,
    name=st.text("abc '\"\\=,#", min_size=1),
    behavior=st.just("latency"),
    options=st.fixed_dictionaries({}, optional={"latency": st.floats(0, 1e6), "correlation": st.floats(0, 1)}),
    stream=st.sampled_from(Stream),
    probability=st.floats(0, 1),
    scope=st.sampled_from(Scope),
    window=st.builds(Window, skip=st.integers(0, 99), count=st.none() | st.integers(0, 99), every=st.integers(1, 9)),
    match=st.dictionaries(st.sampled_from(["path", "header.a"]), st.text("abc '\"\\=,#")),
    ttl=st.none() | st.floats(0, 1e9),
)


ITEMS = st.text("ab '\"\\,=", min_size=1).filter(lambda text: text.strip() == text)


@given(st.lists(ITEMS))
def test_any_item_of_a_list_can_be_written(items):
    [told] = [one for one in plugins.find("http_headers", "behavior").declarations if one.name == "remove"]
    assert tuple(told.convert(options.list_text(items))) == tuple(items)


def test_a_comma_of_an_item_is_written_behind_a_backslash():
    made = fault.parse(r"http_headers 'set=Accept: a\, b,X-A: \d,X-B: c\\,X-C: d'")
    assert tuple(made.options["set"]) == ("Accept: a, b", r"X-A: \d", "X-B: c\\", "X-C: d")
    assert fault.parse(fault.text(made)) == made


@given(FAULTS)
def test_a_fault_as_text_is_the_fault_again(made):
    assert fault.parse(fault.text(made)) == made


@given(st.text())
def test_any_text_is_a_fault_or_refused(text):
    with contextlib.suppress(VaurienError):
        assert fault.parse(text).behavior
