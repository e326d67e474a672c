"""A setting has one value and a source that can be seen, and whatever is wrong is said once and clearly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from skep.config import Config, SourceKind, load, parse_duration
from skep.errors import BadInput, Refused
from skep.providers import READY, Provider
from skep.trust import FILE_LIMIT, trust
from tests.configured import Place, place_below


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_below(tmp_path)


def test_without_any_source_the_defaults_hold(place: Place) -> None:
    loaded = place.load()
    assert loaded.config == Config()
    assert loaded.warnings == ()
    assert {source.kind for source in loaded.sources.values()} == {SourceKind.DEFAULT}
    assert loaded.sources["room.theme"].value == "skep-dark"
    assert loaded.config.output_cap_bytes == 16 * 1024 * 1024
    assert loaded.config.on_stale == "mark"


def test_the_environment_of_this_process_is_not_read_behind_the_callers_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKEP_MAX_RUNNING", "99")
    assert place.load().config.max_running == Config().max_running == 8


def test_later_sources_win_and_are_named(place: Place) -> None:
    place.write_user('max_running = 1\nretries = 1\ngrace = "1m"\n\n[room]\ntheme = "user"\n')
    place.write_project("# ours\nmax_running = 2\nretries = 2\n[room]\ncompact = true\n")
    trust(place.project, env=place.env)
    loaded = place.load({"max_running": 4, "timeout": None}, SKEP_MAX_RUNNING="3", SKEP_ROOM__ASCII="yes")

    config = loaded.config
    assert (config.max_running, config.retries, config.grace) == (4, 2, 60.0)
    assert (config.room.theme, config.room.compact, config.room.ascii) == ("user", True, True)
    kinds_and_places = {name: (source.kind, source.where) for name, source in loaded.sources.items()}
    assert kinds_and_places["max_running"] == (SourceKind.FLAG, "--max-running")
    assert kinds_and_places["retries"] == (SourceKind.PROJECT, f"{place.project}:3")
    assert kinds_and_places["grace"] == (SourceKind.USER, f"{place.user}:3")
    assert kinds_and_places["room.theme"] == (SourceKind.USER, f"{place.user}:6")
    assert kinds_and_places["room.compact"] == (SourceKind.PROJECT, f"{place.project}:5")
    assert kinds_and_places["room.ascii"] == (SourceKind.ENVIRONMENT, "SKEP_ROOM__ASCII")
    assert kinds_and_places["timeout"] == (SourceKind.DEFAULT, "built in")
    assert place.load(SKEP_MAX_RUNNING="3").config.max_running == 3
    assert place.load().config.max_running == 2


def test_every_setting_says_what_it_is_and_where_it_came_from(place: Place) -> None:
    for name, field in (
        *Config.model_fields.items(),
        *type(Config().room).model_fields.items(),
        *Provider.model_fields.items(),
    ):
        assert field.description, name
    assert set(place.load().sources) >= {*Config.model_fields} - {"room", "providers"}


def test_settings_cannot_be_changed_later(place: Place) -> None:
    with pytest.raises(ValidationError):
        place.load().config.max_running = 2  # type: ignore[misc]


def test_keys_are_merged_one_by_one(place: Place) -> None:
    place.write_user('[room.keys]\nhold = ["p", "f2"]\n"tree.fold" = "h"\n')
    loaded = place.load({"room.keys": {"help": "f1, question_mark"}}, SKEP_ROOM__KEYS='{"hold": ["f3"]}')
    assert loaded.config.room.keys == {"hold": ["f3"], "tree.fold": ["h"], "help": ["f1", "question_mark"]}
    assert loaded.sources["room.keys.hold"].where == "SKEP_ROOM__KEYS"
    assert loaded.sources["room.keys.tree.fold"].where == f"{place.user}:3"


def test_providers_are_merged_field_by_field_over_those_that_are_ready(place: Place) -> None:
    place.write_user(
        "[providers.openai]\nmax_concurrency = 4\n"
        '[providers.openai.prices."gpt-4.1-mini"]\ninput = 0.4\noutput = 1.6\n'
        '[providers.mine]\nbase_url = "http://127.0.0.1:9/v1"\nkeys = "MINE"\n'
    )
    place.write_project('[providers.mine]\nlabel = "m"\n')
    trust(place.project, env=place.env)
    loaded = place.load(SKEP_PROVIDERS__OPENAI__MAX_CONCURRENCY="6")
    providers = loaded.config.providers
    assert set(providers) == {*READY, "mine"}
    assert providers["ollama"] == READY["ollama"]
    assert providers["openai"].base_url == READY["openai"].base_url
    assert providers["openai"].max_concurrency == 6
    assert providers["openai"].prices["gpt-4.1-mini"].output == 1.6
    assert (providers["mine"].keys, providers["mine"].label) == ("MINE", "m")
    where = {name: source.where for name, source in loaded.sources.items()}
    assert where["providers.openai.base_url"] == "built in"
    assert where["providers.openai.max_concurrency"] == "SKEP_PROVIDERS__OPENAI__MAX_CONCURRENCY"
    assert where["providers.openai.prices.gpt-4.1-mini.input"] == f"{place.user}:4"
    assert where["providers.mine.label"] == f"{place.project}:2"


def test_a_project_that_nobody_trusts_names_no_provider(place: Place) -> None:
    place.write_project('[providers.openai]\nbase_url = "https://evil.example/v1"\n')
    loaded = place.load()
    assert loaded.config.providers == READY
    assert len(loaded.warnings) == 1


def test_a_delegated_agent_has_no_limit_of_time_unless_one_is_set(place: Place) -> None:
    assert place.load().config.delegate_timeout == 0
    assert place.load(SKEP_DELEGATE_TIMEOUT="5m").config.delegate_timeout == 300
    assert place.load(SKEP_COMMANDS="allow").config.commands == "allow"


def test_variables_of_skep_that_are_no_settings_are_left_alone(place: Place) -> None:
    loaded = place.load(SKEP_AGENT="a1", SKEP_LOG="debug", SKEP_NO_SUCH="x", SKEP_RETRIES="", skep_retries="7")
    assert loaded.config == Config()


@pytest.mark.parametrize(
    ("text", "line", "what", "why", "mend"),
    [
        ("max_running = ", 1, "not valid TOML", "Invalid value", "mend this line"),
        ("retries = 1\n= 3\n", 2, "not valid TOML", "", ""),
        ("retries = 1\n[room", 2, "not valid TOML", "", ""),
        ("retries = 1\nretries = 2\n", 2, "not valid TOML", "overwrite", ""),
        pytest.param("x = " + "[" * 5000, 1, "not valid TOML", "", "", id="long: not valid TOML"),
        pytest.param("x = " + "9" * 5000, 1, "not valid TOML", "", "", id="long: not valid TOML"),
        ("\nmax_runing = 4\n", 2, "unknown setting max_runing", "", "did you mean max_running?"),
        ("theme = 'x'\n", 1, "unknown setting theme", "", "did you mean room.theme?"),
        ("[room]\n\ntehme = 'x'\n", 3, "unknown setting room.tehme", "", "did you mean room.theme?"),
        ("zzz = 1\n", 1, "unknown setting zzz", "", "skep config lists all settings"),
        ("_cli_parse_args = true\n", 1, "unknown setting _cli_parse_args", "", ""),
        ("max_running = 0\n", 1, "bad value for max_running", "greater than or equal to 1, and it is 0", "slots"),
        ("max_running = 10_001\n", 1, "bad value for max_running", "less than or equal to 10000", ""),
        ("max_running = true\n", 1, "bad value for max_running", "not true or false", ""),
        ("max_running = 1.5\n", 1, "bad value for max_running", "valid integer", ""),
        pytest.param(
            "max_running = 0x" + "f" * 9000,
            1,
            "bad value for max_running",
            "a very big number",
            "",
            id="long: bad value for max_running",
        ),
        ("timeout = -1\n", 1, "bad value for timeout", "greater than or equal to 0", "seconds"),
        ("timeout = nan\n", 1, "bad value for timeout", "it is nan", ""),
        ("timeout = '10 parsecs'\n", 1, "bad value for timeout", "not a duration", ""),
        pytest.param(
            "timeout = 0x" + "f" * 9000, 1, "bad value for timeout", "", "", id="long: bad value for timeout"
        ),
        ("on_stale = 'panic'\n", 1, "bad value for on_stale", "'mark', 'steer', 'interrupt' or 'kill'", ""),
        ("room = 3\n", 1, "bad value for room", "it should be a table, and it is 3", ""),
        ("[room]\ntheme = ''\n", 2, "bad value for room.theme", "", "theme"),
        ("room.theme.a.b = 1\n", 1, "bad value for room.theme", "it is a table", ""),
        ("room = { ascii = 'maybe' }\n", 1, "bad value for room.ascii", "", ""),
        ("[room.keys]\nhold = [1]\n", 2, "bad value for room.keys.hold", "", "binding id"),
        ("model = 'gpt-4'\n", 1, "bad value for model", "written PROVIDER/MODEL", "what agents think with"),
        ("commands = 'maybe'\n", 1, "bad value for commands", "'deny', 'ask' or 'allow'", "deny, ask or allow"),
        ("max_turns = 0\n", 1, "bad value for max_turns", "greater than or equal to 1", ""),
        ("approval_timeout = 'never'\n", 1, "bad value for approval_timeout", "not a duration", ""),
        ("[providers.mine]\nkeys = 'K'\n", 1, "providers.mine.base_url is missing", "", "where its API begins"),
        ("[providers.openai]\nbse_url = 'x'\n", 2, "unknown setting providers.openai.bse_url", "", "base_url?"),
        ("[providers.openai]\nbase_url = 'ftp://x'\n", 2, "bad value for providers.openai.base_url", "", "API"),
        ("[providers.x]\nbase_url = 'http://u:p@h/v1'\n", 2, "bad value for providers.x.base_url", "", ""),
        (
            "[providers.x]\nbase_url = 'http://h'\ndialect = 'smoke'\n",
            3,
            "bad value for providers.x.dialect",
            "",
            "",
        ),
        ("[providers.openai]\nkeys = 'A B'\n", 2, "bad value for providers.openai.keys", "", "variables"),
        ("[providers.openai]\nmax_concurrency = 0\n", 2, "bad value for providers.openai.max_conc", "", "on one"),
        ("[providers.openai.prices.x]\ninput = 1\n", 1, "providers.openai.prices.x.output is missing", "", ""),
        ("[providers.openai.prices.x]\ninput = -1\noutput = 1\n", 2, "bad value for providers.openai.p", "", ""),
        ("[providers.'a/b']\nbase_url = 'http://h'\n", 1, "bad value for providers.a/b", "letters, digits", ""),
        ("[providers]\nopenai = 3\n", 2, "bad value for providers.openai", "should be a table", ""),
        ("providers = 3\n", 1, "bad value for providers", "should be a table", ""),
    ],
)
def test_bad_files_get_one_clear_message(
    place: Place, text: str, line: int, what: str, why: str, mend: str
) -> None:
    place.write_user(text)
    with pytest.raises(BadInput) as caught:
        place.load()
    error = caught.value
    assert error.where == f"{place.user}:{line}"
    assert error.what.startswith(what)
    assert why in (error.why or "")
    assert mend in (error.mend or "")
    assert error.mend
    assert str(error).isprintable()


def test_a_hostile_name_is_shown_clean(place: Place) -> None:
    place.write_user('"\\u001b[2J\\u202e" = 1\n')
    with pytest.raises(BadInput, match="unknown setting") as caught:
        place.load()
    assert str(caught.value).isprintable()


def test_a_deep_file_is_only_wrong(place: Place) -> None:
    place.write_user("room.theme." + ".".join("a" * 5000) + " = 1\n")
    with pytest.raises(BadInput, match=r"bad value for room\.theme"):
        place.load()


def test_a_file_that_is_no_text(place: Place) -> None:
    place.write_user("")
    place.user.write_bytes(b"retries = 1\n\xff\n")
    with pytest.raises(BadInput, match="UTF-8") as caught:
        place.load()
    assert caught.value.where == f"{place.user}:2"


def test_a_file_that_is_too_big_or_no_file(place: Place) -> None:
    place.write_user("#" * (FILE_LIMIT + 1))
    with pytest.raises(BadInput, match="too big: it has over 256 KiB"):
        place.load()
    place.user.unlink()
    os.mkfifo(place.user)
    with pytest.raises(BadInput, match="not a regular file"):
        place.load()
    place.user.unlink()
    place.user.mkdir()
    with pytest.raises(BadInput, match=r"config\.toml"):
        place.load()


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("SKEP_MAX_RUNNING", "many", "bad value for max_running"),
        ("SKEP_ROOM__TEHME", "x", "unknown setting room.tehme"),
        ("SKEP_ROOM__THEME", "\udcff", "bad value for room.theme"),
        ("SKEP_ROOM", "{", "not valid JSON"),
        pytest.param("SKEP_ROOM", "[" * 50_000, "not valid JSON", id="deep"),
        ("SKEP_ROOM", "3", "bad value for room"),
        ("SKEP_ROOM__KEYS", "nonsense", "not valid JSON"),
        ("SKEP_TIMEOUT", "1h30", "bad value for timeout"),
        ("SKEP_MODEL", "gpt-4", "bad value for model"),
        ("SKEP_DELEGATE_TIMEOUT", "soon", "bad value for delegate_timeout"),
        ("SKEP_PROVIDERS", "{", "not valid JSON"),
        ("SKEP_PROVIDERS__OPENAI__BASE_URL", "nowhere", "bad value for providers.openai.base_url"),
    ],
)
def test_bad_variables_are_named(place: Place, variable: str, value: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        place.load(**{variable: value})
    assert caught.value.where == variable
    assert caught.value.what.startswith(what)
    assert caught.value.mend


def test_bad_flags_are_named(place: Place) -> None:
    with pytest.raises(BadInput) as caught:
        place.load({"max_running": 0})
    assert caught.value.where == "--max-running"
    with pytest.raises(BadInput, match=r"did you mean room\.theme"):
        place.load({"room.them": "x"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        (" 45 ", 45),
        ("0", 0),
        ("0.5", 0.5),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", "ten", "-1", "1h30", "1m1h", "10 m", "5ms", "1e3", "inf", "nan", "٣", "9" * 400, "1s\x1b[2J"],
)
def test_nonsense_is_no_duration(text: str) -> None:
    with pytest.raises(BadInput, match="is not a duration") as caught:
        parse_duration(text)
    assert caught.value.mend
    assert str(caught.value).isprintable()


def test_an_untrusted_project_file_is_named_but_not_used(place: Place) -> None:
    place.write_project("max_running = 2\n")
    loaded = place.load()
    assert loaded.config == Config()
    (warning,) = loaded.warnings
    assert isinstance(warning, Refused)
    assert warning.where == str(place.project)
    assert warning.why == "nobody has trusted it"
    assert "skep trust" in (warning.mend or "")


def test_an_untrusted_project_file_is_not_even_parsed(place: Place) -> None:
    place.write_project("= not TOML")
    assert len(place.load().warnings) == 1


def test_a_project_file_that_changed_after_trust_is_not_used(place: Place) -> None:
    place.write_project("max_running = 2\n")
    trust(place.project, env=place.env)
    assert place.load().config.max_running == 2
    place.write_project("max_running = 3\n")
    loaded = place.load()
    assert loaded.config.max_running == 8
    assert loaded.warnings[0].why == "it has changed since it was trusted"
    place.write_project("max_running = 2\n")
    assert place.load().config.max_running == 2


def test_a_trusted_file_that_is_wrong_is_an_error(place: Place) -> None:
    place.write_project("max_runing = 2\n")
    trust(place.project, env=place.env)
    with pytest.raises(BadInput) as caught:
        place.load()
    assert caught.value.where == f"{place.project}:1"


def test_the_same_content_elsewhere_is_not_trusted(place: Place, tmp_path: Path) -> None:
    place.write_project("max_running = 2\n")
    trust(place.project, env=place.env)
    other = tmp_path / "other" / ".skep"
    other.mkdir(parents=True)
    (other / "config.toml").write_text("max_running = 2\n")
    assert load(other.parent, {}, place.env).config.max_running == 8


def test_the_nearest_file_counts_and_the_search_ends_at_the_repository(place: Place) -> None:
    above = place.project.parents[2] / ".skep"
    above.mkdir()
    (above / "config.toml").write_text("")
    assert place.load().warnings == ()
    place.write_project("")
    assert place.load().warnings[0].where == str(place.project)
    nearer = place.cwd / ".skep"
    nearer.mkdir()
    (nearer / "config.toml").write_text("")
    assert place.load().warnings[0].where == str(nearer / "config.toml")


def test_the_search_ends_at_home(place: Place, tmp_path: Path) -> None:
    (tmp_path / ".skep").mkdir()
    (tmp_path / ".skep" / "config.toml").write_text("")
    folder = tmp_path / "home" / "no-repository"
    folder.mkdir()
    assert load(folder, {}, place.env).warnings == ()
    assert len(load(tmp_path, {}, place.env).warnings) == 1


def test_a_project_file_that_cannot_be_read_is_only_a_warning(place: Place) -> None:
    place.write_project("#" * (FILE_LIMIT + 1))
    assert "too big" in place.load().warnings[0].what
