"""What those do who work on the code: review a module, run tests, mend a defect, put a service under load.

Each trade is a row of turns; what an agent says in one depends on what it was sent before it.
"""

from __future__ import annotations

from skep.simulator.behaviour import Reply
from skep.simulator.demo.plan import LONG
from skep.simulator.demo.reading import matches, public, verdict
from skep.simulator.demo.scene import Scene, bullets, look, read, search, several, shell, write
from skep.simulator.demo.workspace import LOAD_TEST

LONG_LOAD = 25.0
"""Seconds of the load test that an operator will wonder about."""

SHORT_LOAD = 4.0
"""Seconds of the others."""

_TESTS = "python3 -B -m unittest -q"


# Reviews: module and tests, who uses it, a page, a verdict.


def _review_look(scene: Scene) -> Reply:
    service = scene.persona.of
    return scene.act(
        scene.choose("I start with what lies around the module.", f"First the layout of {service.name}."),
        look(service.folder),
        think=f"It {scene.persona.module.purpose}. I read it as somebody who has to change it next year.",
    )


def _review_read(scene: Scene) -> Reply:
    service, kind = scene.persona.of, scene.persona.module
    return scene.act(
        scene.choose("Now the module, and beside it its tests.", "Module and tests together, then I compare."),
        read(service.path(kind)),
        read(service.test_path(kind)),
    )


def _review_users(scene: Scene) -> Reply:
    names = [name for name, _ in public(scene.last) if not name.startswith("test")]
    first = names[0] if names else scene.persona.module.stem
    return scene.act(
        f"{several(len(names), 'public name')} so far. Who else relies on `{first}`?",
        search(first, "services"),
        think="If nobody outside calls it, a change of its arguments is cheap; otherwise it has to wait for 4.3.",
    )


def _review_write(scene: Scene) -> Reply:
    persona, service, kind = scene.persona, scene.persona.of, scene.persona.module
    outside = {match.path.split("/")[1] for match in matches(scene.last)} - {service.name}
    findings = [kind.advice]
    if kind is service.broken:
        findings.insert(0, f"WRONG: {kind.slip}")
    findings.append(f"the same name is used in {several(len(outside), 'other service')}")
    page = f"# Review of {service.path(kind)}\n\nIt {kind.purpose}.\n\n{bullets(findings)}\n"
    return scene.act(
        scene.choose("I have seen enough to write it down.", "That goes on a page."),
        write(f"docs/reviews/{persona.name}.md", page),
    )


def _review_end(scene: Scene) -> Reply:
    service, kind = scene.persona.of, scene.persona.module
    if kind is service.broken:
        word = f"must change: {kind.slip}."
    else:
        word = scene.choose("right as it is.", "right, and clear enough.")
    return scene.answer(
        f"{service.name}/{kind.stem}: {word}\n\nFor later: {kind.advice}. "
        f"The page is docs/reviews/{scene.persona.name}.md."
    )


# Tests: see what there is, run it, look into what failed.


def _test_look(scene: Scene) -> Reply:
    return scene.act(f"Which tests does {scene.persona.of.name} have?", look(f"{scene.persona.of.folder}/tests"))


def _test_run(scene: Scene) -> Reply:
    found = scene.last.count("test_")
    return scene.act(
        f"{several(found, 'file')} of tests. All of them at once.",
        shell(_TESTS, scene.persona.of.folder),
        think=scene.choose("No need to choose, they are quick.", "-B, so that nothing stale is left behind."),
    )


def _test_judge(scene: Scene) -> Reply:
    service, seen = scene.persona.of, verdict(scene.last)
    if not seen.failed:
        return _test_end(scene)
    kind = service.broken or service.kinds[0]
    return scene.act(
        f"{', '.join(seen.failed)} failed out of {seen.ran}. I want to see why before I report it.",
        read(service.path(kind)),
        think="Either the test asks for too much, or the module does not keep its word. The text will tell.",
    )


