"""Reading HOCON through pyhocon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearml_agent_clone.config.trees import Tree
from clearml_agent_clone.errors import UserError


def parse_text(text: str, source: str, base: Path | None = None) -> Tree:
    import pyhocon  # noqa: PLC0415 - slow to import, and not needed when nothing has to be parsed

    try:
        tree: Tree = plain(pyhocon.ConfigFactory.parse_string(text, str(base) if base else None))
    except Exception as error:  # noqa: BLE001 - replaced below
        raise UserError(f"{source}: {error}", code="config-syntax") from error
    return tree


def plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name).strip('"'): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return None
