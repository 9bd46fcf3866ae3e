"""What is in an environment, and how it is recorded with the task."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment.requirements import normal

# The tools that every environment gets; they are the task's own only when it asks for them.
_TOOLS = frozenset({"pip", "setuptools", "wheel", "distribute"})
_HIDDEN = frozenset({"clearml-agent", "clearml-agent-clone"})


def list_installed(folders: Iterable[Path | str], asked: Iterable[str], root: Path | None) -> tuple[str, ...]:
    """The packages in ``folders`` as ``pip freeze`` would list them, sorted by name.

    Args:
        folders: ``site-packages`` folders; of two copies the first counts.
        asked: normal names of the packages that the task asks for itself.
        root: the checkout; what was installed from inside it is listed relative to it, so that a clone of the task
            finds it in a checkout of its own.
    """
    from importlib.metadata import distributions  # noqa: PLC0415 - only a build needs it

    hidden = (_TOOLS - set(asked)) | _HIDDEN
    found: dict[str, str] = {}
    for distribution in distributions(path=[str(folder) for folder in folders]):
        name = distribution.metadata["Name"]
        if not name or normal(name) in found or normal(name) in hidden:
            continue
        origin = distribution.read_text("direct_url.json")
        found[normal(name)] = _line(name, distribution.version, _reference(origin) if origin else "", root)
    return tuple(found[name] for name in sorted(found))


def write_back(
    old: Requirements, installed: Sequence[str], whole: Mapping[str, object] | None = None
) -> dict[str, object] | None:
    """What to record as the task's requirements: the packages used, and once the original text beside them.

    None when there is nothing to report: nothing was installed, or it is recorded already.

    Args:
        old: what is recorded.
        installed: the packages used.
        whole: all keys at once, in place of ``installed``.
    """
    if not installed and not whole:
        return None
    lines = list(installed)
    recorded = [line.strip() for line in (old.pip or "").splitlines() if line.strip()]
    if recorded == lines and old.org_pip is not None:
        return None
    result: dict[str, object] = dict(old.to_wire())
    for name, kept in (("pip", "org_pip"), ("conda", "org_conda")):
        text = result.pop(name, None)
        if text is not None:
            result.setdefault(kept, text)
    return {**result, "pip": lines, **(whole or {})}


def _line(name: str, version: str, reference: str, root: Path | None) -> str:
    if not reference:
        return f"{name}=={version}"
    if root is not None and reference.startswith("file://"):
        place = Path(unquote(urlsplit(reference).path))
        if place.is_relative_to(root):
            return "." if place == root else f"./{place.relative_to(root)}"
    return f"{name} @ {reference}"


def _reference(text: str) -> str:
    import json  # noqa: PLC0415 - few packages have one

    try:
        data = json.loads(text)
        url = str(data["url"])
        vcs = data.get("vcs_info") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    url = without_secrets(url)
    tail = f"#subdirectory={data['subdirectory']}" if data.get("subdirectory") else ""
    if vcs:
        return f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}{tail}"
    return url + tail


def without_secrets(url: str) -> str:
    """``url`` without a password; a bare user name stays, because ``ssh://git@host`` needs it."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    kept = "" if parts.scheme in {"http", "https"} or not user else user.partition(":")[0] + "@"
    parts = parts._replace(netloc=kept + host)
    return re.sub(r"#$", "", urlunsplit(parts))
