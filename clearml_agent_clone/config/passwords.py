"""The agent's own passwords for fetching code: its helpers, and what it installs and runs, have no business with them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAMES = re.compile(
    r"(?:CLEARML|TRAINS)_AGENT_GIT_PASS|CLEARML_AGENT__AGENT__(?:(?:GIT|HG)_PASS|(?:GIT|HG)__EXTRA_CREDENTIALS)",
    re.IGNORECASE,
)


def without_passwords(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without the variables that tell the agent passwords of git and Mercurial."""
    return {name: value for name, value in environ.items() if not _NAMES.fullmatch(name)}
