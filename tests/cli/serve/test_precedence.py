"""Where the state file and the configuration do not say the same."""

from __future__ import annotations

import msgspec
import pytest

from tests.hubs import config
from vaurien import config as configuration
from vaurien.cli.serve.precedence import DRAWN_SEED, choose, configured, winner
from vaurien.config import Given
from vaurien.errors import ConfigError
from vaurien.model import Address, Fault, Mix, Policy

WEB = config("web", backend=Address("h", 1))
MOVED = msgspec.structs.replace(WEB, backend=Address("h", 2))
LIVE = msgspec.structs.replace(WEB, policy=Policy(Mix(), (Fault("slow", "latency", options={"latency": 5}),)))


def test_without_a_configuration_the_file_has_its_say():
    choice = choose("s", [LIVE], [WEB], None, None)
    assert choice.proxies == [LIVE]
    assert choice.why == "1 proxy from state file 's'"


def test_live_changes_survive_a_restart_with_the_same_configuration():
    choice = choose("s", [LIVE], [WEB], [WEB], None)
    assert choice.proxies == [LIVE]
    assert choice.why == (
        "1 proxy from state file 's', with the changes made live: "
        "proxy 'web' policy: [slow latency=5] in the file, [] configured"
    )


def test_a_changed_configuration_counts_where_nothing_was_changed_live():
    choice = choose("s", [WEB], [WEB], [MOVED], None)
    assert choice.proxies == [MOVED]
    assert choice.why == (
        "1 proxy as configured now; state file 's' had no live change: "
        "proxy 'web' backend: h:1 in the file, h:2 configured"
    )


@pytest.mark.parametrize("then", [[WEB], None])
def test_what_would_lose_something_is_refused(then):
    with pytest.raises(ConfigError) as refused:
        choose("s", [LIVE], then, [MOVED], None)
    assert str(refused.value) == (
        "state file 's' and the configuration differ: proxy 'web' backend: h:1 in the file, h:2 configured; "
        "proxy 'web' policy: [slow latency=5] in the file, [] configured; expected --state-wins or --config-wins"
    )


def test_it_can_be_told_which_one_wins():
    kept = choose("s", [LIVE], [WEB], [MOVED], "state")
    assert (kept.proxies, kept.why[:43]) == ([LIVE], "1 proxy from state file 's', which wins: pr")
    new = choose("s", [LIVE], [WEB], [MOVED], "config")
    assert (new.proxies, new.why[:55]) == ([MOVED], "1 proxy as configured, which wins over state file 's': ")


def test_proxies_that_only_one_side_has_are_named():
    with pytest.raises(
        ConfigError, match="proxy 'api' is in the file alone; proxy 'web' is configured alone; expected"
    ):
        choose("s", [config("api")], None, [WEB], None)


def test_only_some_differences_are_named():
    many = [config(f"p{number}") for number in range(9)]
    with pytest.raises(ConfigError, match=r"'p0' is in the file alone; .* 'p2' is in the file alone; …; expected"):
        choose("s", many, None, [], None)


def test_what_the_system_chose_or_chance_drew_is_no_difference():
    kept = msgspec.structs.replace(WEB, seed="12345", listen=Address("127.0.0.1", 40001))
    asked = msgspec.structs.replace(WEB, seed=DRAWN_SEED, listen=Address("127.0.0.1", 0))
    assert choose("s", [kept], None, [asked], None).why == "1 proxy from state file 's', as configured"


def test_options_of_the_program_say_nothing_about_proxies():
    given = {("vaurien", "state"): Given("s", "--state"), ("vaurien", "http"): Given(True, "--http")}
    assert configured(configuration.load(given, {})) is None
    [proxy] = configured(configuration.load({**given, ("vaurien", "backend"): Given("h:1", "--backend")}, {}))
    assert (str(proxy.backend), proxy.seed) == ("h:1", DRAWN_SEED)
    [seeded] = configured(configuration.load({**given, ("vaurien", "seed"): Given("7", "--seed")}, {}))
    assert seeded.seed == "7"


def test_a_winner_needs_a_contest():
    assert winner("s", state=False, config=False) is None
    assert winner("s", state=True, config=False) == "state"
    with pytest.raises(ConfigError, match="both given; expected one of them"):
        winner("s", state=True, config=True)
    with pytest.raises(ConfigError, match=r"config-wins: expected a state file beside it \(--state FILE\)"):
        winner(None, state=False, config=True)
