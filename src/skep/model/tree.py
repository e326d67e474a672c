"""The agents of a swarm as a tree, with a running count of what stands below each of them."""

from __future__ import annotations

from collections.abc import Iterator

from skep.model.agent import END_FACES, Agent, Face, Spend


class Tree:
    """Agents by id, in the order asked; parents come before their children."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        """In the order asked."""
        self.tallies: dict[str, dict[Face, int]] = {}
        """Agent with children → how many of its descendants show which face."""
        self.spends: dict[str, Spend] = {}
        """Agent → what its branch has used; agents whose branch has used nothing are left out."""
        self.touched: set[str] = set()
        """Agents that the last folds changed; whoever keeps watches empties it."""

    def live_below(self, agent: str) -> int:
        """How many descendants have not ended."""
        return sum(count for face, count in self.tallies.get(agent, {}).items() if face not in END_FACES)

    def subtree(self, agent: str) -> Iterator[Agent]:
        """The agent and all below it, parents before children, without recursion."""
        pending = [agent]
        while pending:
            one = self.agents[pending.pop()]
            yield one
            pending.extend(reversed(one.children))

    def ancestors(self, agent: str) -> Iterator[Agent]:
        """The agent, then its parent, up to the root."""
        at: str | None = agent
        while at is not None:
            one = self.agents[at]
            yield one
            at = one.parent

    def composition(self, agent: str) -> dict[Face, int]:
        """How many descendants show which face, holds included; faces with none are left out."""
        return {face: count for face, count in self.tallies.get(agent, {}).items() if count}

    def spend(self, agent: str) -> Spend:
        """What the branch of this agent has used; to look at and not to keep."""
        return self.spends.get(agent) or Spend()

    def _spent(self, agent: Agent, more: Spend) -> None:
        """Add to the agent's branch and to all above it."""
        for one in self.ancestors(agent.id):
            spend = self.spends.get(one.id)
            if spend is None:
                spend = self.spends[one.id] = Spend()
            spend.turns += more.turns
            spend.tokens_in += more.tokens_in
            spend.tokens_out += more.tokens_out
            spend.cost += more.cost
            spend.unpriced += more.unpriced
            spend.unsettled += more.unsettled
            self.touched.add(one.id)

    def _join(self, agent: Agent, face: Face) -> None:
        """Put an agent under its parent, which is there already."""
        self.agents[agent.id] = agent
        if agent.parent is not None:
            self.agents[agent.parent].children.append(agent.id)
        self.touched.add(agent.id)
        self._count(agent, face, 1)

    def _count(self, agent: Agent, face: Face, step: int) -> None:
        at = agent.parent
        while at is not None:
            tally = self.tallies.setdefault(at, {})
            tally[face] = tally.get(face, 0) + step
            self.touched.add(at)
            at = self.agents[at].parent
