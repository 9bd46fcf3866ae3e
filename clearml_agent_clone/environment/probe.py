"""Ask an interpreter what it is, once: the answer is remembered until the file changes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.environment.model import Interpreter
from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.util.files import private_dir, read_json, write_json

_FORMAT = 1
_PATIENCE = 60.0  # seconds; an interpreter on a cold network file system takes its time
_QUESTION = """
import json, os, platform, sys, sysconfig
base = sys.executable
if sys.prefix != sys.base_prefix:
    names = ["python%d.%d" % sys.version_info[:2], "python3", "python"]
    places = [os.path.join(sys.base_prefix, "bin", name) for name in names]
    base = next((place for place in places if os.path.exists(place)), os.path.realpath(sys.executable))
print(json.dumps({
    "executable": sys.executable,
    "version": platform.python_version(),
    "build": " ".join([sys.implementation.cache_tag or "", " ".join(platform.python_build()), platform.python_compiler()]),
    "platform": " ".join([sysconfig.get_platform(), "-".join(platform.libc_ver())]).strip(),
    "abi": sysconfig.get_config_var("EXT_SUFFIX") or "",
    "base": base,
    "packages": sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")} | {
        path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}),
}))
"""


@attrs.define
class Probe:
    """Asks interpreters and remembers what they said.

    Args:
        memory: a JSON file; losing it costs one start of each interpreter.
        environ: environment variables of the interpreters asked.
    """

    memory: Path
    environ: Mapping[str, str]
    _known: dict[str, Any] | None = None

    def ask(self, path: Path) -> Interpreter | None:
        """What the interpreter at ``path`` is; None when it is no working Python 3."""
        stamp = _stamp(path)
        if stamp is None:
            return None
        known = self._remembered()
        entry = known.get(str(path))
        if isinstance(entry, dict) and entry.get("stamp") == stamp:
            return _read(path, entry.get("said"))
        said = self._run(path)
        interpreter = _read(path, said)
        if interpreter is not None and not is_wrapper(path):
            known[str(path)] = {"stamp": stamp, "said": said}
            self._remember(known)
        return interpreter

    def _remembered(self) -> dict[str, Any]:
        if self._known is None:
            content = read_json(self.memory)
            good = isinstance(content, dict) and content.get("format") == _FORMAT
            interpreters = content.get("interpreters") if good else None
            self._known = interpreters if isinstance(interpreters, dict) else {}
        return self._known

    def _remember(self, known: dict[str, Any]) -> None:
        # Two agents that write at once may lose an entry: it is asked for again, no more.
        private_dir(self.memory.parent)
        write_json(self.memory, {"format": _FORMAT, "interpreters": known}, durable=False)

    def _run(self, path: Path) -> object:
        from clearml_agent_clone.util.process import run  # noqa: PLC0415 - not needed when the answer is remembered

        try:
            answer = run([path, "-I", "-c", _QUESTION], env=self.environ, timeout=_PATIENCE, separate_errors=True)
        except (AgentError, OSError):  # OSError: a file of another machine's format
            return None
        if not answer.ok:
            return None
        try:
            return json.loads(answer.output)
        except ValueError:
            return None


def is_wrapper(path: Path) -> bool:
    """Whether ``path`` is a script that starts an interpreter (a shim of pyenv, asdf and the like).

    What a wrapper starts may change while the wrapper stays, so its answers cannot be remembered.
    """
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def _stamp(path: Path) -> list[object] | None:
    try:
        real = os.path.realpath(path)
        status = os.stat(real)  # noqa: PTH116 - on the path of every task start, where a Path object is a cost
    except OSError:
        return None
    return [real, status.st_mtime_ns, status.st_size, status.st_ino]


def _read(path: Path, said: object) -> Interpreter | None:
    if not isinstance(said, dict) or not str(said.get("version", "")).startswith("3."):
        return None
    # A wrapper names the interpreter that it started; that one is used from then on.
    start = Path(str(said.get("executable") or path)) if is_wrapper(path) else path
    return Interpreter(
        path=start,
        real_path=start.resolve(),
        version=str(said["version"]),
        build=str(said.get("build", "")),
        platform=str(said.get("platform", "")),
        abi=str(said.get("abi", "")),
        base=Path(str(said.get("base") or start)) if said.get("base") != said.get("executable") else start,
        packages=tuple(str(item) for item in said.get("packages") or ()),
    )
