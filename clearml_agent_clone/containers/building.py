"""Installing programs run in a container of the task's image that is gone when they end.

The folders of containers' environments and of uv's cache are mounted at the same path as here, under one mount, so that
files can be links between them. The programs run as the agent's user, who owns these folders, whatever user the image
names. Passwords of indexes are in files there, or go in by standard input.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.containers.engine import ContainerEngine
from clearml_agent_clone.containers.git_lines import note_origins, with_fetched
from clearml_agent_clone.containers.host import own_mounts, siblings
from clearml_agent_clone.containers.image_venv import Sight, write_environment
from clearml_agent_clone.containers.mounts import Mount, MountPlan
from clearml_agent_clone.environment.addresses import named_variables
from clearml_agent_clone.environment.engines import Engine, EngineUnavailable, Work
from clearml_agent_clone.environment.engines.pip import PipEngine
from clearml_agent_clone.environment.engines.uv import UvEngine
from clearml_agent_clone.environment.model import EnvironmentPlan
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.process import Console, Finished

_PROGRAM = Path(__file__).parent / "inside" / "build.py"
_NETWORK = frozenset({"network", "add-host", "dns", "dns-option", "dns-search", "platform"})
_PASSED = ("UV_", "PIP_")
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY"})
_CERTIFICATES = frozenset({"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CLIENT_CERT"})
_TUNING = frozenset({"NO_COLOR", "MAX_JOBS", "SOURCE_DATE_EPOCH", "TORCH_CUDA_ARCH_LIST", "FORCE_CUDA"})
# What leads to places of this machine, or is for the agent's own calls.
_LEFT = frozenset(
    {
        *("PIP_CONFIG_FILE", "PIP_CACHE_DIR", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TARGET"),
        *("PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_SRC", "PIP_LOG", "PIP_PYTHON", "PIP_REQUIRE_VIRTUALENV"),
        *("UV_TOOL_DIR", "UV_TOOL_BIN_DIR", "UV_PYTHON_INSTALL_DIR", "UV_CONFIG_FILE", "UV_ENV_FILE"),
    }
)


@attrs.frozen
class BuildPlace:
    """Where the environment of one plan is built.

    Args:
        engine: what runs containers.
        image_id: in which image.
        python: an interpreter of the image, to start our own program with.
        base: the folder that all environments of containers and the caches are below.
        sight: what the environment sees of the image.
        uv: gives the path of a uv for this image; asked only when something is built.
        options: of the task's container.
        labels: of the building container.
        mounts: what it needs beside.
        user: ``uid:gid`` for the programs.
    """

    engine: ContainerEngine
    image_id: str
    python: str
    base: Path
    sight: Sight
    uv: Callable[[], Path]
    options: tuple[Option, ...] = ()
    labels: Mapping[str, str] = attrs.Factory(dict)
    mounts: tuple[Mount, ...] = ()
    user: str = ""

    def engines(self, work: Work) -> Sequence[Engine]:
        """See ``Place``."""
        program = str(self.uv())
        if work.plan.engine == "pip":
            return [ImagePip(program, sight=self.sight)]
        return [ImageUv(program, sight=self.sight), ImagePip(program, sight=self.sight)]

    def run(self, work: Work, argv: Sequence[str | os.PathLike[str]], env: Mapping[str, str], **how: Any) -> Finished:
        """See ``Place``."""
        words = [os.fspath(word) for word in argv]
        cwd = how.pop("cwd", None) or work.scratch
        stdin: bytes = how.pop("stdin", None) or b""
        console: Console | None = how.pop("console", None)
        order = {"argv": words, "env": self._variables(work, env), "cwd": str(cwd), "stdin": stdin.decode()}
        program = _PROGRAM.read_text() + f"\n\nimport json\nmain(json.loads({json.dumps(order)!r}))\n"
        options = [option for option in self.options if option.name in _NETWORK]
        if self.user:
            options.append(Option("user", self.user))
        if self.engine.name == "podman":
            options.append(Option("security-opt", "label=disable"))  # our folders stay as they are labelled
        done = self.engine.run_once(
            self.image_id,
            (self.python, "-I", "-"),
            mounts=self._mounts(work, words),
            options=options,
            labels=self.labels,
            stdin=program.encode(),
            console=console,
            cancel=work.cancel,
            timeout=how.get("timeout"),
            separate_errors=bool(how.get("separate_errors")),
        )
        if done.exit_code == 125:  # the engine's own: nothing ran
            raise EngineUnavailable(
                f"no container to install packages in can be started: {done.last_line}",
                remedy="Check the image and the container's arguments",
            )
        return attrs.evolve(done, argv=tuple(words))

    def _variables(self, work: Work, env: Mapping[str, str]) -> dict[str, str]:
        named = {name for text in (*work.plan.lines, *work.plan.constraints) for name in named_variables(text)} | set(
            work.settings.variables
        )
        kept = {name: value for name, value in env.items() if name in named or _passes(name)}
        cache = work.settings.uv_cache_dir
        pip_cache = {"PIP_CACHE_DIR": str(cache / "pip")} if cache is not None else {"PIP_NO_CACHE_DIR": "1"}
        files = " ".join(work.plan.indexes.constraints)
        return {
            # The task sees its environment, but cannot write into it: what is not compiled now never is
            "UV_COMPILE_BYTECODE": "1",
            **kept,
            **pip_cache,
            **({"PIP_CONSTRAINT": files} if files else {}),
            "PIP_CONFIG_FILE": os.devnull,
            "UV_NO_CONFIG": "1",
            "HOME": str(work.scratch / "home"),
            "TMPDIR": str(work.scratch / "tmp"),
        }

    def _mounts(self, work: Work, words: Iterable[str]) -> tuple[Mount, ...]:
        environ = work.settings.environ
        folders = [str(self.base), *([str(work.plan.root)] if work.plan.root is not None else [])]
        needed = (*(Mount(folder, folder) for folder in folders), *self.mounts)
        more = MountPlan(tuple(_more_mounts(work, words, folders)))
        return (*own_mounts(needed, environ), *siblings(more, environ).mounts)


def _no_traps(work: Work) -> None:
    """Refuse links where this machine is about to read or write: builds run code of the task's choice in there.

    Raises:
        UserError: code ``packages-failed``.
    """
    env = work.folder
    read = (*env.glob("bin/activate*"), env / "pyvenv.cfg")
    trap = next(
        (path for path in (env.parent, work.scratch, env, env / "bin", env / "lib", *read) if path.is_symlink()), None
    )
    if trap is not None:
        raise UserError(
            f"a package replaced {trap.relative_to(env.parent.parent)} by a link while it was built",
            remedy="Look into the packages of the task that are built from source",
            code="packages-failed",
        )


def _more_mounts(work: Work, words: Iterable[str], known: Iterable[str]) -> Iterator[Mount]:
    """What else of this machine the programs are pointed to; to be read only."""
    seen = set(known)
    given = (word for word in words if word.startswith("/"))
    for path in (*given, *_local(work.plan), *_files(work)):
        inside = any(path == place or path.startswith(f"{place}/") for place in seen)
        if not inside and os.path.exists(path):  # noqa: PTH110 - text all the way
            seen.add(path)
            yield Mount(path, path, read_only=True)


def _passes(name: str) -> bool:
    upper = name.upper()
    known = upper in _PROXIES or name in _CERTIFICATES or name in _TUNING
    return (known or name.startswith(_PASSED)) and name not in _LEFT


def _local(plan: EnvironmentPlan) -> Iterator[str]:
    """Folders and files of this machine that the plan names."""
    indexes = plan.indexes
    for index in (indexes.main, *indexes.extra):
        # The files that an index in a folder names are often beside it: simple/ and files/
        yield from (str(Path(path).parent) for path in _path(index) if len(Path(path).parts) > 2)
    for place in (indexes.main, *indexes.extra, *indexes.find_links, *indexes.constraints, indexes.certificate):
        yield from _path(place)
    for line in (*plan.lines, *plan.constraints):
        yield from _path(line.partition(" @ ")[2].partition(" ;")[0] or line)


def _path(place: str) -> Iterator[str]:
    if place.startswith("file:"):
        yield unquote(urlsplit(place).path)
    elif place.startswith("/"):
        yield place


def _files(work: Work) -> Iterator[str]:
    environ = work.settings.environ
    for name in sorted(_CERTIFICATES):
        if environ.get(name, "").startswith("/"):
            yield environ[name]


@attrs.frozen
class ImageUv(UvEngine):
    """uv for an interpreter that is in an image."""

    sight: Sight = attrs.field(kw_only=True, factory=Sight)

    def create(self, work: Work) -> None:
        """See ``Engine``."""
        _make(work, self, self.sight)

    def install(self, work: Work, python: Path) -> None:
        """See ``Engine``."""
        fetched, origins = with_fetched(work)
        super().install(fetched, python)
        _no_traps(work)
        note_origins(work.folder, origins)


@attrs.frozen
class ImagePip(PipEngine):
    """The real pip in an image."""

    sight: Sight = attrs.field(kw_only=True, factory=Sight)

    def create(self, work: Work) -> None:
        """See ``Engine``."""
        _make(work, UvEngine(self.uv), self.sight)

    def install(self, work: Work, python: Path) -> None:
        """See ``Engine``."""
        fetched, origins = with_fetched(work)
        super().install(fetched, python)
        _no_traps(work)
        note_origins(work.folder, origins)


def _make(work: Work, uv: UvEngine, sight: Sight) -> None:
    _no_traps(work)  # of another engine, which gave up
    write_environment(work.folder, work.interpreter, sight)
    uv.seed(work, work.python, work.interpreter.minor)
    _open_to_all(work.folder)


def _open_to_all(env: Path) -> None:
    """Let every user of a container read what is below ``env``, whatever our own mask is; folders above keep others out."""
    for place, folders, files in os.walk(env):
        for name in folders:
            path = os.path.join(place, name)  # noqa: PTH118 - hundreds of them
            if not os.path.islink(path):  # noqa: PTH114
                os.chmod(path, 0o755)  # noqa: PTH101, S103
        for name in files:
            path = os.path.join(place, name)  # noqa: PTH118
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and not mode & stat.S_IROTH:
                os.chmod(path, mode & 0o777 | 0o044 | (0o011 if mode & stat.S_IXUSR else 0))  # noqa: PTH101
