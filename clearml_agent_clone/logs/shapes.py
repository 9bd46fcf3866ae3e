"""What credentials look like when nobody told us about them: token prefixes, URLs with user info, headers.

A ``Shape`` finds the *value* (group 1), never the word before it, so a reader still sees what was hidden:
``ghp_****``, ``https://****@host``, ``Authorization: Bearer ****``. No value crosses a line end.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator

import attrs

CONTEXT = 64
"""No shape looks at more characters than this before its value."""


@attrs.frozen
class Shape:
    """One kind of credential.

    Attributes:
        probes: in lower case; the text in lower case holds a value only if it holds one of these. Looking for them
            is what keeps redaction fast. None for a regular expression that begins with a literal: it is as fast.
        head: what stands before a value.
        value: finds values, as group 1.
        inside: the characters of a value; empty when ``outside`` tells them.
        outside: the characters that end a value.
        accept: the last word on a match, for what a regular expression says badly.
    """

    probes: tuple[str, ...]
    head: re.Pattern[str]
    value: re.Pattern[str]
    inside: str
    outside: str
    accept: Callable[[re.Match[str]], bool]

    def may_be_in(self, lowered: str) -> bool:
        """Whether it is worth looking closer at a text, given in lower case."""
        return not self.probes or any(probe in lowered for probe in self.probes)

    def spans(self, text: str, at: int = 0) -> Iterator[tuple[int, int]]:
        """Where the values stand whose heads begin at ``at`` or later."""
        while match := self.value.search(text, at):
            start, stop = match.span(1)
            if self.accept(match):
                yield start, stop
            # The word before a value may itself stand at the end of another value. One that stands further ahead
            # in it has its own value inside this one.
            at = max(start, stop - CONTEXT)

    def growing(self, text: str, first: int = 0) -> int | None:
        """Where a value may have begun that ``text`` does not hold in full; takes time in proportion to the text.

        Its head begins at ``first`` or later.
        """
        if self.head.search(text, first) is None:
            return None
        run = len(text.rstrip(self.inside)) if self.inside else 1 + max(map(text.rfind, self.outside))
        at = max(first, run - CONTEXT)
        while match := self.head.search(text, at):
            if match.end() >= run:
                return match.end()
            at = match.start() + 1
        return None


def _always(_match: re.Match[str]) -> bool:
    return True


def _has_digit(match: re.Match[str]) -> bool:
    return any(character.isdigit() for character in match[1])


def _is_web_token(match: re.Match[str]) -> bool:
    return "." in match[1]


def _is_user_info(match: re.Match[str]) -> bool:
    """Whether the user info of a URL hides something: ``ssh://git@host`` does not."""
    if ":" in match[1]:
        return True
    before = match.string[max(0, match.start() - 8) : match.start()]
    return match[1] != "git" and not before.endswith(("ssh", "sftp", "git"))


def _shape(
    head: str,
    *,
    probes: tuple[str, ...] = (),
    least: int = 1,
    inside: str = "",
    outside: str = "",
    unless: str = "",
    tail: str = "",
    accept: Callable[[re.Match[str]], bool] = _always,
) -> Shape:
    body = f"[{re.escape(inside)}]" if inside else f"[^{re.escape(outside)}]"
    return Shape(
        probes,
        re.compile(head),
        re.compile(f"{head}{unless}({body}{{{least},}}){tail}"),
        inside,
        outside,
        accept,
    )


def _token(prefix: str, body: str, least: int, accept: Callable[[re.Match[str]], bool] = _always) -> Shape:
    # The regular expression begins with a literal; that a word begins there is asked after.
    return _shape(f"{prefix}(?<![A-Za-z0-9]{prefix})", least=least, inside=body, accept=accept)


_UPPER = string.ascii_uppercase + string.digits
_ALNUM = string.ascii_letters + string.digits
_NAME = _ALNUM + "_-"
_BLANK = " \t\n\r\f\v"
_PARAMETER = (
    "(?:password|passwd|pwd|token|access_token|refresh_token|id_token|private_token|auth|auth_token|api_?key|apikey"
    "|access_key|secret|secret_key|client_secret|sig|signature|x-amz-signature|x-amz-credential"
    "|x-amz-security-token|x-goog-signature|x-goog-credential)"
)
_SCHEME = "(?:bearer|basic|token|negotiate)"
_HEADER = (
    r"(?i)(?:(?:proxy-)?authorization|x-api-key|private-token|x-auth-token)[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?"
    rf"(?:{_SCHEME}[ \t]{{1,4}})?"
)

SHAPES: tuple[Shape, ...] = (
    _token("gh[pousr]_", _ALNUM + "_", 20),
    _token("github_pat_", _ALNUM + "_", 20),
    _token("glpat-", _NAME, 16),
    _token("gl[dr]t-", _NAME, 16),
    _token("gl[pc][tb]t-", _NAME, 16),
    _token("hf_", _ALNUM, 20),
    _token("npm_", _ALNUM, 20),
    _token("nvapi-", _NAME, 20),
    _token("dckr_pat_", _NAME, 20),
    _token("A[KS]IA", _UPPER, 16),
    _token("AIza", _NAME, 30),
    _token("xox[bpaers]-", _NAME, 10),
    _token("xapp-", _NAME, 10),
    _token("pypi-AgE", _NAME, 30),
    _token(r"ya29\.", _NAME + ".", 20),
    _token("sk-", _NAME, 20, _has_digit),
    _token("eyJ", _NAME + ".=", 20, _is_web_token),
    _shape("://", outside=_BLANK + "/?#\"'<>", tail="@", accept=_is_user_info),
    _shape(f"(?i)[?&]{_PARAMETER}=", probes=("?", "&"), outside=_BLANK + "&#\"'<>;"),
    _shape(
        _HEADER,
        probes=("authorization", "api-key", "-token"),
        least=4,
        outside=_BLANK + "\"',}",
        unless=rf"(?!{_SCHEME}\b)",
    ),
    _shape(r"(?i)bearer[ \t]{1,4}", probes=("bearer",), least=16, inside=_NAME + ".~+/=", accept=_has_digit),
)
