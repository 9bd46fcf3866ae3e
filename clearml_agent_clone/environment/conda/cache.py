"""The packages that conda keeps unpacked, and that environments are linked from."""

from __future__ import annotations

import shutil
from pathlib import Path

from clearml_agent_clone.util.files import read_json


def forget(env: Path, names: list[str]) -> list[str]:
    """Drop the unpacked packages that the files ``names`` of ``env`` are linked from; returns what was dropped.

    conda, mamba and rattler unpack or download them again when they are needed next.
    """
    wanted = set(names)
    dropped = []
    for file in (env / "conda-meta").glob("*.json"):
        record = read_json(file)
        if not isinstance(record, dict) or wanted.isdisjoint(map(str, record.get("files") or ())):
            continue
        folder = Path(str(record.get("extracted_package_dir") or ""))
        # A file that a task may have changed says where this is: nothing but an unpacked package is removed.
        named = f"{record.get('name')}-{record.get('version')}-{record.get('build')}"
        if folder.is_absolute() and folder.name == named and (folder / "info" / "index.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            dropped.append(named)
    return sorted(dropped)
