"""What a model without a script does: it looks around, reads one file and says what it found."""

from __future__ import annotations

from skep.simulator.behaviour import Call, Conversation, Reply

_QUOTED = 200
"""Characters of what was read that the answer quotes."""


def plausible(conversation: Conversation) -> Reply:
    """List the files, read one of them and quote it; answer at once where there are no such tools."""
    subject = conversation.goal.strip().splitlines()[0][:120] if conversation.goal.strip() else "that"
    read = conversation.results[-1] if conversation.results else None
    if conversation.turn == 0 and "list_files" in conversation.tools:
        return Reply(
            text="Let me see what is there.",
            thinking=f"The goal is: {subject}",
            calls=(Call("list_files", {"path": "."}),),
        )
    if read is not None and read.name == "list_files" and "read_file" in conversation.tools:
        # What stands after two blanks says more of a file: its size, perhaps.
        names = [line.strip().partition("  ")[0] for line in read.content.splitlines()]
        files = [name for name in names if name and not name.endswith("/")]
        if files:
            chosen = conversation.dice().choice(files)
            return Reply(text=f"{chosen} looks right.", calls=(Call("read_file", {"path": chosen}),))
    if read is not None and read.name == "read_file":
        return Reply(text=f"{subject}: done. What I read begins with: {read.content[:_QUOTED]}")
    return Reply(text=f"{subject}: done.")
