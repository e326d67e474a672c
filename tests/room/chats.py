"""A swarm of conversations at a fixed moment: three levels, all states, and keys in every state."""

from __future__ import annotations

from skep.control.verbs import KeyShown, KeysShown, PoolShown
from skep.model.children import Role
from skep.model.events import (
    ROOT,
    AgentEnded,
    AgentMarked,
    AgentStopping,
    AgentWaiting,
    LatchClosed,
)
from skep.model.registry import Registry
from skep.model.states import Mark, State, StopStep, StopVerb, Strength, WaitReason
from tests.room.story import SCENE_NOW, Story

GOAL = "Move billing to the new ledger: schema, invoices, webhooks and docs, with all tests green."

TRANSCRIPT = (
    "~ The rounding helper is shared by credit notes, so the parser must not round line items before the tax",
    "~ is summed.",
    "  I will run the invoice tests before touching `parse_total`.",
    "* $ pytest tests/invoice -q",
    "| ......................................................................... [ 38%]",
    "| .............F........................................................... [ 76%]",
    "| FAILED tests/invoice/test_total.py::test_half_cent_rounds_even",
    "| E   AssertionError: Decimal('10.13') != Decimal('10.12')",
    "! exit 1 in 48s",
    "  Half-cent amounts round up. The old system rounded to even, so I take ROUND_HALF_EVEN and add two cases.",
    "* write src/invoice/parser.py",
    "` 3,214 characters in 0s",
    "> you: leave the CSV importer alone",
    "  Understood: the CSV importer stays as it is.",
    "* $ pytest tests/invoice -q",
    "| ......................................................................... [ 38%]",
    "| ......................................................................... [ 76%]",
)
"""What ``inv-parser`` has said and done."""


def chats() -> Registry:
    """A demo-like swarm of 33 chat agents, the root included."""
    story = Story("migrate-billing", 12, goal=GOAL, simulated=True)
    story.running(ROOT, 2_520.0)
    story.turns(ROOT, 3, 21_400, 42_000, "kimi-1", ago=2_500.0)
    story.talks(ROOT, "", "kimi-1")
    for branch in ("schema", "invoices", "webhooks", "docs", "reports"):
        story.chat(branch, role=Role.ORCHESTRATOR, ago=2_400.0, goal=f"lead the work on {branch}")
    story.tell(2_400.0, AgentWaiting(ROOT, WaitReason.CHILD, "5 agents"))
    _schema(story)
    _invoices(story)
    _webhooks(story)
    _docs(story)
    _reports(story)
    return story.registry()


def _leads(story: Story, branch: str, ago: float, turns: int, key: str, *children: str) -> None:
    story.running(branch, ago)
    story.turns(branch, turns, turns * 4_100, turns * 8_000, key, ago=ago - 10)
    for child in children:
        story.chat(child, branch, ago=ago - 20)
    story.tell(ago - 20, AgentWaiting(branch, WaitReason.CHILD, f"{len(children)} agents"))


def _done(story: Story, agent: str, begin: float, end: float, said: str, turns: int, used: int, cost: int) -> None:
    story.running(agent, begin)
    story.turns(agent, turns, used, cost, "kimi-1", ago=end + 1)
    story.ended(agent, end, code=None, result=said, lines=80, size=6_000)


def _schema(story: Story) -> None:
    children = ("survey-tables", "map-columns", "write-ddl", "check-nulls", "check-enums", "seed-data")
    _leads(story, "schema", 2_300.0, 4, "kimi-1", *children)
    _done(
        story, "survey-tables", 2_280.0, 2_028.0, "found 61 tables, 4 orphaned\n\nDetails: …", 12, 81_200, 140_000
    )
    _done(story, "map-columns", 2_280.0, 1_871.0, "wrote map.csv, 412 rows", 19, 96_400, 170_000)
    story.running("write-ddl", 700.0)
    story.turns("write-ddl", 8, 44_000, 80_000, "kimi-1", ago=40.0)
    story.talks("write-ddl", "write src/schema/ddl_v2.sql", "kimi-1", since=1.0, tool=True)
    story.running("check-nulls", 64.0)
    story.turns("check-nulls", 5, 28_700, 50_000, "kimi-1", ago=5.0)
    story.talks("check-nulls", "thinking", "kimi-1")
    story.running("check-enums", 390.0)
    story.turns("check-enums", 2, 9_100, 20_000, "kimi-2", ago=32.0)
    story.talks("check-enums", "", "kimi-2")
    story.tell(31.0, AgentWaiting("check-enums", WaitReason.KEY, "kimi-2 cools 1:13"))


