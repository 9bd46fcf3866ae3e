"""The arguments of poetry and uv that the configuration names: what is passed on, translated, or left out and why."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

import attrs

from clearml_agent_clone.environment.model import Indexes

_SELECT_WITH_VALUE = {"--extra", "--no-extra", "--group", "--no-group", "--only-group", "--package"}
_SELECT = {"--all-extras", "--all-groups", "--all-packages", "--dev", "--no-dev", "--only-dev", "--no-default-groups"}
_TRUST = {"--locked", "--frozen"}
_MODE_WITH_VALUE = {"--index-strategy", "--resolution", "--prerelease", "--exclude-newer", "--config-setting"}
_VALUES = {
    *_SELECT_WITH_VALUE,
    *_MODE_WITH_VALUE,
    *("--with", "--with-requirements", "--with-editable", "--env-file", "--python", "-p", "-m", "--module"),
    *("--index", "--default-index", "--index-url", "-i", "--extra-index-url", "--find-links", "-f"),
    *("--project", "--directory", "--no-install-package", "--no-binary-package", "--no-build-package", "-P"),
    *("--upgrade-package", "--reinstall-package", "--refresh-package", "--link-mode", "--cache-dir", "--config-file"),
    *("--keyring-provider", "--python-preference", "--allow-insecure-host", "--python-platform", "--fork-strategy"),
}
_NEEDLESS = {
    *("--active", "--no-active", "--exact", "--inexact", "--isolated", "--no-project", "--no-sync", "--quiet", "-q"),
    *("--no-env-file", "--managed-python", "--no-managed-python", "--python", "-p", "--project", "--directory"),
    *("--dry-run", "--check", "--no-progress", "--reinstall", "--refresh"),
}
_POETRY_NEEDLESS = {"--sync", "--dry-run", "-n", "--no-interaction", "--no-ansi", "--ansi"}
_NEXT_REQUIREMENT = re.compile(r",(?=\s*[A-Za-z])(?![^\[]*\])")


@attrs.frozen
class Arguments:
    """What the configured arguments come to.

    Args:
        passed: those that go to the program; they decide what is installed.
        lines: further requirements (``uv run --with``).
        env_files: files of variables for the task (``uv run --env-file``).
        indexes: where packages come from; kept apart, because these may carry passwords.
        notes: what is left out.
        local: the project itself and the folders that it depends on are to be installed.
        packages: those that are not in the checkout are.
    """

    passed: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    indexes: Indexes = attrs.Factory(Indexes)
    notes: tuple[str, ...] = ()
    root: bool = True
    local: bool = True
    packages: bool = True


def poetry_arguments(configured: Iterable[str]) -> Arguments:
    """``poetry_install_extra_args``, for a ``poetry install`` that leaves out what is in the checkout."""
    given = list(_split(configured))
    own = {"--no-root", "--no-directory", "--only-root"}
    passed = [item for item in given if item not in own | _POETRY_NEEDLESS]
    only_root = "--only-root" in given
    return Arguments(
        tuple(passed),
        root="--no-root" not in given,
        local="--no-directory" not in given and not only_root,
        packages=not only_root,
    )


def uv_arguments(sync: Iterable[str], run: Iterable[str]) -> Arguments:
    """``uv_sync_extra_args`` and ``uv_run_extra_args``, for one ``uv sync``. Nothing is started through ``uv run``."""
    result = Arguments()
    for name, value, text in _options(_split(sync)):
        result = _indexed(result, name, value) or (result if name in _NEEDLESS else _pass(result, text))
    for name, value, text in _options(_split(run)):
        result = _indexed(result, name, value) or _run_option(result, name, value, text)
    return result


def _run_option(result: Arguments, name: str, value: str, text: tuple[str, ...]) -> Arguments:
    if name in _SELECT_WITH_VALUE | _MODE_WITH_VALUE | _SELECT | _TRUST:
        return result if text[-1] in result.passed and len(text) == 1 else _pass(result, text)
    if name == "--with":
        more = tuple(part.strip() for part in _NEXT_REQUIREMENT.split(value) if part.strip())
        return attrs.evolve(result, lines=(*result.lines, *more))
    if name == "--env-file":
        return attrs.evolve(result, env_files=(*result.env_files, *value.split()))
    if name in _NEEDLESS:
        return result
    why = "tasks are started without uv run, and this says nothing about packages"
    if name in {"--with-requirements", "--with-editable"}:
        why = "name the packages by --with"
    return attrs.evolve(result, notes=(*result.notes, f"uv_run_extra_args: {name} is left out: {why}"))


def _pass(result: Arguments, text: tuple[str, ...]) -> Arguments:
    return attrs.evolve(result, passed=(*result.passed, *text))


def _indexed(result: Arguments, name: str, value: str) -> Arguments | None:
    """``result`` with an index more, if the option names one. A name before the URL (``name=URL``) stays."""
    indexes = result.indexes
    if name in {"--default-index", "--index-url", "-i"}:
        indexes = attrs.evolve(indexes, main=value)
    elif name in {"--index", "--extra-index-url"}:
        indexes = attrs.evolve(indexes, extra=(*indexes.extra, value))
    elif name in {"--find-links", "-f"}:
        indexes = attrs.evolve(indexes, find_links=(*indexes.find_links, value))
    else:
        return None
    return attrs.evolve(result, indexes=indexes)


def _options(items: Iterable[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Each option with its value and its own words; what follows ``--`` is a command and no option."""
    pending = list(items)
    while pending:
        item = pending.pop(0)
        if item == "--" or not item.startswith("-"):
            return
        name, sign, value = item.partition("=")
        if sign or name not in _VALUES or not pending:
            yield name, value, (item,)
        else:
            value = pending.pop(0)
            yield name, value, (item, value)


def _split(configured: Iterable[str]) -> Iterator[str]:
    """``"--with dev"`` is two arguments, also as one item of a list."""
    for item in configured:
        yield from shlex.split(item)