def _test_end(scene: Scene) -> Reply:
    service, seen = scene.persona.of, verdict(scene.last)
    if seen.passed:
        return scene.answer(f"{service.name}: {several(seen.ran, 'test')}, all pass.")
    if service.broken is None or not public(scene.last):
        return scene.answer(f"{service.name}: the tests could not be run here.\n\n{scene.last[:200]}")
    wrong = service.broken.bad in scene.last
    why = f"`{service.broken.bad}`" if wrong else "somebody has mended it in the meantime"
    return scene.answer(
        f"{service.name}: failures in {service.broken.stem}.\n\nThe reason, as far as I see: {why}. "
        f"{service.broken.slip.capitalize() if wrong else 'Run it once more'}."
    )


# Mending: see it fail, read, write, see it pass.


def _mend_run(scene: Scene) -> Reply:
    return scene.act(
        "Before I touch anything I want to see it fail.",
        shell(f"{_TESTS} tests.test_{scene.persona.module.stem}", scene.persona.of.folder),
        think="A defect that I cannot see I cannot mend. One test file is enough.",
    )


def _mend_read(scene: Scene) -> Reply:
    seen = verdict(scene.last)
    said = f"It fails in {', '.join(seen.failed)}." if seen.failed else "No failure that I could see; I read on."
    return scene.act(f"{said} Now the module.", read(scene.persona.of.path(scene.persona.module)))


def _mend_write(scene: Scene) -> Reply:
    service, kind = scene.persona.of, scene.persona.module
    if kind.bad not in scene.last:
        return scene.answer(f"{service.name}/{kind.stem}: nothing to mend, `{kind.good}` is as it should be.")
    return scene.act(
        f"There it is: {kind.slip}. One line changes.",
        write(service.path(kind), service.source(kind, mended=True)),
        think=f"`{kind.bad}` should read `{kind.good}`. All else stays as it was.",
    )


def _mend_check(scene: Scene) -> Reply:
    return scene.act(
        scene.choose("And once more the same test.", "Does it hold now?"),
        shell(f"{_TESTS} tests.test_{scene.persona.module.stem}", scene.persona.of.folder),
    )


def _mend_end(scene: Scene) -> Reply:
    service, kind, seen = scene.persona.of, scene.persona.module, verdict(scene.last)
    if seen.passed:
        return scene.answer(
            f"{service.name}/{kind.stem}: mended, {several(seen.ran, 'test')} pass.\n\nIt was this: {kind.slip}."
        )
    return scene.answer(
        f"{service.name}/{kind.stem}: changed, but no run shows that it passes.\n\nLine: `{kind.good}`"
    )


# Load: read how, run it, judge it.


def _load_read(scene: Scene) -> Reply:
    return scene.act("How is the load test started?", read(LOAD_TEST))


def _load_run(scene: Scene) -> Reply:
    name, long = scene.persona.of.name, scene.persona.of.name == LONG
    seconds = (LONG_LOAD if long else SHORT_LOAD) / scene.speed
    command = f"python3 -B {LOAD_TEST} {name} --seconds {seconds:.3g} --rounds {20 if long else 5}"
    return scene.act(
        "This is the service that counts, so the long one." if long else "The short one will do here.",
        shell(command, timeout=60 + int(4 * seconds)),
        think="It prints a line for each round; if it stops printing, something is wrong.",
    )


def _load_end(scene: Scene) -> Reply:
    name = scene.persona.of.name
    held = next((line for line in scene.last.splitlines() if line.startswith("held:")), "")
    if held:
        return scene.answer(f"{name}: {held}")
    return scene.answer(f"{name}: no result.\n\nThe load test ended with: {scene.last.strip()[-200:]}")


REVIEW = (_review_look, _review_read, _review_users, _review_write, _review_end)
TEST = (_test_look, _test_run, _test_judge, _test_end)
MEND = (_mend_run, _mend_read, _mend_write, _mend_check, _mend_end)
LOAD = (_load_read, _load_run, _load_end)
