"""Long text for a model is cut in its middle, and says what was cut."""

from __future__ import annotations

RESULT_LIMIT = 64 * 1024
"""Most bytes of one result that goes to a model."""


def capped(text: str, limit: int = RESULT_LIMIT, pointer: str = "") -> str:
    """The text within ``limit`` bytes of UTF-8: of a longer one the head and the tail.

    Between them stands how long it was and, in ``pointer``, where the whole can be had.
    """
    if len(text) * 4 <= limit:
        return text
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return text
    mark = f"\n[… {len(data):,} bytes are cut to their head and tail here{pointer} …]\n"
    room = max(0, limit - len(mark.encode()))
    head, tail = data[: room - room // 2], data[len(data) - room // 2 :]
    return head.decode(errors="ignore") + mark + tail.decode(errors="ignore")