def _invoices(story: Story) -> None:
    children = ("inv-parser", "inv-rounding", "inv-pdf", "inv-dunning", "inv-tax", "inv-credit", "inv-export")
    _leads(story, "invoices", 1_200.0, 5, "kimi-1", *children, "inv-archive")
    story.running("inv-parser", 133.0)
    story.turns("inv-parser", 8, 48_100, 120_000, "kimi-1", ago=60.0)
    story.talks("inv-parser", "$ pytest tests/invoice -q", "kimi-1", since=133.0, tool=True)
    story.running("inv-rounding", 903.0)
    story.turns("inv-rounding", 13, 120_000, 220_000, "kimi-1", ago=5.0)
    story.talks("inv-rounding", "writing", "kimi-1")
    story.running("inv-pdf", 900.0)
    story.turns("inv-pdf", 7, 51_300, 90_000, "kimi-1", ago=101.0)
    story.asks("inv-pdf", 100.0, "rm -rf build/pdf && make pdf")
    story.running("inv-dunning", 900.0)
    story.turns("inv-dunning", 22, 140_000, 250_000, "kimi-1", ago=30.0)
    story.tell(4.0, AgentStopping("inv-dunning", StopStep.SOFT, StopVerb.INTERRUPT, "you"))
    story.running("inv-tax", 1_100.0)
    story.turns("inv-tax", 31, 170_000, 310_000, "kimi-1", ago=441.0)
    failed = AgentEnded("inv-tax", State.FAILED, error="the provider refused: context too long", result="Half of")
    story.tell(440.0, failed)
    story.running("inv-credit", 120.0)
    story.turns("inv-credit", 2, 12_400, 20_000, "kimi-1", ago=2.0)
    story.talks("inv-credit", "$ ruff check src", "kimi-1", since=2.0, tool=True)


def _webhooks(story: Story) -> None:
    _leads(story, "webhooks", 1_300.0, 4, "kimi-2", "hook-retry", "hook-verify", "hook-replay", "hook-split")
    for agent, ago, turns, used, mark, evidence in (
        ("hook-retry", 1_280.0, 14, 92_000, Mark.STALE, "no token; request open 8m02s, key kimi-2"),
        ("hook-verify", 1_280.0, 27, 131_000, Mark.SPINNING, "same read_file call 6 times"),
        ("hook-replay", 1_280.0, 11, 66_300, Mark.QUIET, "no token"),
    ):
        story.running(agent, ago)
        story.turns(agent, turns, used, used * 3 // 2, "kimi-2", ago=500.0)
        story.talks(agent, "thinking", "kimi-2")
        story.tell(100.0, AgentMarked(agent, mark, evidence))
    # It wanted to lead others, and its place in the tree did not let it.
    story.chat("hook-sign", "webhooks", asked_role=Role.ORCHESTRATOR, ago=1_270.0, goal="sign all hooks")
    story.running("hook-sign", 1_000.0)
    story.turns("hook-sign", 50, 310_000, None, "kimi-2", ago=700.0)
    story.ended("hook-sign", 690.0, State.OVER_LIMIT, code=None, error="max_turns 50 reached")


def _docs(story: Story) -> None:
    _leads(story, "docs", 800.0, 4, "kimi-1", "doc-api", "doc-faq", "doc-guide", "doc-setup", "doc-images")
    _done(story, "doc-faq", 700.0, 482.0, "wrote docs/faq.md", 9, 71_500, 120_000)
    story.running("doc-api", 322.0)
    story.turns("doc-api", 12, 98_200, 170_000, "kimi-1", ago=30.0)
    story.talks("doc-api", "write docs/api.md", "kimi-1", since=9.0, tool=True)
    story.tell(240.0, LatchClosed("docs", Strength.SPAWNS, "rate limits", "you"))


def _reports(story: Story) -> None:
    _leads(story, "reports", 1_900.0, 6, "kimi-1", "rep-month", "rep-year")
    _done(story, "rep-month", 1_800.0, 1_500.0, "month.sql gives the same sums as before", 8, 92_000, 160_000)
    _done(story, "rep-year", 1_800.0, 1_400.0, "year.sql gives the same sums as before", 9, 101_000, 170_000)
    story.tell(1_390.0, AgentEnded("reports", State.DONE, result="Both reports agree with the old system."))


def keys_in_every_state() -> KeysShown:
    """Two usable keys, one that cools, one that is quarantined; three agents wait."""
    kimi = PoolShown(
        provider="moonshot",
        endpoint="https://api.moonshot.ai/v1",
        at=SCENE_NOW,
        keys=[
            KeyShown(
                label="kimi-1",
                fingerprint="a1b2",
                state="ok",
                in_flight=6,
                cap=8,
                requests_minute=48,
                tokens_minute=91_000,
                successes=212,
                cost_usd=2.24,
                first_token_seconds=0.81,
                holders={"invoices": 4, "schema": 2, "docs": 1},
            ),
            KeyShown(
                label="kimi-2",
                fingerprint="c3d4",
                state="cooling",
                until=SCENE_NOW + 42,
                reason="429",
                model="kimi-k2",
                cap=3,
                requests_minute=9,
                tokens_minute=12_400,
                rate_limited=31,
                successes=69,
                rotations=4,
                cost_usd=0.83,
                first_token_seconds=2.1,
            ),
            KeyShown(
                label="kimi-3", fingerprint="e5f6", state="quarantined", reason="refused twice (401)", failures=2
            ),
        ],
        waiters=3,
        oldest_wait=31.0,
    )
    other = PoolShown(
        provider="openai",
        endpoint="https://api.openai.com/v1",
        at=SCENE_NOW,
        keys=[
            KeyShown(
                label="oai-1",
                fingerprint="0718",
                state="ok",
                in_flight=1,
                requests_minute=3,
                tokens_minute=4_100,
                rate_limited=1,
                successes=40,
                cost_usd=0.14,
                cost_is_lower_bound=True,
                first_token_seconds=1.2,
                holders={"root": 1},
            )
        ],
    )
    return KeysShown(pools=[kimi, other])
