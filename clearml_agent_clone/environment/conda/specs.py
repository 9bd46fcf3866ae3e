"""Packages as conda names them: read from what was recorded, written for whatever installs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

_NAME = r"(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)"
_SPEC = re.compile(rf"(?:(?P<channel>\S+?)::)?{_NAME}\s*(?P<rest>(?:[\s=<>!~\[*].*)?)$", re.DOTALL)
_EXACT = re.compile(r"(?:={1,2}\s*|\s+)(?P<version>\w[^\s=<>!~,|*]*)(?:\s*=\s*|\s+|$)(?P<build>[^\s=]*)$")
_RANGE = re.compile(
    r"\s*(?P<version>(?:[=<>!~]{1,2}\s*[^\s,;|=<>!~]+|\d[^\s,;|]*\*)(?:\s*[,|]\s*[=<>!~]{1,2}\s*[^\s,;|=<>!~]+)*)$"
)
_PIP = re.compile(
    rf"{_NAME}\s*\(?(?P<specs>(?:(?:===|==|~=|!=|<=|>=|<|>)\s*[^\s,;()=<>!~]+\s*,?\s*)*)\)?\s*(?:;(?P<marker>.*))?$"
)
_URL = re.compile(
    r"(?P<channel>[a-z]+://\S+)/(?P<subdir>[a-z0-9-]+)/(?P<name>[^/\s]+)-(?P<version>[^-/\s]+)-(?P<build>[^-/\s]+)"
    r"\.(?:conda|tar\.bz2)(?:#\S*)?$"
)
# The same thing under another name, or another thing under the same name (a C library, most of the time).
_CONDA_NAMES = {
    "torch": "pytorch",
    "graphviz": "python-graphviz",
    "xxhash": "python-xxhash",
    "redis": "redis-py",
    "flatbuffers": "python-flatbuffers",
    "kaleido": "python-kaleido",
    "duckdb": "python-duckdb",
    "annoy": "python-annoy",
    "build": "python-build",
    "blosc": "python-blosc",
    "tables": "pytables",
    "msgpack": "msgpack-python",
    "docker": "docker-py",
}


@attrs.frozen
class Spec:
    """One package that is wanted of conda.

    Args:
        name: in lower case, as conda compares it.
        version: a constraint such as ``==1.2``, ``1.2.*`` or ``>=1,<2``; empty for any.
        build: the build string; empty for any.
        channel: the only channel it may come from; empty for all.
        raw: the text as somebody wrote it, passed on unchanged; ``version`` and ``build`` are empty then.
        pip: the requirement line that pip gets where conda does not have it; empty when pip must not be asked.
        loose: another patch version or build will do where this one is not to be had.
        optional: left out where conda does not have it.
    """

    name: str
    version: str = ""
    build: str = ""
    channel: str = ""
    raw: str = ""
    pip: str = ""
    loose: bool = False
    optional: bool = False

    @property
    def text(self) -> str:
        """As conda, mamba and rattler read it."""
        if self.raw:
            return self.raw
        channel = f"{self.channel}::" if self.channel else ""
        if self.build and self.version.startswith("=="):
            return f"{channel}{self.name}={self.version[2:]}={self.build}"
        if self.build:
            return f'{channel}{self.name}[version="{self.version or "*"}",build="{self.build}"]'
        return f"{channel}{self.name} {self.version}" if self.version else f"{channel}{self.name}"

    def looser(self) -> Spec | None:
        """The same without its build, then with any patch version; None when there is nothing left to give up."""
        if not self.loose or self.raw:
            return None
        if self.build:
            return attrs.evolve(self, build="")
        if self.version.startswith("=="):
            wider = _wider(self.version[2:], minor=self.name == "python")
            return attrs.evolve(self, version=wider) if wider else None
        return None


def _wider(version: str, *, minor: bool) -> str:
    """``version`` with any patch level."""
    version = version.partition("+")[0].partition(".post")[0]
    parts = version.split(".")
    if minor:
        return f"{'.'.join(parts[:2])}.*" if len(parts) > 2 else ""
    if len(parts) == 1:
        return f">={version}"
    return f"~={version}"


def read_spec(text: str, *, loose: bool) -> Spec | None:
    """A line of ``conda list``, ``conda env export`` or of what the SDK records; None when it is not understood.

    A build that is ``pypi`` or ``pypi_0`` marks what pip installed; it is given back as a spec without a name.
    """
    url = _URL.match(text.strip())
    if url:
        return Spec(url["name"].lower(), f"=={url['version']}", url["build"], url["channel"], loose=loose)
    match = _SPEC.match(text.strip())
    if match is None:
        return None
    name, channel, rest = match["name"].lower(), match["channel"] or "", match["rest"].strip()
    exact, ranged = _EXACT.match(match["rest"]), _RANGE.match(match["rest"])
    if exact and exact["build"].startswith("pypi"):
        return Spec("", pip=f"{match['name']}=={exact['version']}")
    if exact:
        fuzzy = rest.startswith("=") and not rest.startswith("==") and not exact["build"]
        version = f"{exact['version']}.*" if fuzzy else f"=={exact['version']}"
        return Spec(name, version, exact["build"], channel, loose=loose)
    if ranged or not rest:
        version = re.sub(r"\s+", "", ranged["version"]) if ranged else ""
        return Spec(name, version, channel=channel, loose=loose)
    return Spec(name, raw=text.strip())


def from_pip(line: str, python: str) -> Spec | str:
    """The conda package for a requirement line of pip; else why pip has to install it.

    Args:
        line: one requirement, as in a requirement file.
        python: the version that its marker is asked about.
    """
    match = _PIP.match(line)
    if match is None:
        return "conda has no such requirements"
    if match["marker"] and not _holds(match["marker"], python):
        return ""
    specs = [re.sub(r"\s+", "", part) for part in match["specs"].split(",") if part.strip()]
    version = ",".join(_conda_version(part) for part in specs)
    return Spec(conda_name(match["name"]), version, pip=f"{match['name']}{','.join(specs)}")


def _conda_version(part: str) -> str:
    if part.startswith("==="):
        return part[1:]
    if part.startswith("==") and part.endswith(".*"):
        return part[2:]
    return part


def _holds(marker: str, python: str) -> bool:
    """Whether ``marker`` is true for ``python`` on this machine; one that is not understood is taken to be."""
    from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415 - few lists have markers, and it is slow

    minor = ".".join(python.split(".")[:2])
    try:
        return Marker(marker.strip()).evaluate(
            {"python_version": minor, "python_full_version": python if python.count(".") > 1 else f"{minor}.0"}
        )
    except InvalidMarker:
        return True


def pip_name(line: str) -> str:
    """The package that a requirement line names, as conda calls it; empty where it is no plain line."""
    match = _PIP.match(line)
    return conda_name(match["name"]) if match else ""


def conda_name(name: str) -> str:
    """What conda calls the package that pip calls ``name``."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    return _CONDA_NAMES.get(normal, normal)


def read_wire(data: Mapping[str, Any]) -> Spec:
    """The inverse of ``attrs.asdict``."""
    return Spec(**{field.name: data[field.name] for field in attrs.fields(Spec) if field.name in data})
