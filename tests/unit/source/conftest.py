"""Real git repositories to fetch from, and a git server over HTTP that asks for passwords."""

from __future__ import annotations

from tests.helpers.consoles import Recorder
from tests.helpers.git_http import GitHost
from tests.helpers.git_tools import Upstream
from tests.helpers.source_fixtures import Fetch, console, fetch, git_host, plain_git, settings, template, upstream

__all__ = [
    "Fetch",
    "GitHost",
    "Recorder",
    "Upstream",
    "console",
    "fetch",
    "git_host",
    "plain_git",
    "settings",
    "template",
    "upstream",
]
