"""What is in a conda environment, and how it is recorded with the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clearml_agent_clone.environment.report import list_installed
from clearml_agent_clone.util.files import read_json

_HIDDEN = frozenset({"pip", "setuptools", "wheel"})


def list_content(prefix: Path, root: Path | None) -> tuple[list[dict[str, Any]], list[str]]:
    """The packages of conda, by name, and the ``name==version`` lines of what pip installed beside them."""
    records = [data for file in (prefix / "conda-meta").glob("*.json") if isinstance(data := read_json(file), dict)]
    records.sort(key=lambda record: str(record.get("name")))
    # conda's own copies have a description too, often with the path of the machine that built them.
    owned = {
        str(name).rpartition("/")[0].rpartition("/")[2]
        for record in records
        for name in record.get("files") or ()
        if str(name).endswith((".dist-info/METADATA", ".egg-info/PKG-INFO"))
    }
    names = {folder.partition("-")[0].replace("_", "-").lower() for folder in owned}
    sites = list(prefix.glob("lib/python*/site-packages"))
    lines = [
        line for line in list_installed(sites, (), root) if _name(line) not in names and _name(line) not in _HIDDEN
    ]
    return records, lines


def exported(prefix: Path, root: Path | None) -> dict[str, object]:
    """The whole environment as the classic agent records it: ``pip``, ``conda`` and ``conda_env_json``."""
    records, lines = list_content(prefix, root)
    named = [
        f"{'torch' if record['name'] == 'pytorch' else record['name']}=={record.get('version')}"
        for record in records
        if not str(record["name"]).startswith("_")
    ]
    builds = [f"{record['name']}={record.get('version')}={record.get('build')}" for record in records]
    whole = {"dependencies": [*builds, *([{"pip": lines}] if lines else [])]}
    pip = ["# Conda Packages", "", *named, "", "# pip Packages", "", *lines] if named else lines
    return {"pip": pip, "conda": named, "conda_env_json": json.dumps(whole)}


def _name(line: str) -> str:
    return line.partition("==")[0].partition(" @ ")[0].replace("_", "-").lower()
