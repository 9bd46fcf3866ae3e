"""The words of an installing program: put into one line, and their decisive part found."""

from __future__ import annotations

import re

import attrs

RANGE = r"([=<>!~]=?=?[^\s,;()]*[^\s,;().](?:,\s?[=<>!~][^\s,;()]*[^\s,;().])*)"
"""Pattern of what follows a name in a requirement, as one group."""

_LONGEST = 400
_DRAWN = re.compile("^[\\s\u2502\u2570\u2500\u25b6\u00d7>]+")  # what is drawn in front of sentences
_CAUSE = re.compile(
    r"^\s*(?:[\u2570\u2500\u25b6 ]*\s)?(?:cause:|Caused by:|ERROR:|error:|\u2570\u2500\u25b6|\u00d7)\s*(.*)"
)
_ERROR_LINE = re.compile(
    r"^\s*(?:\u2570\u2500> )?((?:[\w.]*(?:Error|Exception)\b|error:|fatal:|.{0,200}: fatal error:).*)"
)
_NOTHING_SAID = re.compile(r"subprocess-exited-with-error|metadata-generation-failed")


@attrs.frozen
class Said:
    """What a program printed: as it did, and on one line; ``indexes`` is where it looked, without secrets."""

    output: str
    text: str
    indexes: str


def in_one_line(output: str) -> str:
    """``output`` on one line: resolvers wrap their sentences."""
    return " ".join(_DRAWN.sub("", line).strip() for line in output.splitlines())


def shortened(text: str) -> str:
    """``text`` in one line that can be shown."""
    return in_one_line(text)[:_LONGEST]


def last_cause(output: str) -> str:
    """The last cause that was named, with the lines that go on with it; else the last line."""
    lines = output.splitlines()
    for index in range(len(lines) - 1, -1, -1):
        match = _CAUSE.match(lines[index])
        if match and not _NOTHING_SAID.search(match[1]):
            more = []
            for line in lines[index + 1 :]:
                if not re.match(r"\s{4,}\S", line):
                    break
                more.append(line)
            return shortened("\n".join([match[1], *more]))
    return next((line.strip() for line in reversed(lines) if line.strip()), "it gave no reason")[:_LONGEST]


def error_line(output: str) -> str:
    """The last line that looks like an error of a program: a build's own words."""
    found = [
        match[1]
        for line in output.splitlines()
        if (match := _ERROR_LINE.match(line)) and not _NOTHING_SAID.search(match[1])
    ]
    return found[-1][:_LONGEST] if found else last_cause(output)
