"""Answers git's questions for user and password; git starts it through ``GIT_ASKPASS``.

Called as ``python -I -S askpass.py FILE PROMPT``. FILE is JSON, readable by its owner only: a list of
``{schemes, host, port, prefix, user, password}``. It is printed only what belongs to the host, port and path that the
prompt names; for any other prompt the exit code is 1. It imports nothing of the package, so that it starts quickly.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any
from urllib.parse import unquote, urlsplit

_PROMPT = re.compile(r"(?P<what>Username|Password) for '(?P<url>.*)': ?")
_PORTS = {"https": 443, "http": 80}


def answer(prompt: str, grants: list[dict[str, Any]]) -> str | None:
    """What to tell git, or None when nothing is known for what it asks."""
    match = _PROMPT.fullmatch(prompt)
    if match is None:
        return None
    try:
        url = urlsplit(match["url"])
        port = url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None
    asked_user = unquote(url.username or "")
    matching = [grant for grant in grants if _is_for(grant, url.scheme, url.hostname or "", port, url.path)]
    named = [grant for grant in matching if grant["user"] == asked_user]
    for grant in named or matching:
        return str(grant["user" if match["what"] == "Username" else "password"])
    return None


def _is_for(grant: dict[str, Any], scheme: str, host: str, port: int | None, path: str) -> bool:
    prefix = grant["prefix"]
    path = unquote(path)
    return (
        scheme in grant["schemes"]
        and grant["host"].strip("[]").lower() == host.lower()
        and grant["port"] in {None, port}
        and (not prefix or path == prefix or path.startswith(prefix + "/"))
    )


def main(arguments: list[str]) -> int:
    """Print the answer; 1 when there is none."""
    file, prompt = arguments
    with open(file, encoding="utf-8") as stream:  # noqa: PTH123 - pathlib would double the start-up time
        text = answer(prompt, json.load(stream))
    if text is None:
        return 1
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
