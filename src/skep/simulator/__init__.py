"""A model provider on loopback that needs no model: scripted, paced, limited and faulty as told."""

from skep.simulator.behaviour import (
    Behaviour,
    Call,
    Conversation,
    Fault,
    FaultKind,
    Pace,
    Reply,
    ToolResultSeen,
)
from skep.simulator.ledger import Closing, KeyAccount, Ledger
from skep.simulator.limits import KeyLimits, Storm
from skep.simulator.scenario import Scenario, SimulatedKey
from skep.simulator.server import Simulator

__all__ = [
    "Behaviour",
    "Call",
    "Closing",
    "Conversation",
    "Fault",
    "FaultKind",
    "KeyAccount",
    "KeyLimits",
    "Ledger",
    "Pace",
    "Reply",
    "Scenario",
    "SimulatedKey",
    "Simulator",
    "Storm",
    "ToolResultSeen",
]
