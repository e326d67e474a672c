"""The documents that scripts read: one shape for ``run --json``, ``tree --json`` and ``ls --json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from skep.model.agent import Agent, Live
from skep.model.children import Role
from skep.model.events import ROOT, Json
from skep.model.states import DriverKind, State, WaitReason
from skep.model.swarm import SwarmState

PathOf = Callable[[Agent], str | None]
"""Where a file of an agent is; None if it has none."""


def _none(agent: Agent) -> None:
    return None


def agent_document(agent: Agent, now: float, log: str | None, diagnostic: str | None = None) -> dict[str, Json]:
    """One entry of ``agents``; unknown numbers are null, ``seconds`` runs from its start to its end or now.

    Turns, tokens and dollars are its own, without its branch; they are null for what is no conversation.
    """
    seconds = agent.seconds(now)
    chat = agent.driver is DriverKind.CHAT
    return {
        "id": agent.id,
        "parent": agent.parent,
        "name": agent.name,
        "depth": agent.depth,
        "driver": agent.driver.value,
        "model": agent.model,
        "role": agent.spec.get("role", Role.LEAF.value) if chat else None,
        "state": agent.state.value,
        "goal": agent.goal,
        "result": agent.result,
        "error": agent.error,
        "exit_code": agent.exit_code,
        "turns": agent.turns if chat else None,
        "tokens_in": agent.tokens_in if chat else None,
        "tokens_out": agent.tokens_out if chat else None,
        "cost_usd": _dollars(agent.cost, agent.unpriced) if chat else None,
        "cost_is_lower_bound": agent.unsettled > 0 if chat else None,
        "key": agent.key or None,
        "resumes": agent.resumes or None,
        "resumed_by": agent.resumed_by or None,
        "unknown": list(agent.calls.values()) if agent.state is State.LOST else [],
        "stop": stop_document(agent),
        "seconds": round(seconds, 3) if seconds is not None else None,
        "log": log,
        "diagnostic": diagnostic,
    }


def stop_document(agent: Agent) -> dict[str, Json] | None:
    """How an agent was stopped, with the moment of each step in epoch seconds; null if nobody asked for it.

    ``asked`` is when its gate was shut, ``delivered`` when it was told, ``effective`` when nothing of it was left.
    """
    if agent.asked_at is None:
        return None
    return {
        "verb": agent.stop_verb.value if agent.stop_verb is not None else None,
        "by": agent.asked_by or agent.stop_who or None,
        "cause": agent.stop_cause or None,
        "asked": agent.asked_at,
        "delivered": agent.delivered_at,
        "effective": agent.ended_at,
        "rungs": [{"rung": step.name.lower(), "at": at, "by": who} for step, at, who in agent.rungs],
    }


def waiting_document(state: SwarmState, agent: Agent, position: int | None) -> dict[str, Json] | None:
    """What an agent waits for: ``reason``, ``position`` (from 1, in order of service), ``held_by``; or null."""
    if agent.question is not None and not agent.ended:
        return {"reason": "approval", "position": None, "held_by": None, "detail": agent.question.get("headline")}
    if agent.state not in (State.QUEUED, State.WAITING):
        return None
    reason = agent.reason.value if agent.reason is not None else WaitReason.SLOT.value
    detail = agent.detail
    held: str | None = None
    if state.line.is_parked(agent.id) or agent.reason is WaitReason.GATE:
        reason = WaitReason.GATE.value
        latch = state.latch_over(agent.id)
        if latch is not None:
            held = latch.scope or ROOT
        else:
            shut = state.shut_over(agent.id)
            held = shut.agent if shut is not None else None
    elif agent.id in state.line and state.is_full(agent.provider):
        reason = WaitReason.KEY.value
        cap = state.caps[agent.provider]
        said = f"1 agent of {agent.provider} runs" if cap == 1 else f"{cap} agents of {agent.provider} run"
        detail = f"{said}, as many as its keys take"
    return {"reason": reason, "position": position, "held_by": held, "detail": detail or None}


def status_of(state: SwarmState) -> str:
    """``running``, or ``done``, ``failed``, ``interrupted`` from the end states (failed before interrupted).

    Only what the operator asked for decides: what becomes of a delegated agent is the business of its parent, and
    for one that was resumed the agent speaks that goes on with its conversation.
    """
    if any(not agent.ended for agent in state.agents.values()):
        return "running"
    asked = [agent for agent in state.agents.values() if is_counted(agent) and not is_delegated(agent)]
    ends = {agent.state for agent in asked if not agent.resumed_by}
    if ends & {State.FAILED, State.TIMED_OUT, State.OVER_LIMIT, State.LOST}:
        return "failed"
    if ends & {State.INTERRUPTED, State.KILLED}:
        return "interrupted"
    return "done"


def is_counted(agent: Agent) -> bool:
    """True but for a root that only holds the others."""
    return agent.id != ROOT or agent.driver is not DriverKind.GROUP


def is_delegated(agent: Agent) -> bool:
    """True if another agent asked for it, not the operator (who asks for whatever is resumed)."""
    return bool(agent.spec.get("depth")) and not agent.resumes


def group_end(state: SwarmState, group: str) -> State:
    """The end of a group from those of its children: failed > timed_out > interrupted > done.

    Of a conversation that was resumed the newest agent decides.
    """
    children = (state.agents[child] for child in state.agents[group].children)
    ends = {child.state for child in children if not child.resumed_by}
    for end in (
        State.FAILED,
        State.LOST,
        State.TIMED_OUT,
        State.OVER_LIMIT,
        State.KILLED,
        State.INTERRUPTED,
    ):
        if end in ends:
            return State.FAILED if end in (State.LOST, State.OVER_LIMIT) else end
    return State.DONE


def states_count(state: SwarmState) -> dict[str, Json]:
    """How many agents (without a root that only holds them) are in which state; none: left out."""
    counts = Counter(agent.state.value for agent in state.agents.values() if is_counted(agent))
    return dict(counts)


def tree_document(
    state: SwarmState, now: float, live: Callable[[str], Live], log_of: PathOf, diagnostic_of: PathOf = _none
) -> list[dict[str, Json]]:
    """The ``agents`` of ``tree --json``: the entries of ``run --json`` with what is true at this moment."""
    positions = {agent: i for i, agent in enumerate(state.line.positions(), 1)}
    positions |= {agent: i for i, agent in enumerate(state.line.held(), 1)}
    rows = []
    for agent in state.subtree(ROOT) if ROOT in state.agents else ():
        row = agent_document(agent, now, log_of(agent), diagnostic_of(agent))
        row["waiting"] = waiting_document(state, agent, positions.get(agent.id))
        row["activity"] = live(agent.id).activity or None
        row["since"] = agent.since
        row["pids"] = list(agent.pids)
        row["mark"] = agent.mark.value if agent.mark is not None else None
        row["evidence"] = agent.evidence or None
        rows.append(row)
    return rows


def run_document(state: SwarmState, now: float, log_of: PathOf, diagnostic_of: PathOf = _none) -> dict[str, Json]:
    """The one document of ``run --json``; ``agents`` in the order asked."""
    created = state.created
    end = state.ended_at if state.ended_at is not None else now
    status = state.status or status_of(state)
    return {
        "swarm": created.swarm if created is not None else None,
        "name": created.name if created is not None else None,
        "status": status,
        "seconds": round(end - state.created_at, 3),
        "totals": _totals(state),
        "agents": [
            agent_document(agent, now, log_of(agent), diagnostic_of(agent))
            for agent in state.agents.values()
            if is_counted(agent)
        ],
    }


def _totals(state: SwarmState) -> dict[str, Json]:
    spend = state.spend(ROOT) if any(one.driver is DriverKind.CHAT for one in state.agents.values()) else None
    return {
        "agents": sum(map(is_counted, state.agents.values())),
        "states": states_count(state),
        "tokens_in": spend.tokens_in if spend is not None else None,
        "tokens_out": spend.tokens_out if spend is not None else None,
        "cost_usd": _dollars(spend.cost, spend.unpriced) if spend is not None else None,
        "cost_is_lower_bound": spend.unsettled > 0 if spend is not None else None,
    }


def _dollars(micro_dollars: int, unpriced: int) -> float | None:
    """US dollars; None as soon as one turn had no known price."""
    return None if unpriced else micro_dollars / 1_000_000
