"""``skep clean``, ``config`` and ``trust``: old swarms, effective settings, and whose settings count."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.printing import complain, document, note, say, table
from skep.errors import NotFound

if TYPE_CHECKING:
    from skep.model.events import Json

CLEAN_EXAMPLES = ("skep clean --older-than 7d --yes", "skep clean --dry-run", "skep clean k3x9ab")
CONFIG_EXAMPLES = ("skep config", "SKEP_MAX_RUNNING=4 skep config --json")
TRUST_EXAMPLES = ("skep trust", "skep trust ../billing", "skep trust --list", "skep trust --remove")

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def clean(
    swarms: Annotated[
        list[str] | None, typer.Argument(metavar="[SWARM]…", help="Only these; without it: all that have ended.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="Only those that ended so long ago, as 7d.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed; remove nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also a named swarm that has not ended but has no engine.")
    ] = False,
) -> None:
    """Remove swarms that have ended.

    Their journals and logs go with them; a swarm whose engine lives is never touched. Logs that were
    kept elsewhere with --log-dir stay.
    """
    from skep.cli.cleaning import clean_up
    from skep.config import parse_duration

    age = parse_duration(older_than) if older_than is not None else None
    clean_up(tuple(swarms or ()), age, dry_run=dry_run, yes=yes, force=force)


def config(json: _Json = False) -> None:
    """Print every setting and where it comes from.

    Later ones win: built in, your config.toml, the project's .skep/config.toml (once trusted), SKEP_* variables,
    flags.
    """
    from skep.config import load
    from skep.paths import config_dir
    from skep.text import clean_line

    loaded = load(Path.cwd(), {}, os.environ)
    if json:
        settings: dict[str, Json] = {
            name: {"value": _plain(source.value), "source": source.kind.value, "where": source.where}
            for name, source in loaded.sources.items()
        }
        document({"settings": settings, "warnings": [str(warning) for warning in loaded.warnings]})
        return
    rows = [
        (name, _toml(source.value), source.kind.value if source.where == "built in" else clean_line(source.where))
        for name, source in loaded.sources.items()
    ]
    table(rows, heads=("SETTING", "VALUE", "SOURCE"))
    note(f"your own settings go into {clean_line(str(config_dir() / 'config.toml'))}")
    for warning in loaded.warnings:
        complain(warning, prefix="skep: warning")


def trust(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="A project's folder or its .skep/config.toml.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the trust back.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Print what is trusted.")] = False,
) -> None:
    """Let a project's .skep/config.toml count, as it stands now.

    Read it first. As soon as its content changes it must be trusted again.
    """
    from skep import trust as store
    from skep.text import clean_line

    if listing:
        table([(file, mark[:12]) for file, mark in sorted(store.trusted().items())], heads=("FILE", "SHA-256"))
        return
    file = _project_file(path)
    shown = clean_line(str(file))
    if remove:
        if not store.untrust(file):
            raise NotFound("nobody has trusted it", where=shown, mend="skep trust --list shows what is trusted")
        say(f"no longer trusted: {shown}")
        return
    mark = store.trust(file)
    say(f"trusted as it stands: {shown} (sha-256 {mark[:12]}…)")


def _project_file(path: Path | None) -> Path:
    start = Path(os.path.abspath(path)) if path is not None else Path.cwd()
    if start.is_file():
        return start
    for folder in (start, *start.parents) if path is None else (start,):
        file = folder / ".skep" / "config.toml"
        if file.is_file():
            return file
    raise NotFound("there is no .skep/config.toml", where=str(start), mend="name the project's folder")


def _plain(value: object) -> bool | int | float | str | None:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _toml(value: object) -> str:
    """A value as one would write it into the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return "(unset)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
