"""What those do who mostly write: pages on the services, counts of notes and plans, findings of the audit."""

from __future__ import annotations

from skep.simulator.behaviour import Reply
from skep.simulator.demo.plan import AUDIT
from skep.simulator.demo.reading import matches, public
from skep.simulator.demo.scene import Scene, bullets, look, read, search, several, write
from skep.simulator.demo.shop import MARK

# Documents: README and modules, a page, read once more.


def _document_look(scene: Scene) -> Reply:
    service = scene.persona.of
    return scene.act(f"What is there of {service.name}?", look(f"{service.folder}/{service.name}"))


def _document_read(scene: Scene) -> Reply:
    service = scene.persona.of
    modules = scene.last.count(".py") - scene.last.count("__init__")
    return scene.act(
        f"{several(modules, 'module')}, and the README. I read all of it.",
        read(f"{service.folder}/README.md"),
        *(read(service.path(kind)) for kind in service.kinds),
    )


def _document_write(scene: Scene) -> Reply:
    service = scene.persona.of
    said = [f"`{name}`: {sentence}" for name, sentence in public(scene.last)]
    page = f"# {service.name}\n\n{service.purpose.capitalize()}.\n\n{bullets(said)}\n"
    return scene.act(
        f"{several(len(said), 'name')} to explain, each in a sentence.",
        write(f"docs/services/{service.name}.md", page),
        think="The sentences stand in the code already. I take them as they are, then they cannot disagree.",
    )


def _document_check(scene: Scene) -> Reply:
    return scene.act("I read it once more as a newcomer would.", read(f"docs/services/{scene.persona.of.name}.md"))


def _document_end(scene: Scene) -> Reply:
    names = scene.last.count("- `")
    return scene.answer(f"{scene.persona.of.name}: page written, {several(names, 'name')} explained.")


# Notes: count them, weigh them; plan for the worst.


def _count_search(scene: Scene) -> Reply:
    return scene.act(
        scene.choose(f"Every {MARK} in the code of {scene.persona.of.name}.", "A search will tell."),
        search(MARK, scene.persona.of.folder),
    )


def _count_read(scene: Scene) -> Reply:
    found, service = matches(scene.last), scene.persona.of
    if not found:
        return scene.answer(f"{service.name}: 0 notes left.")
    heavy = max(found, key=lambda match: len(match.text))
    return scene.act(
        f"{several(len(found), 'note')}. The one in line {heavy.line} of {heavy.path} needs a closer look.",
        read(heavy.path),
        think="A note that names a decision weighs more than one that asks for a nicer list.",
    )


def _count_end(scene: Scene) -> Reply:
    found = matches(scene.earlier("search_files"))
    notes = [line.strip(" #") for line in scene.last.splitlines() if MARK in line]
    weighs = f"\n\nWeighs most: {notes[0]}" if notes else ""
    return scene.answer(f"{scene.persona.of.name}: {several(len(found), 'note')} left.{weighs}")


def _plan_search(scene: Scene) -> Reply:
    folder = scene.persona.of.folder
    return scene.act("The notes again, and who could do it.", search(MARK, folder), read(f"{folder}/OWNERS"))


def _plan_write(scene: Scene) -> Reply:
    service, found = scene.persona.of, matches(scene.last)
    steps = [f"{place}. {match.text.lstrip('# ')} ({match.path})" for place, match in enumerate(found, 1)]
    page = f"# Notes of {service.name}\n\n" + "\n".join(steps) + "\n\nOne each week; the first before 4.3.\n"
    return scene.act(
        f"{several(len(found), 'note')}, in an order that can be worked off.",
        write(f"docs/plans/{service.name}.md", page),
        think="First what somebody waits for, then what is cheap, then the rest.",
    )


def _plan_end(scene: Scene) -> Reply:
    return scene.answer(f"{scene.persona.of.name}: plan written to docs/plans/{scene.persona.of.name}.md.")


# The audit: one question each.


def _audit_search(scene: Scene) -> Reply:
    question = next(question for question in AUDIT if question.topic == scene.persona.topic)
    where = "config" if question.glob == "*.toml" else "services"
    return scene.act(
        f"I look for {question.words}.",
        search(question.pattern, where, question.glob),
        think="Better too many hits than too few; I sort them by hand.",
    )


def _audit_read(scene: Scene) -> Reply:
    found = matches(scene.last)
    first = found[0].path if found else "config/shop.toml"
    text = f"{several(len(found), 'hit')}. I read the first in its place, in {first}."
    return scene.act(text, read(first))


def _audit_write(scene: Scene) -> Reply:
    topic = scene.persona.topic
    hits = matches(scene.earlier("search_files"))
    rows = bullets(f"{hit.path}:{hit.line} `{hit.text[:80]}`" for hit in hits[:12])
    return scene.act(
        "What I found, with the places.",
        write(f"docs/audit/{topic}.md", f"# {topic}\n\n{several(len(hits), 'hit')}.\n\n{rows or 'Nothing.'}\n"),
        think="Whoever reads this wants the line, not an essay.",
    )


def _audit_end(scene: Scene) -> Reply:
    hits = matches(scene.earlier("search_files"))
    files = len({hit.path for hit in hits})
    return scene.answer(f"{scene.persona.topic}: {several(len(hits), 'hit')} in {several(files, 'file')}.")


DOCUMENT = (_document_look, _document_read, _document_write, _document_check, _document_end)
COUNT = (_count_search, _count_read, _count_end)
PLAN = (_plan_search, _plan_write, _plan_end)
AUDITS = (_audit_search, _audit_read, _audit_write, _audit_end)
