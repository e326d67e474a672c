"""Children that outlive whoever asked for them: they keep their places, and whoever resumes it hears of them."""

from __future__ import annotations

from pathlib import Path

from skep.model.events import MessageAdded, TurnCompleted
from skep.model.states import State
from tests.chat.asking import chat, delegate, task
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check

HANGS = {"hang": True}


async def left_by_a_dead_engine(make_chat_hive: MakeChatHive, tmp_path: Path, *, background: bool) -> ChatHive:
    """A new engine over a swarm whose lead had asked for three; one ran, two stood in line."""
    hive = await make_chat_hive()
    children = [task("c0", HANGS), task("c1", {"say": "one"}), task("c2", {"say": "two"})]
    steps = [delegate(*children, background=background), {"say": "not yet"}, {"say": "all is told"}]
    await hive.launch(chat("lead", *steps, cwd=hive.workspace), slots=1)
    await hive.until(lambda state: len(state.agents) == 5 and state.agents["lead"].reason is not None)
    await hive.until(lambda state: any(one.name == "c0" and one.slot for one in state.agents.values()))
    again = await make_chat_hive(folder=await hive.die(tmp_path / "left"))
    await again.recover()
    return again


async def test_they_keep_their_places_and_run_once_the_swarm_is_let_go(
    make_chat_hive: MakeChatHive, tmp_path: Path
):
    again = await left_by_a_dead_engine(make_chat_hive, tmp_path, background=False)
    assert again.agent("lead").state is State.LOST
    assert [again.agent(one).name for one in again.held()] == ["c1", "c2"]
    await again.unpause()
    await again.over()
    assert {one: again.agent(await again.named(one)).state for one in ("c0", "c1", "c2")} == {
        "c0": State.LOST,
        "c1": State.DONE,
        "c2": State.DONE,
    }
    assert again.status() == "failed", "the lead was lost, and nobody has gone on with it"
    check(again)


async def test_who_resumes_the_lost_one_is_told_their_results(make_chat_hive: MakeChatHive, tmp_path: Path):
    again = await left_by_a_dead_engine(make_chat_hive, tmp_path, background=True)
    _, new = await again.engine.resume("lead", "", "you")
    [told] = again.events(MessageAdded, agent=new)
    assert "c1" in told.content
    assert "its result comes as a message" in told.content
    await again.unpause()
    await again.over()
    said = [event.content for event in again.events(MessageAdded, agent=new)]
    assert any("one" in text and "two" in text for text in said[1:]), "their answers, in one message"
    assert again.agent(new).state is State.DONE
    assert again.agent("lead").resumed_by == new
    assert again.status() == "done", "what was lost was gone on with"
    assert again.events(TurnCompleted, agent=new)
    check(again)
