"""Packages from git are fetched on this machine: credentials stay out of containers, and their images need no git."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment.addresses import filled, without_secrets
from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.environment.failures import diagnose
from clearml_agent_clone.environment.model import masked
from clearml_agent_clone.util.process import run

_LINE = re.compile(
    r"(?:-e\s+|--editable[\s=]+)?(?:(?P<name>[A-Za-z0-9][\w.-]*\s*(?:\[[^]]*\])?)\s*@\s*)?"
    r"git\+(?P<url>[^#\s;]+)(?:#(?P<fragment>[^\s;]*))?(?P<rest>\s*;.*)?$"
)
_LOGIN = re.compile(r"(://)[^/@\s]+@")


@attrs.frozen
class GitLine:
    """A line that names a repository.

    Args:
        name: of the package, with extras; or nothing.
        url: of the repository, as it is fetched.
        revision: branch, tag or commit; or nothing.
        folder: of the package in the repository.
        marker: with its semicolon.
    """

    name: str
    url: str = attrs.field(repr=False)
    revision: str
    folder: str
    marker: str

    @classmethod
    def parse(cls, line: str) -> GitLine | None:
        """None for a line that is of another kind."""
        match = _LINE.match(line.strip())
        if match is None:
            return None
        url, revision = match["url"], ""
        rest = url.partition("://")[2]
        if "@" in rest.partition("/")[2]:
            url, _, revision = url.rpartition("@")
        told = dict(part.partition("=")[::2] for part in (match["fragment"] or "").split("&"))
        name = (match["name"] or told.get("egg", "")).strip()
        marker = (match["rest"] or "").strip()
        return cls(name, url, revision, told.get("subdirectory", "").strip("/"), marker)


def with_fetched(work: Work) -> tuple[Work, Mapping[str, str]]:
    """``work`` with its git lines leading to copies in its scratch folder; also, where each copy is from.

    Raises:
        UserError: a repository cannot be fetched.
        Cancelled: the task is not wanted any more.
    """
    origins: dict[str, str] = {}
    replaced: dict[str, str] = {}
    for number, line in enumerate(dict.fromkeys(work.plan.lines)):
        git = GitLine.parse(filled(line, work.settings.environ))
        if git is None:
            continue
        copy = work.scratch / f"git-{number}"
        work.console.say(f"Fetching {masked(git.url)}")
        commit = _fetch(git, copy, work)
        place = copy / git.folder
        origins[place.as_uri()] = _origin(git, commit)
        replaced[line] = f"{git.name} @ {place.as_uri()} {git.marker}".strip() if git.name else str(place)
    if not replaced:
        return work, {}
    plan = work.plan
    stages = tuple(
        attrs.evolve(stage, lines=tuple(replaced.get(line, line) for line in stage.lines)) for stage in plan.stages
    )
    lines = tuple(replaced.get(line, line) for line in plan.lines)
    return attrs.evolve(work, plan=attrs.evolve(plan, lines=lines, stages=stages)), origins


def note_origins(env: Path, origins: Mapping[str, str]) -> None:
    """Have the packages of ``env`` say where their copies are from, as if git had been asked for them there."""
    inside = env.resolve()
    for file in env.glob("lib/*/site-packages/*.dist-info/direct_url.json") if origins else ():
        if file.is_symlink() or not file.resolve().is_relative_to(inside):  # a package has made a link of it
            continue
        try:
            url = str(json.loads(file.read_bytes())["url"])
        except (ValueError, KeyError, TypeError):
            continue
        if (origin := origins.get(url.rstrip("/"))) is not None:
            file.unlink()  # it may be a link to a cache
            file.write_text(origin)
            file.chmod(0o644)


def _origin(git: GitLine, commit: str) -> str:
    info = {"vcs": "git", "commit_id": commit, **({"requested_revision": git.revision} if git.revision else {})}
    place = {"subdirectory": git.folder} if git.folder else {}
    return json.dumps({"url": without_secrets(git.url), "vcs_info": info, **place})


def _fetch(git: GitLine, copy: Path, work: Work) -> str:
    """Check the revision out at ``copy``; returns its commit."""
    bare = _LOGIN.sub(r"\1", git.url) if "://" in git.url and not git.url.startswith("ssh") else git.url
    environment = {**_with_login(work.variables({}), bare, git.url), "GIT_TERMINAL_PROMPT": "0"}

    def git_says(*words: str, fine: bool = False) -> str:
        done = run(["git", *words], env=environment, cancel=work.cancel, separate_errors=True)
        if not done.ok and not fine:
            failure = diagnose(done.errors, work.plan.indexes.shown, done.exit_code)
            raise attrs.evolve(failure, message=f"{masked(git.url)}: {masked(done.last_line)}").error()
        return done.output.strip() if done.ok else ""

    here = ("-C", str(copy))
    git_says("clone", "--no-checkout", "--quiet", "--", bare, str(copy))
    revision = git.revision
    names = [f"refs/remotes/origin/{revision}", f"refs/tags/{revision}", revision] if revision else ["HEAD"]
    commits = (git_says(*here, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", fine=True) for name in names)
    commit = next(filter(None, commits), "")
    if not commit:
        git_says(*here, "fetch", "--quiet", "--", "origin", revision)
        commit = git_says(*here, "rev-parse", "FETCH_HEAD^{commit}")
    git_says(*here, "checkout", "--quiet", "--detach", commit)
    git_says(*here, "submodule", "update", "--init", "--recursive", "--quiet")
    return commit


def _with_login(environ: Mapping[str, str], bare: str, url: str) -> dict[str, str]:
    """``environ`` with which git takes ``bare`` to ``url``: what stands in a command line everybody can read."""
    found = dict(environ)
    if bare != url:
        number = int(found.get("GIT_CONFIG_COUNT") or 0)
        found[f"GIT_CONFIG_KEY_{number}"] = f"url.{url}.insteadOf"
        found[f"GIT_CONFIG_VALUE_{number}"] = bare
        found["GIT_CONFIG_COUNT"] = str(number + 1)
    return found
