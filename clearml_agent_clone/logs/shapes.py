"""What credentials look like when nobody told us about them: token prefixes, URLs with user info, headers.

A ``Shape`` finds the *value* (group 1), never the word before it, so a reader still sees what was hidden:
``ghp_****``, ``https://****@host``, ``Authorization: Bearer ****``. No value crosses a line end.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

CONTEXT = 64
"""No shape looks at more characters than this before its value."""

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def _always(_match: re.Match[str]) -> bool:
    return True


@attrs.frozen
class Shape:
    """One kind of credential.

    Attributes:
        probes: the text holds a value only if it holds one of these; looking for them is what keeps redaction fast.
        value: finds values, as group 1.
        growing: finds, at the end of a text that goes on, the start (group 1) of what may become a value.
        accept: the last word on a match, for what a regular expression says badly.
    """

    probes: tuple[str, ...]
    value: re.Pattern[str]
    growing: re.Pattern[str]
    accept: Callable[[re.Match[str]], bool] = _always


def _starts_word(match: re.Match[str]) -> bool:
    start = match.start()
    return start == 0 or match.string[start - 1] not in _WORD


def _starts_word_with_digit(match: re.Match[str]) -> bool:
    return _starts_word(match) and any(character.isdigit() for character in match[1])


def _is_web_token(match: re.Match[str]) -> bool:
    return _starts_word(match) and "." in match[1]


def _is_user_info(match: re.Match[str]) -> bool:
    """Whether the user info of a URL hides something: ``ssh://git@host`` does not."""
    if ":" in match[1]:
        return True
    before = match.string[max(0, match.start() - 8) : match.start()]
    return match[1] != "git" and not before.endswith(("ssh", "sftp", "git"))


def _is_bearer(match: re.Match[str]) -> bool:
    return any(character.isdigit() for character in match[1])


def _token(prefix: str, body: str, least: int, accept: Callable[[re.Match[str]], bool] = _starts_word) -> Shape:
    literal = re.escape(prefix)
    return Shape(
        (prefix,), re.compile(f"{literal}([{body}]{{{least},}})"), re.compile(rf"{literal}([{body}]*)\Z"), accept
    )


_ALNUM = "A-Za-z0-9"
_NAME = r"A-Za-z0-9_\-"
_PARAMETER = (
    "(?:password|passwd|pwd|token|access_token|refresh_token|id_token|private_token|auth|auth_token|api_?key|apikey"
    "|access_key|secret|secret_key|client_secret|sig|signature|x-amz-signature|x-amz-credential"
    "|x-amz-security-token|x-goog-signature|x-goog-credential)"
)
_HEADER = (
    r"(?:(?:proxy-)?authorization|x-api-key|private-token|x-auth-token)[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?"
    r"(?:(?:bearer|basic|token|negotiate)[ \t]{1,4})?"
)
_HEADER_PROBES = ("uthorization", "UTHORIZATION", "pi-key", "PI-KEY", "pi-Key", "-oken", "-Token", "-TOKEN", "-token")

SHAPES: tuple[Shape, ...] = (
    *(_token(prefix, _ALNUM + "_", 20) for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_")),
    *(_token(prefix, _NAME, 16) for prefix in ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-")),
    *(_token(prefix, _ALNUM, 20) for prefix in ("hf_", "npm_", "dckr_pat_", "nvapi-")),
    *(_token(prefix, "A-Z0-9", 16) for prefix in ("AKIA", "ASIA")),
    *(_token(prefix, _NAME, 10) for prefix in ("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xapp-")),
    _token("AIza", _NAME, 30),
    _token("pypi-AgE", _NAME, 30),
    _token("ya29.", _NAME + ".", 20),
    _token("sk-", _NAME, 20, _starts_word_with_digit),
    _token("eyJ", _NAME + ".=", 20, _is_web_token),
    Shape(
        ("://",),
        re.compile(r"://([^\s/?#\"'<>]+)@"),
        re.compile(r"://([^\s/?#\"'<>]*)\Z"),
        _is_user_info,
    ),
    Shape(
        ("?", "&"),
        re.compile(rf"[?&]{_PARAMETER}=([^\s&#\"'<>;]+)", re.IGNORECASE),
        re.compile(rf"[?&]{_PARAMETER}=([^\s&#\"'<>;]*)\Z", re.IGNORECASE),
    ),
    Shape(
        _HEADER_PROBES,
        re.compile(rf"{_HEADER}(?!(?:bearer|basic|token|negotiate)\b)([^\s\"',}}]{{4,}})", re.IGNORECASE),
        re.compile(rf"{_HEADER}([^\s\"',}}]*)\Z", re.IGNORECASE),
    ),
    Shape(
        ("earer ", "EARER "),
        re.compile(r"bearer[ \t]{1,4}([A-Za-z0-9._~+/=\-]{16,})", re.IGNORECASE),
        re.compile(r"bearer[ \t]{1,4}([A-Za-z0-9._~+/=\-]*)\Z", re.IGNORECASE),
        _is_bearer,
    ),
)
