"""What a turn costs."""

from __future__ import annotations

from skep.llm.messages import Usage
from skep.providers import Prices


def cost(prices: Prices | None, usage: Usage) -> int | None:
    """The price of ``usage`` in whole micro-dollars, half a one rounded up; None where no price is known."""
    if prices is None:
        return None
    cached = min(usage.cached, usage.tokens_in)
    cached_price = prices.input if prices.cached_input is None else prices.cached_input
    total = (usage.tokens_in - cached) * prices.input + cached * cached_price + usage.tokens_out * prices.output
    # Prices are decimals that floats hold inexactly: 2.675 must not round down for that.
    return int(total + 0.5 + 1e-9)
