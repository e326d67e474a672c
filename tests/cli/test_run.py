"""Runs from end to end through a real engine, as scripts see them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.cli.shells import Shell

AGENT_KEYS = {
    *("id", "parent", "name", "depth", "driver", "state", "goal", "result", "error", "exit_code", "turns"),
    *("tokens_in", "tokens_out", "cost_usd", "cost_is_lower_bound", "seconds", "log"),
    *("model", "role", "key", "resumes", "resumed_by", "unknown", "stop", "diagnostic"),
}
SLEEP = "sleep 60"


def test_the_document_of_a_run_has_the_agreed_shape(shell: Shell) -> None:
    for name in ("b", "a", "c"):
        shell.file(f"{name}.txt", name)
    done = shell.skep("run", "--each", "*.txt", "-c", "cat {item}", "--json", "--name", "cats")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    body = json.loads(done.stdout)
    assert list(body) == ["swarm", "name", "status", "seconds", "totals", "agents"]
    assert (body["name"], body["status"]) == ("cats", "done")
    assert body["totals"] == {
        "agents": 3,
        "states": {"done": 3},
        "tokens_in": None,
        "tokens_out": None,
        "cost_usd": None,
        "cost_is_lower_bound": None,
    }
    assert [(agent["name"], agent["exit_code"]) for agent in body["agents"]] == [
        ("a.txt", 0),
        ("b.txt", 0),
        ("c.txt", 0),
    ]
    assert all(set(agent) == AGENT_KEYS for agent in body["agents"])
    assert [Path(agent["log"]).read_text() for agent in body["agents"]] == ["a", "b", "c"]


def test_a_failure_is_exit_1_and_names_its_log(shell: Shell) -> None:
    done = shell.skep("run", "-c", "true", "-c", "sh -c 'echo broken; exit 7'", "--headless")
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = [line for line in done.stderr.splitlines() if "exit 7" in line]
    assert Path(said.partition("log: ")[2]).read_text() == "broken\n"
    assert "failed: 1 done, 1 failed" in done.stderr


def test_printed_results_keep_the_order_asked_whatever_ends_first(shell: Shell) -> None:
    os.mkfifo(shell.project / "gate")
    shell.file("items", "gate\nopener\n")
    opener = "if test {item} = gate; then cat gate; else echo second; echo first > gate; fi"
    done = shell.skep("run", "--each-line", "items", "--shell", "-c", opener, "--print", "-j", "2")
    assert (done.returncode, done.stdout) == (0, "first\nsecond\n"), done.stderr


def test_items_reach_their_program_as_one_word_each(shell: Shell) -> None:
    nasty = ["a b", "$(touch owned)", "'", "*", ";touch owned", "-n"]
    done = shell.skep(
        "run", "--each-line", "-", "-c", "printf '%s\\n' '<{item}>'", "--print", stdin="\n".join(nasty)
    )
    assert done.stdout.splitlines() == [f"<{item}>" for item in nasty], done.stderr
    assert not (shell.project / "owned").exists()


def test_the_logs_go_where_they_were_asked_to(shell: Shell) -> None:
    shell.file("logs/a.log", "of an earlier run")
    shell.file("items", "a\nb/c\n")
    done = shell.skep("run", "--each-line", "items", "-c", "echo {item}", "--log-dir", "logs", "--headless")
    assert done.returncode == 0, done.stderr
    assert {log.name: log.read_text() for log in (shell.project / "logs").iterdir()} == {
        "a.log": "a\n",
        "b_c.log": "b/c\n",
    }


def test_everything_stays_in_one_process_in_the_foreground(shell: Shell) -> None:
    done = shell.run("run", "-c", "true", "-c", "false", "--foreground", "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["totals"]["states"] == {"done": 1, "failed": 1}
    assert shell.engines() == []


def test_a_dry_run_starts_nothing(shell: Shell) -> None:
    shell.file("items", "\n".join(map(str, range(25))))
    done = shell.skep("run", "--each-line", "items", "-c", "touch {item}.made", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("would run 25 agents")
    assert done.stdout.splitlines()[-1].strip() == "… and 15 more"
    assert not list(shell.project.glob("*.made"))
    assert shell.left_in_state() == []


def test_a_detached_swarm_is_steered_from_the_shell(shell: Shell) -> None:
    commands = [
        "run",
        "-c",
        SLEEP,
        "-c",
        f"{SLEEP}.1",
        "-c",
        f"{SLEEP}.2",
        "-j",
        "1",
        "--detach",
        "--name",
        "naps",
    ]
    started = shell.skep(*commands)
    swarm = started.stdout.strip()
    assert (started.returncode, started.stderr, len(swarm)) == (0, "", 6)

    (listed,) = shell.json("ls", "--json")["swarms"]
    assert (listed["id"], listed["name"], listed["state"]) == (swarm, "naps", "running")
    assert listed["pid"] in shell.engines()

    held = shell.json("pause", "naps", "--reason", "lunch", "--wait", "--json")
    assert held["effective"] is True
    tree = shell.json("tree", "naps", "--json")
    assert [agent["waiting"] and agent["waiting"]["reason"] for agent in tree["agents"]] == [None, "gate", "gate"]
    assert [agent["waiting"] and agent["waiting"]["position"] for agent in tree["agents"]] == [None, 1, 2]
    assert {"waiting", "activity", "since", "pids"} <= set(tree["agents"][0])
    text = shell.skep("tree").stdout
    assert "held by you, 1st" in text
    assert "lunch" in shell.skep("events", swarm).stdout

    preview = shell.skep("kill", "naps/a2", "--dry-run")
    assert preview.stdout.startswith("would kill 1 agent in")
    killed = shell.json("kill", "naps/a2", "--wait", "--json")
    assert killed["agents"] == ["a2"]

    pids = tree["agents"][0]["pids"]
    assert pids
    assert shell.skep("unpause").returncode == 0
    ended = shell.skep("interrupt", swarm, "--wait")
    assert (ended.returncode, ended.stderr) == (0, "")
    states = {agent["id"]: agent["state"] for agent in shell.json("tree", "--json")["agents"]}
    assert states == {"a1": "interrupted", "a2": "killed", "a3": "interrupted"}
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_an_agent_with_live_children_is_stopped_only_with_its_branch(shell: Shell) -> None:
    shell.file("items", "x/1\nx/2\ny/1\n")
    template = "sh -c 'sleep 60' {item}"
    shell.skep("run", "--each-line", "items", "-c", template, "--group", "{dir}", "--detach")
    refused = shell.skep("interrupt", "/x")  # without a slash it could begin the id of a swarm
    assert refused.returncode == 2
    assert "--branch" in refused.stderr
    assert shell.json("kill", "/x", "--branch", "--wait", "--json")["effective"] is True
    states = {agent["name"]: agent["state"] for agent in shell.json("tree", "--json")["agents"]}
    assert (states["x/1"], states["x/2"], states["y/1"]) == ("killed", "killed", "running")


def test_events_are_one_json_object_a_line_and_follow_to_the_end(shell: Shell) -> None:
    os.mkfifo(shell.project / "gate")
    shell.skep("run", "-c", "cat gate", "--detach")
    follower = shell.start("events", "--json", "--follow")
    (shell.project / "gate").write_text("now\n")
    out, err = follower.communicate(timeout=30)
    events = [json.loads(line) for line in out.splitlines()]
    assert follower.returncode == 0, err
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all({"seq", "time", "kind", "agent"} <= set(event) for event in events)
    assert (events[0]["kind"], events[-1]["kind"]) == ("swarm_created", "swarm_ended")
    assert len(shell.skep("events", "--json", "--after", "3").stdout.splitlines()) == len(events) - 3


def test_a_tail_follows_to_the_last_line_and_is_clean(shell: Shell) -> None:
    os.mkfifo(shell.project / "gate")
    shell.skep(
        "run", "-c", "sh -c \"printf 'one\\ntwo\\n'; cat gate; printf '\\033]0;owned\\007three'\"", "--detach"
    )
    follower = shell.start("tail", "a1", "-f")
    (shell.project / "gate").write_text("more\n")
    out, err = follower.communicate(timeout=30)
    assert follower.returncode == 0, err
    assert [line.lstrip("\N{REPLACEMENT CHARACTER}") for line in out.splitlines()] == [
        "one",
        "two",
        "more",
        "three",
    ]
    assert "\x1b" not in out
    assert shell.skep("tail", "a1", "-n", "1").stdout.endswith("three\n")


def test_a_signal_without_a_terminal_interrupts_the_swarm_and_exits_130(shell: Shell) -> None:
    run = shell.start("run", "-c", SLEEP, "--json")
    assert run.stderr is not None
    while "running" not in run.stderr.readline():
        pass
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    assert json.loads(out)["status"] == "interrupted"


def test_a_dead_engine_is_said_and_its_swarm_taken_up_again(shell: Shell) -> None:
    run = shell.start("run", "-c", SLEEP, "-c", "echo late", "-j", "1", "--headless")
    assert run.stderr is not None
    while "running" not in run.stderr.readline():
        pass
    (engine,) = shell.engines()
    os.kill(engine, signal.SIGKILL)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 1
    assert "skep attach" in err

    assert shell.json("ls", "--json")["swarms"][0]["state"] == "dead"
    swarm = shell.skep("recover", shell.json("ls", "--json")["swarms"][0]["id"]).stdout.strip()
    states = {agent["id"]: agent["state"] for agent in shell.json("tree", "--json")["agents"]}
    assert states == {"a1": "lost", "a2": "queued"}
    assert shell.skep("recover", swarm).returncode == 2
    follower = shell.start("events", "--follow", "--json")
    assert shell.skep("unpause").returncode == 0
    assert follower.communicate(timeout=30)[0].splitlines()[-1].count("swarm_ended") == 1
    assert "late" in shell.skep("tail", "a2").stdout


def test_only_what_has_ended_is_cleaned_away(shell: Shell) -> None:
    live = shell.skep("run", "-c", SLEEP, "--detach").stdout.strip()
    past = json.loads(shell.run("run", "-c", "true", "--foreground", "--json").stdout)["swarm"]
    assert shell.skep("clean", live, "--yes").returncode == 2
    assert shell.skep("clean").returncode == 2  # nobody is there to be asked
    assert shell.skep("clean", "--older-than", "1h", "--yes").stdout == ""
    assert past in shell.skep("clean", "--dry-run").stdout
    assert past in shell.skep("clean", "--yes").stdout
    assert [swarm["id"] for swarm in shell.json("ls", "--json")["swarms"]] == [live]


def test_a_reader_that_leaves_ends_the_writer_without_a_word(shell: Shell) -> None:
    shell.file("items", "\n".join(f"{n:0200}" for n in range(600)))
    shell.skep("run", "--each-line", "items", "-c", "true {item}", "--detach")
    writer = shell.start("events", "--json")
    assert writer.stdout is not None
    writer.stdout.close()
    assert writer.stderr is not None
    assert (writer.stderr.read(), writer.wait(timeout=30)) == ("", 141)
    writer.stderr.close()
