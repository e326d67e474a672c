"""From what was asked on the command line to a whole swarm; makes nothing, and says at once what cannot be."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from skep.cli.items import gather, refuse_undecodable
from skep.cli.naming import NAME_CELLS, checked_name, new_id
from skep.cli.settings import engine_settings
from skep.cli.template import Item, Phrase, Template
from skep.config import Config
from skep.errors import BadInput, NotFound
from skep.model.events import ROOT
from skep.model.launch import AgentAsk, CommandSpec, Launch
from skep.model.states import DriverKind
from skep.text import clean_line, cut_middle

# A cell may hold several characters, and a record takes no longer name.
_NAME_CHARACTERS = 500
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NO_FILE_NAME = re.compile(r"[^\w.-]+")
_LOG_NAME = 60  # characters; a file name holds 255 bytes, and a character takes up to four


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asked for, word by word; ``cwd`` is absolute."""

    cwd: Path
    globs: tuple[str, ...] = ()
    line_files: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    shell: bool = False
    group: str | None = None
    name: str | None = None
    fail_fast: bool = False
    log_dir: Path | None = None

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every text in it, with the option that it was given to."""
        yield "--cwd", str(self.cwd)
        yield "--log-dir", str(self.log_dir or "")
        yield "--group", self.group or ""
        for option, texts in (("--each", self.globs), ("--command", self.commands), ("--", self.argv)):
            for text in texts:
                yield option, text


@dataclass(frozen=True, slots=True)
class _Job:
    """One agent to be: which command it runs, for which item."""

    template: Template
    item: Item | None
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        return self.words[0] if self.template.shell else shlex.join(self.words)


def plan(wish: Wish, config: Config, env: Mapping[str, str]) -> Launch:
    """The swarm that was asked for; makes nothing.

    Raises ``BadInput`` or ``NotFound`` for the first thing that cannot be.
    """
    check_folder(wish.cwd)
    for option, text in wish.texts():
        refuse_undecodable(text, option, mend="write it, or rename it, as valid UTF-8")
    templates = _templates(wish)
    phrase = Phrase(wish.group, where="--group", option="--group") if wish.group is not None else None
    has_items = bool(wish.globs or wish.line_files)
    _check_fields(templates, phrase, has_items=has_items)
    items = gather(wish.globs, wish.line_files, wish.cwd) if has_items else []
    jobs = [_jobs_of(template, items, number) for number, template in enumerate(templates, 1)]
    check_programs((job for each in jobs for job in each if not job.template.shell), wish.cwd, env)
    return _launch(wish, config, _swarm_name(wish, templates[0]), _asks(jobs, phrase, wish, config))


def _launch(wish: Wish, config: Config, name: str, asks: Iterable[AgentAsk]) -> Launch:
    return Launch(
        swarm=new_id(),
        name=name,
        cwd=str(wish.cwd),
        max_running=config.max_running,
        fail_fast=wish.fail_fast,
        agents=tuple(asks),
        settings=engine_settings(config),
    )


def check_folder(cwd: Path) -> None:
    """Raise unless this is a folder in which a program can be started."""
    where = f"--cwd {clean_line(str(cwd))}"
    if not cwd.exists():
        raise NotFound("no such folder", where=where, mend="make it, or name another one")
    if not cwd.is_dir():
        raise BadInput("not a folder", where=where, mend="name the folder in which the commands should run")
    if not os.access(cwd, os.X_OK):
        raise BadInput("the folder may not be entered", where=where, mend=f"chmod u+x {shlex.quote(str(cwd))}")


def check_programs(jobs: Iterable[_Job], cwd: Path, env: Mapping[str, str]) -> None:
    """Raise ``NotFound`` or ``BadInput`` for the first program that could not be started."""
    checked: set[str] = set()
    for job in jobs:
        program = job.words[0]
        if program not in checked:
            checked.add(program)
            _check_program(program, job, cwd, env)


def _check_program(program: str, job: _Job, cwd: Path, env: Mapping[str, str]) -> None:
    where = f"--command {clean_line(job.template.source, limit=60)!r}"
    shown = clean_line(program, limit=60) or "''"
    if "/" in program:
        path = cwd / program
        if not path.exists():
            raise NotFound(
                f"no such program: {shown}", where=where, mend="check the path; it is relative to --cwd"
            )
        if path.is_dir() or not os.access(path, os.X_OK):
            why = "it is a folder" if path.is_dir() else "it is not executable"
            raise BadInput(
                f"cannot run {shown}", where=where, why=why, mend="chmod +x it, or name its interpreter"
            )
    elif shutil.which(program, path=env.get("PATH", os.defpath)) is None:
        mend = "install it, name it by its path, or add --shell for a builtin or a pipeline"
        raise NotFound(f"no such program: {shown}", where=where, why="it is not on PATH", mend=mend)


def _templates(wish: Wish) -> list[Template]:
    if wish.argv and wish.commands:
        raise BadInput(
            "both --command and a program were given",
            where=f"{clean_line(shlex.join(wish.argv), limit=60)}",
            mend="give one of them; and quote a glob, so that the shell leaves it alone: --each '*.py'",
        )
    if wish.argv:
        if wish.shell:
            raise BadInput("--shell takes one line", where="--", mend="write it as --command 'LINE' --shell")
        return [Template.of_words(list(wish.argv))]
    if not wish.commands:
        mend = "add --command 'PROGRAM {item}', or a goal: skep run \"goal\" --model PROVIDER/MODEL"
        raise BadInput("there is nothing to run", where="skep run", mend=mend)
    return [Template.of_shell(line) if wish.shell else Template.of_line(line) for line in wish.commands]


def _check_fields(templates: list[Template], group: Phrase | None, *, has_items: bool) -> None:
    for template in templates:
        where = f"--command {clean_line(template.source, limit=60)!r}"
        if has_items and not template.fields:
            raise BadInput(
                "the command does not say where the item goes",
                where=where,
                mend="write {item} in it; {stem}, {name}, {dir}, {ext} and {n} are there as well",
            )
        if not has_items and template.fields - {"n"}:
            raise BadInput(
                "there are no items to fill the command with",
                where=where,
                mend="add --each 'GLOB' or --each-line FILE, or write {{ for a brace",
            )
    if group is not None:
        if not has_items:
            raise BadInput("there are no items to group", where="--group", mend="add --each or --each-line")
        if not group.fields:
            mend = "write a field in it, as in --group '{dir}'"
            raise BadInput("all items would be one group", where=f"--group {group.text!r}", mend=mend)


def _jobs_of(template: Template, items: list[Item], number: int) -> list[_Job]:
    if items:
        return [_Job(template, item, template.render(item)) for item in items]
    return [_Job(template, None, template.render(Item("", number)))]


def _asks(jobs: list[list[_Job]], group: Phrase | None, wish: Wish, config: Config) -> Iterator[AgentAsk]:
    """Groups right before their first child; ``g1`` … and ``a1`` … in the order asked."""
    groups: dict[tuple[str, str], str] = {}
    logs = _LogNames(wish.log_dir)
    number = 0
    for each in jobs:
        parent = ROOT
        if len(jobs) > 1 and each[0].item is not None:
            parent = f"g{len(groups) + 1}"
            groups[ROOT, parent] = parent
            yield _group(parent, ROOT, each[0].template.source)
        for job in each:
            branch = parent
            if group is not None and job.item is not None:
                value = group.render(job.item)
                branch = groups.get((parent, value), "")
                if not branch:
                    branch = groups[parent, value] = f"g{len(groups) + 1}"
                    yield _group(branch, parent, value)
            number += 1
            yield _ask(f"a{number}", branch, job, wish, config, logs)


def _group(id: str, parent: str, name: str) -> AgentAsk:
    return AgentAsk(id=id, parent=parent, name=_shown(name) or id, driver=DriverKind.GROUP, goal=name)


def _ask(id: str, parent: str, job: _Job, wish: Wish, config: Config, logs: _LogNames) -> AgentAsk:
    label = job.item.text if job.item is not None else job.line
    return AgentAsk(
        id=id,
        parent=parent,
        name=_shown(label) or id,
        goal=job.line,
        command=CommandSpec(
            argv=job.words,
            cwd=str(wish.cwd),
            shell=job.template.shell,
            timeout=config.timeout,
            retries=config.retries,
        ),
        log=logs.take(label),
    )


class _LogNames:
    """File names in the folder of ``--log-dir``: readable, safe, and none twice, not even in another case."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._taken: set[str] = set()
        self._last: dict[str, int] = {}

    def take(self, label: str) -> str | None:
        """The path for the log of the agent with this label; None without a folder."""
        if self._folder is None:
            return None
        stem = _NO_FILE_NAME.sub("_", label)[-_LOG_NAME:].strip("._-") or "item"
        key = stem.lower()
        number = self._last.get(key, 0) + 1
        name = f"{stem}.log" if number == 1 else f"{stem}-{number}.log"
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}-{number}.log"
        self._last[key] = number
        self._taken.add(name.lower())
        return str(self._folder / name)


def _shown(text: str) -> str:
    return cut_middle(clean_line(text, limit=_NAME_CHARACTERS), NAME_CELLS)


def _swarm_name(wish: Wish, first: Template) -> str:
    """The name asked for, else what the first command runs and the folder it runs in: ``ruff-billing``."""
    if wish.name is not None:
        return checked_name(wish.name)
    words = first.source.split()
    program = os.path.basename(words[0])
    if re.fullmatch(r"python[\d.]*", program) and words[1:2] == ["-m"] and len(words) > 2:
        program = words[2]
    parts = [_UNSAFE.sub("-", part).strip("-.") for part in (program, wish.cwd.name)]
    return "-".join(part for part in parts if part)[:40].rstrip("-.") or "swarm"
