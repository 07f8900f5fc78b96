from __future__ import annotations

import pytest

from tests.waiting import until
from vaurien import plugins

OTHER = {"number": 3, "integer": 2, "string": "x", "array": ["X-A: b"]}
PARTICULAR = {
    ("corrupt", "last"): 9,
    ("error", "status"): 500,
    ("error", "code"): None,
    ("error", "message"): None,
    ("transient", "status"): 500,
    ("transient", "code"): None,
    ("transient", "message"): None,
    ("http_headers", "remove"): ["X-C"],
    ("grpc_status", "details"): ["type.example/Detail=YQ=="],
    ("slicer", "average_size"): 7,
    ("http_status", "status"): 418,
}
"""What suits an option of a behavior where the type alone does not say it; ``None``: it is left alone."""


def options_of(behavior):
    """Other options than those that *behavior* has without being told."""
    found = {}
    for name, schema in behavior["options"]["properties"].items():
        kinds = [schema, *schema.get("anyOf", [])]
        kind = next((one["type"] for one in kinds if one.get("type") not in (None, "null")), None)
        if (behavior["name"], name) in PARTICULAR:
            value = PARTICULAR[behavior["name"], name]
        elif "enum" in schema:
            value = next(one for one in schema["enum"] if one != schema["default"])
        elif kind == "boolean":
            value = not schema["default"]
        else:
            value = OTHER[kind]
            least = max([one["minimum"] for one in kinds if "minimum" in one], default=0)
            value = least + 1 if least > 2 else value
            most = min([one["maximum"] for one in kinds if "maximum" in one], default=value)
            value = 0.5 if kind == "number" and most < 3 else value
        if value is not None:
            found[name] = value
    return found


def fill(page, name, value):
    box = page.get_by_label(name.replace("_", " "), exact=True).first
    if isinstance(value, bool):
        box.set_checked(value)
    elif box.evaluate("element => element.tagName") == "SELECT":
        box.select_option(str(value))
    else:
        box.fill("\n".join(value) if isinstance(value, list) else str(value))


def test_every_fault_is_added_with_other_options_and_seen_as_typed(tab, daemon):
    found = {}
    for protocol in ("http", *plugins.names("protocol")):
        for one in daemon.ask("GET", f"/behaviors?protocol={protocol}")["behaviors"]:
            found.setdefault(one["name"], (protocol, one))
    assert set(found) == set(plugins.names("behavior"))
    for protocol in {protocol for protocol, _ in found.values()}:
        daemon.proxy(protocol, "127.0.0.1:9", protocol=protocol)
    for name, (protocol, behavior) in found.items():
        page = tab.open(f"#/proxy/{protocol}/add")
        page.get_by_label("Behavior").select_option(behavior["name"])
        typed = options_of(behavior)
        for option, value in typed.items():
            fill(page, option, value)
        page.get_by_role("button", name="Add the fault").click()
        errors = page.locator("p.error:not(:empty)")
        until(lambda page=page, errors=errors: not page.url.endswith("/add") or errors.count())
        assert page.url.endswith(f"#/proxy/{protocol}"), (name, errors.all_inner_texts())
        fault = daemon.ask("GET", f"/proxies/{protocol}/faults/{name}")
        assert fault["options"] == typed
        daemon.ask("DELETE", f"/proxies/{protocol}/faults/{name}")


def test_everything_else_of_a_fault_is_typed_too(tab, daemon):
    daemon.proxy("web", "127.0.0.1:9", protocol="http")
    page = tab.open("#/proxy/web/add")
    page.get_by_label("Behavior").select_option("delay")
    page.get_by_label("Name", exact=True).fill("slow reads")
    page.get_by_label("Direction").select_option("downstream")
    page.get_by_label("probability", exact=True).fill("0.25")
    page.get_by_label("scope").select_option("exchange")
    page.get_by_label("Removes itself after").fill("30")
    page.get_by_text("Window: which occasions count").click()
    page.get_by_label("skip").fill("2")
    page.get_by_label("every").fill("3")
    page.get_by_role("button", name="Add a condition").click()
    page.get_by_label("Field").fill("path")
    page.get_by_label("Pattern").fill("glob:/api/*")
    command = page.get_by_role("group", name="Command line").inner_text()
    page.get_by_role("button", name="Add the fault").click()
    page.get_by_text("Fault slow reads is added").wait_for()
    fault = daemon.ask("GET", "/proxies/web/faults/slow%20reads")
    assert (fault["stream"], fault["probability"], fault["scope"], fault["ttl"]) == ("downstream", 0.25, "exchange", 30)
    assert fault["window"] == {"skip": 2, "count": None, "every": 3, "seconds": None}
    assert fault["match"] == {"path": "glob:/api/*"}
    from_command_line = parsed(command)
    assert {key: fault[key] for key in from_command_line} == from_command_line


def parsed(command):
    """The fault that the command line *command* stands for, as the API shows one."""
    import shlex

    import msgspec

    from vaurien.config.fault import parse

    words = shlex.split(command)
    assert words[:-1] == ["vaurien", "--backend", "127.0.0.1:9", "--protocol", "http", "--fault"]
    return msgspec.to_builtins(parse(words[-1]))


