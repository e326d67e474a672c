"""Who serves models: which addresses keys may go to, and how a model is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.errors import BadInput
from skep.providers import split_model
from tests.configured import Place, place_below


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_below(tmp_path)


def table(base_url: str, *more: str) -> str:
    return "\n".join(("[providers.mine]", 'keys = "MINE_KEY"', f'base_url = "{base_url}"', *more, ""))


ELSEWHERE = [
    "http://models.example.com/v1",
    "http://10.0.0.7:8000/v1",
    "http://0.0.0.0:8000",
    "http://localhost.example.com/v1",
    "http://127.0.0.1.example.com/v1",
    "http://[fe80::1]/v1",
]
HERE = [
    "http://localhost:8000/v1",
    "http://LOCALHOST/v1",
    "http://127.0.0.1:8000/v1",
    "http://127.9.8.7/v1",
    "http://[::1]:8000/v1",
]


@pytest.mark.parametrize("base_url", ELSEWHERE)
def test_keys_do_not_leave_the_machine_over_plain_http(place: Place, base_url: str) -> None:
    place.write_user(table(base_url))
    with pytest.raises(BadInput) as caught:
        place.load()
    error = caught.value
    host = base_url.removeprefix("http://").partition("/")[0].removesuffix(":8000").strip("[]")
    assert error.what == "plain http is too open for the keys of mine"
    assert error.where == f"{place.user}:3"
    assert f"would go to {host} over plain http" in (error.why or "")
    assert "https" in (error.mend or "")
    assert "plain_http = true" in (error.mend or "")


@pytest.mark.parametrize("base_url", [*HERE, "https://models.example.com/v1"])
def test_on_this_machine_or_encrypted_they_may_go(place: Place, base_url: str) -> None:
    place.write_user(table(base_url))
    assert place.load().config.providers["mine"].base_url == base_url


def test_whoever_says_so_may_send_them_over_plain_http(place: Place) -> None:
    place.write_user(table(ELSEWHERE[0], "plain_http = true"))
    loaded = place.load()
    assert loaded.config.providers["mine"].plain_http
    assert loaded.sources["providers.mine.plain_http"].where == f"{place.user}:4"


def test_without_keys_there_is_nothing_to_protect(place: Place) -> None:
    place.write_user(f'[providers.mine]\nbase_url = "{ELSEWHERE[0]}"\n')
    assert place.load().config.providers["mine"].base_url == ELSEWHERE[0]


def test_the_layer_that_opens_the_way_is_the_one_that_is_named(place: Place) -> None:
    with pytest.raises(BadInput, match="too open for the keys of openai") as caught:
        place.load(SKEP_PROVIDERS__OPENAI__BASE_URL="http://api.example.com/v1")
    assert caught.value.where == "SKEP_PROVIDERS__OPENAI__BASE_URL"


@pytest.mark.parametrize("base_url", ["https://[::1/v1", "https://host:port/v1", "https://:443/v1"])
def test_an_address_has_a_host_that_can_be_called(place: Place, base_url: str) -> None:
    place.write_user(table(base_url))
    with pytest.raises(BadInput, match=r"bad value for providers\.mine\.base_url"):
        place.load()


@pytest.mark.parametrize("text", ["openai/gpt-4.1-mini", "openrouter/qwen/qwen3-coder:free", "ollama/größe"])
def test_a_model_is_its_provider_and_its_name_there(text: str) -> None:
    assert "/".join(split_model(text)) == text


@pytest.mark.parametrize("bad", ["\x9b2J", "\u202e", "\u200b", "\x7f", "\n", " ", "\u00a0", "\u2028", "\ud800"])
def test_a_model_cannot_hold_what_would_not_be_seen(bad: str) -> None:
    with pytest.raises(ValueError, match="PROVIDER/MODEL"):
        split_model(f"openai/gpt{bad}4")
