"""Keeping a task's paths inside its checkout."""

from __future__ import annotations

from pathlib import Path

from clearml_agent_clone.errors import UserError


def inside(path: Path, root: Path, what: str) -> Path:
    """``path`` with symbolic links resolved, which must lie in ``root``; it need not exist.

    Args:
        path: the path to check.
        root: the checkout.
        what: field and value for the message.

    Raises:
        UserError: code ``outside-checkout``.
    """
    try:
        real = path.resolve()
        if real.is_relative_to(root.resolve()):
            return real
    except (RuntimeError, ValueError, OSError):
        pass  # a loop of links, or a name that no file can have, is not inside either
    raise UserError(
        f"{what} leads out of the checkout",
        remedy="Use a path below the repository's root",
        code="outside-checkout",
    )
