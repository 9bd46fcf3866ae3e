"""A git credential helper that knows only what it was lent; git starts it as ``python -I -S helper.py FILE get``.

FILE is JSON, readable by its owner only: a list of ``{schemes, host, port, prefix, user, password}``. git names
protocol, host and path on stdin, and gets the login of the first entry that is for them, or nothing. Through a pipe,
because the question that git would put on an askpass program's command line has the user name in it, which may be a
token. It imports nothing of the package, so that it starts quickly.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80}


def answer(question: str, grants: list[dict[str, Any]]) -> str:
    """What to tell git, or an empty string when nothing is known for what it asks."""
    asked = dict(line.split("=", 1) for line in question.splitlines() if "=" in line)
    scheme, path = asked.get("protocol", ""), "/" + asked.get("path", "")
    try:
        place = urlsplit(f"//{asked.get('host', '')}")
        port = place.port or _PORTS.get(scheme)
    except ValueError:
        return ""
    matching = [grant for grant in grants if _is_for(grant, scheme, place.hostname or "", port, path)]
    named = [grant for grant in matching if grant["user"] == asked.get("username")]
    for grant in named or matching:
        return f"username={grant['user']}\npassword={grant['password']}\n"
    return ""


def _is_for(grant: dict[str, Any], scheme: str, host: str, port: int | None, path: str) -> bool:
    prefix = grant["prefix"]
    return (
        scheme in grant["schemes"]
        and grant["host"].strip("[]").lower() == host.lower()
        and grant["port"] in {None, port}
        and (not prefix or path == prefix or path.startswith(prefix + "/"))
    )


def main(arguments: list[str]) -> None:
    """Answer ``get``; what git would have stored or erased is not ours to change."""
    file, operation = arguments
    if operation != "get":
        return
    with open(file, encoding="utf-8") as stream:  # noqa: PTH123 - pathlib would double the start-up time
        grants = json.load(stream)
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr] # nobody replaces stdout here
    sys.stdout.write(answer(sys.stdin.buffer.read().decode(errors="replace"), grants))


if __name__ == "__main__":
    main(sys.argv[1:])
