"""Goals become agents; what cannot be is said before anything starts, and a dry run shows what would."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.cli.goals import LONGEST, Goals, plan_goals
from skep.cli.naming import slug
from skep.config import load
from skep.errors import SkepError
from skep.model.approvals import Commands
from skep.model.children import Role
from skep.model.events import ROOT
from skep.model.launch import Launch
from skep.model.states import OnStale
from tests.cli.shells import Shell
from tests.cli.test_bad_input import is_one_message

KEY = "sk-not-a-real-key-0123456789"
READY = {"OPENAI_API_KEY": KEY, "SKEP_MODEL": "openai/gpt-4.1-mini"}


def launch_of(cwd: Path, *goals: str, flags: dict[str, object] | None = None, **wish: object) -> Launch:
    env = READY | {"SKEP_CONFIG_DIR": str(cwd / "config"), "HOME": str(cwd)}
    loaded = load(cwd, flags or {}, env)
    return plan_goals(Goals(cwd=cwd, goals=goals, **wish), loaded, env)  # type: ignore[arg-type]


def test_one_goal_is_the_root_of_its_swarm(tmp_path: Path) -> None:
    launch = launch_of(tmp_path, "Fix the flaky test in tests/a.py")
    root = launch.root
    assert root is not None
    assert root.chat is not None
    assert (root.id, root.name, root.goal) == (ROOT, launch.name, "Fix the flaky test in tests/a.py")
    assert launch.name == "fix-the-flaky-test-in-tests-a-py"
    assert launch.agents == ()
    assert (root.chat.role, root.chat.depth, root.chat.cwd) == (Role.ORCHESTRATOR, 0, str(tmp_path))
    assert "delegate" in (root.chat.tools or ())


def test_several_goals_stand_under_one_group(tmp_path: Path) -> None:
    launch = launch_of(tmp_path, "Do a", "Do b", "do A", role=Role.LEAF, name="twins")
    assert launch.root is None
    assert launch.name == "twins"
    assert [(one.id, one.parent, one.name) for one in launch.agents] == [
        ("a1", ROOT, "do-a"),
        ("a2", ROOT, "do-b"),
        ("a3", ROOT, "do-a-2"),
    ]
    assert all(one.chat is not None and "delegate" not in (one.chat.tools or ()) for one in launch.agents)


@pytest.mark.parametrize(
    ("file", "variable", "seconds"), [("", None, 0), ("20m", None, 1_200), ("20m", "90s", 90), ("20m", "0", 0)]
)
def test_the_variable_for_the_time_of_delegated_agents_goes_before_the_configuration(
    tmp_path: Path, file: str, variable: str | None, seconds: float
) -> None:
    if file:
        (tmp_path / "config").mkdir(mode=0o700)
        (tmp_path / "config" / "config.toml").write_text(f'delegate_timeout = "{file}"\n')
    env = READY | {"SKEP_CONFIG_DIR": str(tmp_path / "config"), "HOME": str(tmp_path)}
    loaded = load(tmp_path, {}, env | ({"SKEP_DELEGATE_TIMEOUT": variable} if variable else {}))
    launch = plan_goals(Goals(cwd=tmp_path, goals=("x",)), loaded, env)
    assert launch.settings.delegate_timeout == seconds
    assert launch.root is not None
    assert launch.root.chat is not None
    assert launch.root.chat.timeout == 0, "it is not for those that the operator asks for"


@pytest.mark.parametrize("action", list(OnStale))
def test_what_is_done_with_stale_agents_is_one_of_four(tmp_path: Path, action: OnStale) -> None:
    assert launch_of(tmp_path, "x", flags={"on_stale": action.value}).settings.on_stale is action


@pytest.mark.parametrize("flags", [{"max_depth": 0}, {"allow_orchestrators": False}], ids=str)
def test_where_nobody_may_delegate_an_orchestrator_becomes_a_leaf_and_says_so(
    tmp_path: Path, flags: dict[str, object]
) -> None:
    root = launch_of(tmp_path, "x", flags=flags).root
    assert root is not None
    assert root.chat is not None
    assert (root.chat.role, root.chat.asked_role) == (Role.LEAF, Role.ORCHESTRATOR)
    assert "delegate" not in (root.chat.tools or ())


@pytest.mark.parametrize(
    ("room", "setting", "policy"),
    [
        (True, None, Commands.ASK),
        (False, None, Commands.DENY),
        (True, "deny", Commands.DENY),
        (False, "ask", Commands.ASK),
        (False, "allow", Commands.ALLOW),
    ],
)
def test_commands_are_asked_about_in_a_room_and_else_denied(
    tmp_path: Path, room: bool, setting: str | None, policy: Commands
) -> None:
    root = launch_of(tmp_path, "x", flags={"commands": setting}, room=room).root
    assert root is not None
    assert root.chat is not None
    assert root.chat.commands is policy


def test_a_swarm_gets_the_providers_that_have_keys_and_no_byte_of_a_key(tmp_path: Path) -> None:
    launch = launch_of(tmp_path, "x", flags={"delegate_timeout": "5m", "max_turns": 7})
    assert set(launch.settings.providers) == {"openai", "ollama"}
    assert launch.settings.delegate_timeout == 300
    assert launch.root is not None
    assert launch.root.chat is not None
    assert launch.root.chat.max_turns == 7
    assert KEY not in launch.model_dump_json()


@pytest.mark.parametrize(
    ("goal", "name"),
    [
        ("  \n Make it so.\nReally.", "make-it-so"),
        ("Überprüfe die Löcher", "überprüfe-die-löcher"),
        ("!!! ???", "agent"),
        ("\x1b]0;owned\x07 \x9b2J", "agent"),
        ("x" * 500, "x" * 31),
        ("the quick brown fox jumps over the lazy dog", "the-quick-brown-fox-jumps-over"),
    ],
    ids=range(6),
)
def test_an_agent_is_named_after_the_first_words_of_its_goal(goal: str, name: str) -> None:
    assert slug(goal) == name
    assert slug(goal).isprintable()


WRONG: dict[str, tuple[list[str], dict[str, str], str]] = {
    "no model": (["x"], {"SKEP_MODEL": ""}, "--model PROVIDER/MODEL"),
    "a model without a provider": (["x", "-m", "gpt-4"], {}, "--model"),
    "a model in a variable without a provider": (["x"], {"SKEP_MODEL": "gpt-4"}, "SKEP_MODEL"),
    "an empty model": (["x", "-m", "openai/"], {}, "PROVIDER/MODEL"),
    "a model with a blank": (["x", "-m", "openai/a b"], {}, "PROVIDER/MODEL"),
    "a model that turns the line around": (["x", "-m", "openai/\u202ea"], {}, "PROVIDER/MODEL"),
    "a provider that is not there": (["x", "-m", "opnai/gpt"], {}, "did you mean openai?"),
    "a provider unlike any": (["x", "-m", "zzz/gpt"], {}, "[providers.NAME]"),
    "no key": (["x", "-m", "moonshot/kimi"], {}, "MOONSHOT_API_KEY_1"),
    "a blank key": (["x"], {"OPENAI_API_KEY": "  "}, "OPENAI_API_KEY"),
    "a key that cannot be sent": (["x"], {"OPENAI_API_KEY": f"{KEY}\n{KEY}"}, "OPENAI_API_KEY"),
    "a key outside ASCII": (["x"], {"OPENAI_API_KEY": f"{KEY}ß"}, "OPENAI_API_KEY"),
    "an empty goal": ([""], {}, "goal 1"),
    "a blank goal": (["x", " \n"], {}, "goal 2"),
    "a goal that is no text": (["\udcff"], {}, "UTF-8"),
    "an endless goal": (["x" * (LONGEST + 1)], {}, "into a file"),
    "an endless goal in wide characters": (["ü" * (LONGEST // 2 + 1)], {}, "131,074 bytes"),
    "an empty standard input": (["-"], {}, "standard input"),
    "one standard input for two": (["-", "-"], {}, "once"),
    "no folder": (["x", "--cwd", "nope"], {}, "nope"),
    "a name with a slash": (["x", "--name", "a/b"], {}, "--name"),
    "no turns": (["x", "--max-turns", "0"], {}, "--max-turns"),
    "less than no depth": (["x", "--max-depth", "-1"], {}, "--max-depth"),
    "retries": (["x", "--retries", "1"], {}, "--retries"),
    "a shell": (["x", "--shell"], {}, "--shell"),
    "a group": (["x", "--group", "{dir}"], {}, "--group"),
    "a folder of logs": (["x", "--log-dir", "logs"], {}, "--log-dir"),
    "an end at the first failure": (["x", "--fail-fast"], {}, "--fail-fast"),
    "a goal and a command": (["x", "-c", "true"], {}, "both goals and commands"),
    "a goal and a program": (["x", "--", "true"], {}, "both goals and commands"),
    "a goal and items": (["x", "--each", "*"], {}, "both goals and commands"),
    "a model for commands": (["-c", "true", "-m", "openai/x"], {}, "--model"),
    "a role for commands": (["-c", "true", "--role", "leaf"], {}, "--role"),
    "an allowance for commands": (["-c", "true", "--allow-commands"], {}, "--allow-commands"),
}


@pytest.mark.parametrize(("words", "env", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_one_message_and_nothing_begins(
    shell: Shell, words: list[str], env: dict[str, str], said: str
) -> None:
    done = shell.skep("run", "--headless", *words, **READY | env)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_message(done.stderr), done.stderr
    assert said in done.stderr
    assert KEY not in done.stderr
    assert shell.left_in_state() == []


def test_a_keys_file_that_others_may_read_is_refused(shell: Shell) -> None:
    file = shell.state.parent / "c" / "keys.toml"
    file.write_text(f'[moonshot]\nkeys = ["{KEY}"]\n')
    file.chmod(0o644)
    done = shell.skep("run", "x", "-m", "moonshot/kimi", "--headless")
    assert (done.returncode, is_one_message(done.stderr)) == (2, True), done.stderr
    assert "chmod 600" in done.stderr
    file.chmod(0o600)
    assert shell.skep("run", "x", "-m", "moonshot/kimi", "--headless", "--dry-run").returncode == 0


def test_a_dry_run_says_what_would_start_and_starts_nothing(shell: Shell) -> None:
    done = shell.skep("run", "Fix it", "-", "--dry-run", "--allow-commands", stdin="And that\n", **READY)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith("would start 2 agents (orchestrator) with openai/gpt-4.1-mini, in ")
    assert rest[:2] == ["  fix-it: Fix it", "  and-that: And that"]
    assert "commands: allow" in done.stdout
    assert "openai" in rest[-1]
    assert KEY not in done.stdout
    assert shell.left_in_state() == []


def test_words_after_two_dashes_are_a_program_whatever_they_look_like(shell: Shell) -> None:
    done = shell.skep("run", "--dry-run", "--", "echo", "--model", "-c", "--")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].strip() == "echo --model -c --"


def test_a_bad_provider_of_the_settings_is_named_with_its_line(shell: Shell) -> None:
    (shell.state.parent / "c" / "config.toml").write_text('model = "mine/x"\n[providers.mine]\nkeys = "MINE"\n')
    done = shell.skep("run", "x", "--headless")
    assert done.returncode == 2
    assert "config.toml:2: providers.mine.base_url is missing" in done.stderr


def test_a_zero_byte_is_no_part_of_a_goal(tmp_path: Path) -> None:
    with pytest.raises(SkepError, match="zero byte"):
        launch_of(tmp_path, "a\0b")


def test_a_model_without_a_goal_asks_for_the_goal(shell: Shell) -> None:
    done = shell.skep("run", "--model", "openai/any", "--headless", **READY)
    assert (done.returncode, is_one_message(done.stderr)) == (2, True)
    assert "there is no goal" in done.stderr
