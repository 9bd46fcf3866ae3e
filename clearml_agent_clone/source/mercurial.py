"""Mercurial repositories, where ``hg`` is installed: a clone per repository that is pulled into, a checkout per task."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.errors import AgentError, Fatal, Retryable, UserError
from clearml_agent_clone.source.access import Grant, grants_for
from clearml_agent_clone.source.address import Address, without_user_info
from clearml_agent_clone.source.lock import held
from clearml_agent_clone.source.mirror import Found
from clearml_agent_clone.source.plan import SourcePlan, mirror_folder
from clearml_agent_clone.util.files import private_dir, write_atomic
from clearml_agent_clone.util.process import Cancel, Console, Finished, run

_OWN_FILES = (Path("/etc/mercurial"), Path("~/.hgrc"), Path("~/.config/hg/hgrc"))
_WORKING_FOLDER = "f" * 40  # which Mercurial takes for an id
_SSH = "ssh -oBatchMode=yes -oConnectTimeout=30"
_SAFETY = (
    "ui.interactive=false",
    f"ui.ssh={_SSH}",
    "subrepos.allowed=false",  # they may name any address of any kind of repository
    "hooks.update=",
    "fsmonitor.mode=off",
)
_REFUSED = re.compile(r"authorization failed|authentication|http error 40[13]|permission denied", re.IGNORECASE)
_UNKNOWN_KEY = re.compile(r"host key verification failed", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"error: .*(?:name or service|refused|timed out|unreachable|reset)|http error 5\d\d|temporary failure|abort: error:"
    r"|no suitable response",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"no space left", re.IGNORECASE)
_REJECTED = re.compile(
    r"^(?P<hunks>\d+ out of \d+ hunks? FAILED).* to file (?P<file>.+?)\.rej|^unable to find '(?P<gone>.+?)' for patching",
    re.MULTILINE,
)


def is_mercurial(address: Address) -> bool:
    """Whether the address says so, or, being a path of this machine, turns out to be one."""
    return address.mercurial or (address.scheme == "file" and (Path(address.path) / ".hg").is_dir())


@attrs.frozen
class Mercurial:
    """Fetches for one plan.

    Args:
        plan: with an address that ``is_mercurial``.
        address: the plan's.
        folder: the run's own.
        console: gets what happens.
        cancel: when set, hg is ended and ``Cancelled`` raised.
    """

    plan: SourcePlan
    address: Address
    folder: Path
    console: Console
    cancel: Cancel | None = None

    def check_out(self, root: Path) -> Found:
        """Check the recorded changeset (else tag, branch, ``default``) out into ``root``.

        Raises:
            UserError, Retryable, Fatal: it cannot be had; ``program-missing`` where there is no hg.
            Cancelled: somebody asked to stop.
        """
        if shutil.which("hg", path=self.plan.settings.environ.get("PATH")) is None:
            raise UserError(
                f"{self.address.url} is a Mercurial repository and there is no hg on this machine",
                remedy="Install Mercurial (Debian package mercurial, or pip install mercurial)",
                code="program-missing",
            )
        place = mirror_folder(self.address, self.plan.settings) or self.folder / ".mirror-hg"
        mirror = private_dir(place) / "hg"
        with self._lent() as environ, self._locked(place):
            how = self._bring(mirror, environ)
            commit = self._find(mirror, environ)
            if not commit:
                raise UserError(
                    f"{self._revision} is not in {self.address.url}",
                    remedy="Push it (hg push) and enqueue the task again",
                    code="commit-not-found",
                )
            done = self._hg("clone", "--noupdate", "--", str(mirror), str(root), environ=environ, cwd=self.folder)
            if not done.ok:
                raise self._error(done)
        write_atomic(root / ".hg" / "hgrc", f"[paths]\ndefault = {self.address.url}\n", durable=False)
        done = self._hg("update", "--clean", "--rev", commit, environ=self._environ(None), cwd=root)
        if not done.ok:
            raise self._error(done)
        return Found(commit, how, self._branch(root))

    def apply(self, root: Path) -> None:
        """Apply the task's uncommitted changes; after an error the checkout is as it was.

        Raises:
            UserError: code ``diff-failed``.
        """
        text = self.plan.diff.encode(errors="surrogateescape")
        environ = self._environ(None)
        done = self._hg("import", "--no-commit", "--quiet", "-", environ=environ, cwd=root, stdin=text)
        if done.ok:
            return
        self._hg("update", "--clean", "--rev", ".", environ=environ, cwd=root)
        for left in root.rglob("*.rej"):
            left.unlink(missing_ok=True)
        rejected = _REJECTED.search(done.output + done.errors)
        why = f"{rejected['file'] or rejected['gone']}: {rejected['hunks'] or 'not there'}" if rejected else _last(done)
        raise UserError(
            f"the uncommitted changes do not apply: {why}",
            remedy="Push the changeset that they were made on, or clear the task's uncommitted changes",
            code="diff-failed",
        )

    @property
    def _revision(self) -> str:
        """What to look for. Mercurial marks a changeset with local changes by a plus sign."""
        recorded = self.plan.revision
        return (recorded.name if recorded.kind != "head" else "default").removesuffix("+")

    def _bring(self, mirror: Path, environ: dict[str, str]) -> str:
        """Clone or pull as far as needed; the lock is ours."""
        moving = not self.plan.revision.is_exact
        if (mirror / ".hg" / "requires").is_file():
            if not moving and self._find(mirror, environ):
                return "mirror"
            done = self._hg("pull", "--", self.address.url, environ=environ, cwd=mirror)
            if done.ok:
                return "fetch"
            error = self._error(done)
            if not isinstance(error, Fatal):
                raise error
            self.console.say(f"the clone of {self.address.url} is damaged, cloning it again")
        shutil.rmtree(mirror, ignore_errors=True)
        incoming = mirror.with_name("incoming-hg")
        shutil.rmtree(incoming, ignore_errors=True)
        done = self._hg(
            "clone", "--noupdate", "--pull", "--", self.address.url, str(incoming), environ=environ, cwd=mirror.parent
        )
        if not done.ok:
            shutil.rmtree(incoming, ignore_errors=True)
            raise self._error(done)
        incoming.rename(mirror)
        return "clone"

    def _find(self, mirror: Path, environ: dict[str, str]) -> str:
        # Quoted within the expression, so that a name cannot be an expression of its own.
        name = self._revision.replace("\\", "\\\\").replace('"', '\\"')
        done = self._hg("log", "--limit=1", "--template={node}", "--rev", f'"{name}"', environ=environ, cwd=mirror)
        found = done.output.strip() if done.ok else ""
        return "" if found == _WORKING_FOLDER else found

    def _branch(self, root: Path) -> str:
        return self._hg("branch", environ=self._environ(None), cwd=root).output.strip()

    @contextlib.contextmanager
    def _lent(self) -> Iterator[dict[str, str]]:
        """The environment for a transfer, with credentials in a private file that is gone afterwards."""
        settings = attrs.evolve(self.plan.settings, credentials=self.plan.settings.hg_credentials)
        grants = grants_for(self.address, self.plan.login, settings)
        private = Path(tempfile.mkdtemp(prefix=".hg-access-", dir=self.folder))
        try:
            lines = ["[auth]", *(line for number, grant in enumerate(grants) for line in _auth(number, grant))]
            write_atomic(private / "hgrc", "\n".join(lines) + "\n", durable=False)
            yield self._environ(private / "hgrc")
        finally:
            shutil.rmtree(private, ignore_errors=True)

    def _environ(self, own: Path | None) -> dict[str, str]:
        given = self.plan.settings.environ
        files = given.get("HGRCPATH") or ":".join(str(file.expanduser()) for file in _OWN_FILES)
        kept = {name: value for name, value in given.items() if not name.startswith(("HG", "CLEARML_", "TRAINS_"))}
        return {**kept, "HGRCPATH": files + (f":{own}" if own else ""), "HGPLAIN": "1", "HGENCODING": "utf-8"}

    def _hg(self, *arguments: str, environ: dict[str, str], cwd: Path, stdin: bytes | None = None) -> Finished:
        safety = [word for entry in _SAFETY for word in ("--config", entry)]
        return run(
            ["hg", "--noninteractive", *safety, *arguments],
            cwd=cwd, env=environ, stdin=stdin, cancel=self.cancel, separate_errors=True,
        )  # fmt: skip

    def _locked(self, place: Path) -> contextlib.AbstractContextManager[None]:
        message = f"waiting for another task that pulls {self.address.url}"
        return held(place, self.cancel, lambda: self.console.say(message))

    def _error(self, done: Finished) -> AgentError:
        url, why, text = self.address.url, _last(done), done.errors or done.output
        if _NO_SPACE.search(text):
            return Retryable(f"no space left on the disk for {url}", remedy="Free some disk space", code="disk-full")
        if _UNKNOWN_KEY.search(text):
            return UserError(
                f"the ssh key of {self.address.host} is not known on this machine",
                remedy=f"Add it to ~/.ssh/known_hosts (ssh-keyscan {self.address.host})",
                code="git-host-key",
            )
        if _REFUSED.search(text):
            return UserError(
                f"{self.address.host} refused the credentials for {url}, or there are none for it: {why}",
                remedy="Check agent.hg_user, agent.hg_pass and agent.hg_host",
                code="git-auth-failed",
            )
        if re.search(
            r"repository .* not found|http error 404|does not appear to be an hg repository", text, re.IGNORECASE
        ):
            return UserError(
                f"there is no Mercurial repository at {url}, or the agent's account may not see it",
                remedy="Check the address",
                code="repository-not-found",
            )
        if _UNREACHABLE.search(text):
            return Retryable(
                f"{self.address.host} cannot be reached for {url}: {why}",
                remedy="Check that the host is up and that this machine may connect to it",
                code="repository-unreachable",
            )
        return Fatal(f"hg failed for {url}: {why}", code="hg-failed")


def _auth(number: int, grant: Grant) -> Iterator[str]:
    """Lines of Mercurial's ``[auth]`` for one credential; values are single lines."""
    port = f":{grant.port}" if grant.port is not None else ""
    for key, value in (
        ("prefix", f"{grant.host}{port}{grant.prefix}"),
        ("username", grant.user),
        ("password", grant.password),
        ("schemes", " ".join(grant.schemes)),
    ):
        if "\n" not in value:
            yield f"x{number}.{key} = {value}"


def _last(done: Finished) -> str:
    """The line that says why."""
    lines = [line.strip() for line in without_user_info(done.errors or done.output).splitlines() if line.strip()]
    telling = next((line for line in lines if line.startswith("abort: ")), lines[-1] if lines else "")
    return telling.removeprefix("abort: ") or f"exit code {done.exit_code}"