@pytest.mark.parametrize(
    ("label", "text", "error"),
    [("latency", "soon", "soon"), ("correlation", "2", "1"), ("probability", "7", "1")],
)
def test_an_error_is_beside_its_field(tab, daemon, label, text, error):
    daemon.proxy("web", "127.0.0.1:9")
    page = tab.open("#/proxy/web/add")
    page.get_by_label("Behavior").select_option("latency")
    box = page.get_by_label(label, exact=True).first
    box.fill(text)
    page.get_by_role("button", name="Add the fault").click()
    until(lambda: box.get_attribute("aria-invalid") == "true")
    message = page.locator(f"#{box.get_attribute('aria-errormessage')}").inner_text()
    assert error in message
    assert box.evaluate("element => element === document.activeElement")
    assert daemon.ask("GET", "/proxies/web")["faults"] == []


def test_what_is_not_typed_any_more_is_as_it_would_be_anyway(tab, daemon):
    fault = {
        "behavior": "latency",
        "name": "slow",
        "options": {"latency": 5, "jitter": 2},
        "ttl": 300,
        "probability": 0.5,
    }
    daemon.proxy("web", "127.0.0.1:9", faults=[{**fault, "match": {"client": "10.0.0.1"}, "window": {"skip": 1}}])
    page = tab.open("#/proxy/web/fault/slow")
    page.get_by_label("jitter").fill("0")
    page.get_by_label("Removes itself after").fill("")
    page.get_by_label("probability", exact=True).fill("1")
    page.get_by_label("skip").fill("0")
    page.get_by_role("button", name="Remove this condition").click()
    page.get_by_role("button", name="Save the fault").click()
    page.get_by_text("Fault slow is changed").wait_for()
    changed = daemon.ask("GET", "/proxies/web/faults/slow")
    assert (changed["options"], changed["ttl"], changed["probability"]) == ({"latency": 5}, None, 1)
    assert (changed["match"], changed["window"]["skip"]) == ({}, 0)


def test_only_faults_that_act_on_the_protocol_are_offered(tab, daemon):
    daemon.proxy("plain", "127.0.0.1:9")
    page = tab.open("#/proxy/plain/add")
    page.get_by_label("Behavior").wait_for()
    offered = page.get_by_label("Behavior").locator("option").all_inner_texts()
    assert "latency" in offered
    assert "http_status" not in offered


def test_the_second_page_sees_what_the_first_has_changed(new_tab, daemon):
    fault = {"behavior": "latency", "name": "slow", "options": {"latency": 5}}
    daemon.proxy("web", "127.0.0.1:9", faults=[fault])
    one, other = (new_tab(daemon.origin).open("#/proxy/web/fault/slow") for _ in range(2))
    other.get_by_label("jitter").fill("1")
    one.get_by_label("latency", exact=True).fill("7")
    one.get_by_role("button", name="Save the fault").click()
    one.get_by_text("Fault slow is changed").wait_for()
    other.get_by_text("changed elsewhere meanwhile:").wait_for()
    other.get_by_text("options.latency: 5 → 7").wait_for()
    other.get_by_role("button", name="Save the fault").click()
    other.get_by_text("the fault was changed elsewhere meanwhile; look above").wait_for()
    assert daemon.ask("GET", "/proxies/web/faults/slow")["options"] == {"latency": 7}
    other.get_by_role("button", name="Take what it is now").click()
    other.get_by_label("jitter").fill("2")
    other.get_by_role("button", name="Save the fault").click()
    other.get_by_text("Fault slow is changed").wait_for()
    assert daemon.ask("GET", "/proxies/web/faults/slow")["options"] == {"latency": 7, "jitter": 2}


def test_a_fault_that_vanishes_while_its_form_is_open_can_be_added_again(tab, daemon):
    fault = {"behavior": "latency", "name": "slow", "options": {"latency": 5}}
    daemon.proxy("web", "127.0.0.1:9", faults=[fault])
    page = tab.open("#/proxy/web/fault/slow")
    page.get_by_label("latency", exact=True).fill("9")
    daemon.ask("DELETE", "/proxies/web/faults/slow")
    page.get_by_text("This fault is gone").wait_for()
    page.get_by_role("button", name="Add the fault").click()
    page.get_by_text("Fault slow is added").wait_for()
    assert daemon.ask("GET", "/proxies/web/faults/slow")["options"] == {"latency": 9}


def test_a_preset_is_added(tab, daemon):
    daemon.proxy("web", "127.0.0.1:9")
    page = tab.open("#/proxy/web/add")
    page.get_by_text("Use a preset").click()
    page.get_by_label("Preset").select_option("3g")
    page.get_by_role("button", name="Add the preset").click()
    page.get_by_text("Preset 3g is added").wait_for()
    assert "3g-latency" in [one["name"] for one in daemon.ask("GET", "/proxies/web")["faults"]]


def test_a_fault_or_a_proxy_that_is_not_there_is_said(tab, daemon):
    daemon.proxy("web", "127.0.0.1:9")
    tab.open("#/proxy/web/fault/none").get_by_text("Proxy web has no fault none").wait_for()
    tab.open("#/proxy/none/add").get_by_text("There is no proxy none").wait_for()
