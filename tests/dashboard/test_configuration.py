from __future__ import annotations

import json
import tomllib

import pytest

from tests.cli.programs import BOUND, PROGRAM
from tests.waiting import until

FAULTS = [{"behavior": "latency", "name": "slow", "options": {"latency": 5}, "probability": 0.5}]


def exported(page, name, folder):
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    download.value.save_as(folder / "file")
    return (folder / "file").read_text()


def test_how_it_was_started_is_shown_with_sources(tab, daemon):
    page = tab.open("#/configuration")
    row = page.get_by_role("row").filter(has_text="host").first
    row.get_by_text("127.0.0.1").wait_for()
    assert "command line" in row.inner_text()
    page.get_by_text(f"New proxies get the seed {daemon.ask('GET', '/settings')['seed']}").wait_for()


@pytest.mark.parametrize(("button", "name"), [("TOML", "a.toml"), ("ini (the first proxy)", "a.ini")])
def test_what_is_exported_is_a_file_that_vaurien_takes(tab, daemon, tmp_path, button, name):
    import subprocess

    daemon.proxy("web", "127.0.0.1:9", protocol="http", faults=FAULTS, mix="20:delay")
    page = tab.open("#/configuration")
    (tmp_path / name).write_text(exported(page, button, tmp_path))
    shown = subprocess.run(
        [*PROGRAM, "--config", str(tmp_path / name), "--show-config"], capture_output=True, text=True, timeout=BOUND
    )
    assert shown.returncode == 0, shown.stderr
    assert "latency probability=0.5 latency=5 name=slow" in shown.stdout or "name=slow" in shown.stdout
    if button == "TOML":
        [proxy] = tomllib.loads((tmp_path / name).read_text())["proxy"]
        assert (proxy["backend"], proxy["protocol"]) == ("127.0.0.1:9", "http")


def test_an_export_is_imported_again_and_its_difference_shown_before(tab, daemon, tmp_path):
    daemon.proxy("web", "127.0.0.1:9", faults=FAULTS)
    page = tab.open("#/configuration")
    text = exported(page, "JSON", tmp_path)
    file = json.loads(text)
    file["proxies"][0]["faults"][0]["options"]["latency"] = 7
    file["proxies"].append({"name": "new", "backend": "127.0.0.1:10"})
    page.get_by_label("or text").fill(json.dumps(file))
    page.get_by_role("button", name="Show what it would change").click()
    page.get_by_text("new: added").wait_for()
    page.get_by_text("web: faults").wait_for()
    assert len(daemon.ask("GET", "/proxies")["proxies"]) == 1
    page.get_by_role("button", name="Apply it").click()
    page.get_by_text("The configuration is applied").wait_for()
    until(lambda: len(daemon.ask("GET", "/proxies")["proxies"]) == 2)
    assert daemon.ask("GET", "/proxies/web/faults/slow")["options"] == {"latency": 7}


def test_toml_is_imported_as_json_is(tab, daemon, tmp_path):
    daemon.proxy("web", "127.0.0.1:9", faults=FAULTS, mix="20:delay")
    page = tab.open("#/configuration")
    text = exported(page, "TOML", tmp_path)
    page.get_by_label("or text").fill(text)
    page.get_by_role("button", name="Show what it would change").click()
    page.get_by_text("It changes nothing").wait_for()
    text = text.replace("latency=5", "latency=7")
    (tmp_path / "changed.toml").write_text(text + '\n[[proxy]]\nname = "new"\nbackend = "127.0.0.1:10"\n')
    page.get_by_label("File").set_input_files(tmp_path / "changed.toml")
    page.get_by_role("button", name="Show what it would change").click()
    page.get_by_text("new: added").wait_for()
    page.get_by_text("web: faults").wait_for()
    assert page.locator(".notice li").count() == 2
    assert len(daemon.ask("GET", "/proxies")["proxies"]) == 1
    page.get_by_role("button", name="Apply it").click()
    page.get_by_text("The configuration is applied").wait_for()
    until(lambda: len(daemon.ask("GET", "/proxies")["proxies"]) == 2)
    assert daemon.ask("GET", "/proxies/web/faults/slow")["options"] == {"latency": 7}


def test_a_file_that_cannot_be_imported_is_told(tab, daemon):
    page = tab.open("#/configuration")
    for text, error in [
        ("nonsense", "not valid TOML"),
        ("{]", "This cannot be imported"),
        ("{}", 'a list "proxies"'),
        ('[[proxy]]\nname = "$' + '{HOME}"', "would be a variable of the environment"),
    ]:
        page.get_by_label("or text").fill(text)
        page.get_by_role("button", name="Show what it would change").click()
        page.get_by_text(error).wait_for()
    page.get_by_label("or text").fill('{"proxies": [{"name": "web", "backend": "nowhere"}]}')
    page.get_by_role("button", name="Show what it would change").click()
    page.get_by_role("button", name="Apply it").click()
    page.get_by_text("host:port").first.wait_for()


@pytest.mark.parametrize("button", ["Toxiproxy JSON", "TOML"])
def test_an_export_starts_another_program(new_tab, new_daemon, tmp_path, button):
    first = new_daemon()
    address = first.proxy("web", "127.0.0.1:9", faults=FAULTS)["address"]
    text = exported(new_tab(first.origin).open("#/configuration"), button, tmp_path)
    first.stop()
    if button == "Toxiproxy JSON":
        [proxy] = json.loads(text)
        assert (proxy["name"], proxy["upstream"], proxy["toxics"][0]["type"]) == ("web", "127.0.0.1:9", "latency")
    file = tmp_path / ("it.toml" if button == "TOML" else "it.json")
    file.write_text(text)
    proxy = new_daemon("-config", str(file)).ask("GET", "/proxies/web")
    assert (proxy["address"], proxy["backend"]) == (address, "127.0.0.1:9")
    [fault] = proxy["faults"]
    assert (fault["name"], fault["options"]["latency"], fault["probability"]) == ("slow", 5, 0.5)
