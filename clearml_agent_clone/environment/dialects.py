"""Lines that other tools wrote, or that were written for other machines, as pip and uv understand them.

Each rule is for something that lists on the web are full of and that no engine installs. What no rule knows is left
as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CONDA = re.compile(rf"(_?{_NAME})={{1,2}}([^=\s;,<>!~]+)=([^=\s;,]+)$")
_CONDA_SHORT = re.compile(rf"({_NAME})\s*=\s*(v?\d[\w.+!]*?)(\.\*|\*)?$")
_PYTHON_BUILD = re.compile(r"py(?:\d|h|_|pi_|thon)")
_SAID_BY_PIP = re.compile(
    r"(?:WARNING|DEPRECATION|ERROR): |\[notice\]|You are using pip version|You should consider upgr"
)
_YAML_ITEM = re.compile(rf"-\s+(?=[\"']?{_NAME})")
_SPECIFIER = re.compile(r"(===|==|~=|!=|<=|>=|<|>)(\s*)([^\s,;()]+)")
_NAMED = re.compile(rf"{_NAME}(?:\[[^\]]*\])?\s*@\s*(?=git\+|ssh://|https?://)")
_SHORT_ADDRESS = re.compile(
    r"(?P<mark>git\+(?:ssh://)?|ssh://|)(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?!\d+/)/?(?P<path>[^\s#]+)(?P<tail>#\S*)?"
)
_REPOSITORY = re.compile(r"https?://[^\s#]+\.git(?:@[^\s#/]+)?(?:#\S*)?")
_GONE = {"pkg-resources": "Debian's pip lists it, there is no such package"}
_WINDOWS, _MAC = "Windows", "macOS"
# Packages that freezes on other systems contain and that cannot be installed elsewhere.
_ELSEWHERE = {
    **dict.fromkeys(
        ("pywin32", "pypiwin32", "pywinpty", "windows-curses", "wmi", "tensorflow-intel", "triton-windows"), _WINDOWS
    ),
    **dict.fromkeys(("tensorflow-macos", "tensorflow-metal", "py2app"), _MAC),
}
_ELSEWHERE_FAMILIES = (("pyobjc", _MAC), ("winrt-", _WINDOWS), ("winsdk", _WINDOWS))
_SYSTEMS = {_WINDOWS: "win32", _MAC: "darwin"}
# What conda calls otherwise, where the name alone would lead to another package or to none.
_PIP_NAMES = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "pytables": "tables",
    "py-opencv": "opencv-python",
    "opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "dask-core": "dask",
    "python-graphviz": "graphviz",
}


def translated(text: str) -> tuple[str, str]:
    """``text`` as an engine takes it (empty: nothing is to be installed), and why it was changed (empty: it was not)."""
    for rule in _RULES:
        changed = rule(text)
        if changed is not None:
            return changed
    return text, ""


def unfit(name: str) -> str:
    """Why the package ``name`` (in normal form) cannot be installed on this machine; empty when nothing is known."""
    if name in _GONE:
        return _GONE[name]
    system = _ELSEWHERE.get(name) or next(
        (found for beginning, found in _ELSEWHERE_FAMILIES if name.startswith(beginning)), ""
    )
    return f"it exists for {system} only" if system and sys.platform != _SYSTEMS[system] else ""


def repaired(specifiers: str) -> str:
    """Version specifiers that old versions of pip took and the standard forbids: ``>=1.2.*``, ``~=1``."""
    if "*" not in specifiers and "~=" not in specifiers:
        return specifiers
    return _SPECIFIER.sub(_repair, specifiers)


def _repair(match: re.Match[str]) -> str:
    operator, blank, version = match.groups()
    if operator not in {"==", "===", "!="} and version.endswith(".*"):
        version = version[:-2]
    if operator == "~=" and re.fullmatch(r"\d+", version):
        version += ".0"
    return f"{operator}{blank}{version}"


def _conda(text: str) -> tuple[str, str] | None:
    if match := _CONDA.match(text):
        name, version, build = match.groups()
        if name.startswith("_") or not _PYTHON_BUILD.search(build):
            return "", "left out, it is a conda package without Python in it (package_manager.type: conda has it)"
        if name == "pip":
            return "", "left out, every environment has a pip of its own"
        return f"{_PIP_NAMES.get(name, name)}=={version}", "its conda build is not considered"
    if match := _CONDA_SHORT.match(text):
        name, version, _ = match.groups()
        return f"{_PIP_NAMES.get(name, name)}=={version}.*", "as conda understands one ="
    return None


def _message(text: str) -> tuple[str, str] | None:
    return ("", "left out, pip said that about something else") if _SAID_BY_PIP.match(text) else None


def _yaml(text: str) -> tuple[str, str] | None:
    match = _YAML_ITEM.match(text)
    if match is None:
        return None
    rest = text[match.end() :].strip("\"'")
    changed, why = _conda(rest) or (rest, "")
    return changed, why or "an item of a YAML list"


def _address(text: str) -> tuple[str, str] | None:
    """Addresses that people copy from git hosts."""
    named = _NAMED.match(text)
    head = named[0] if named else ""
    url = text[len(head) :]
    short = _SHORT_ADDRESS.fullmatch(url)
    if short and (short["mark"] or short["path"].partition("@")[0].endswith(".git")):
        return f"{head}git+ssh://{short['user']}@{short['host']}/{short['path']}{short['tail'] or ''}", (
            "git's short form of an address is none for pip"
        )
    if url.startswith("git+git://github.com/"):
        return f"{head}git+https{url[len('git+git') :]}", "GitHub no longer speaks git://"
    if _REPOSITORY.fullmatch(url):
        return f"{head}git+{url}", "it is a git repository"
    return None


_RULES: tuple[Callable[[str], tuple[str, str] | None], ...] = (_message, _yaml, _conda, _address)
