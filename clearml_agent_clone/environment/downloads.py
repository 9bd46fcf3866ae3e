"""What uv keeps of the packages that it fetched and built: how much that is, and how to make it less."""

from __future__ import annotations

from collections.abc import Sequence

from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import AgentError, UserError
from clearml_agent_clone.util.process import run

_PATIENCE = 300.0
_LOCK_PATIENCE = "20"  # seconds for which uv waits for another uv that uses the cache


def prune(settings: EnvironmentSettings) -> None:
    """Have uv drop what it can fetch again. Environments keep their files; what was built from source stays.

    Nothing happens when uv cannot: it is only asked where space is short.
    """
    try:
        _ask(settings, ["prune", "--ci"])
    except (AgentError, OSError):
        return


def clean(settings: EnvironmentSettings, *, everything: bool) -> None:
    """Have uv drop what it does not need any more, or all that it keeps.

    Raises:
        UserError: code ``cache-in-use``; it could not, because a task is installing packages right now, for instance.
    """
    done = _ask(settings, ["clean"] if everything else ["prune"])
    if done:
        raise UserError(f"uv did not clean its cache: {done}", remedy="Try again later", code="cache-in-use")


def _ask(settings: EnvironmentSettings, arguments: Sequence[str]) -> str:
    """Run ``uv cache``; what it says when it fails."""
    program, cache = find_uv(settings.environ), settings.uv_cache_dir
    if not program or cache is None or not cache.is_dir():
        return ""
    told = {"UV_CACHE_DIR": str(cache), "UV_LOCK_TIMEOUT": _LOCK_PATIENCE, "NO_COLOR": "1"}
    done = run([program, "cache", *arguments, "--quiet"], env={**settings.environ, **told}, timeout=_PATIENCE)
    return "" if done.ok else done.last_line or f"exit code {done.exit_code}"
