"""What credentials look like when nobody told us about them: token prefixes, URLs with user info, headers.

A ``Shape`` finds the *value* (group 1), never the word before it, so a reader still sees what was hidden:
``ghp_****``, ``https://****@host``, ``Authorization: Bearer ****``. No value crosses a line end but that of a private
key.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property

import attrs

CONTEXT = 128
"""No shape looks at more characters than this before its value."""

_RUN = b"a" * 20  # so many letters, digits, - and _ in a row has every token
_RUN_CLASSES = bytes(
    ord("a") if code < 128 and (chr(code).isalnum() or chr(code) in "_-") else ord(" ") for code in range(256)
)
_TOKEN_SIGNS = (string.ascii_letters + string.digits + "-_.=").encode()


@attrs.frozen(eq=False, slots=False)  # cached properties need a dictionary
class Shape:
    """One kind of credential.

    Attributes:
        probes: the text in lower case holds a value only if it holds all of these. Looking for them is what keeps
            redaction fast; the first is one that several shapes share.
        signs: and one of these, which is faster to see.
        head_pattern: what stands before a value; for texts in lower case unless ``exact_case``.
        value_pattern: finds values, as group 1.
        inside: the characters of a value; empty when ``outside`` tells them.
        outside: the characters that end a value.
        exact_case: it matters whether letters are small or capital.
        accept: the last word on a match: the text as it is, and where the value stands in it.
    """

    probes: tuple[bytes, ...]
    signs: frozenset[bytes]
    head_pattern: str
    value_pattern: str
    inside: bytes
    outside: bytes
    exact_case: bool
    accept: Callable[[bytes, int, int], bool]

    @cached_property
    def head(self) -> re.Pattern[bytes]:
        return re.compile(self.head_pattern.encode())  # few shapes are ever looked for

    @cached_property
    def value(self) -> re.Pattern[bytes]:
        return re.compile(self.value_pattern.encode())

    def spans(self, text: Text, at: int) -> Iterator[tuple[int, int]]:
        """Where the values stand whose heads begin at ``at`` or later."""
        data = text.data if self.exact_case else text.lowered
        while match := self.value.search(data, at):
            start, stop = match.span(1)
            if self.accept(text.data, start, stop):
                yield start, stop
            # The word before a value may itself stand at the end of another value. One that stands further ahead
            # in it has its own value inside this one.
            at = max(start, stop - CONTEXT)

    def growing(self, text: Text, first: int) -> int | None:
        """Where a value may have begun that ``text`` does not hold in full; takes time in proportion to the text.

        Its head begins at ``first`` or later.
        """
        data = text.data if self.exact_case else text.lowered
        if self.head.search(data, first) is None:
            return None
        run = len(text.data.rstrip(self.inside)) if self.inside else 1 + max(map(data.rfind, self.outside))
        at = max(first, run - CONTEXT)
        while match := self.head.search(data, at):
            if match.end() >= run:
                return match.end()
            at = match.start() + 1
        return None


class Text:
    """A text, and which shapes are worth looking for in it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def lowered(self) -> bytes:
        """The text in lower case."""
        return self.data.lower()

    @cached_property
    def _hints(self) -> bytes:
        return self.data.translate(_LOWER, _NO_HINT)

    def spans(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """Where values stand whose heads begin at ``first`` or later."""
        for shape in (*self._tokens(), *self._by_probe()):
            yield from shape.spans(self, first)
        yield from _private_keys(self.data)

    def growing(self, first: int = 0) -> list[int]:
        """Where something begins that looks like a credential and goes on to the end."""
        # None goes on over a line end.
        first = max(first, self.data.rfind(b"\n") + 1)
        if first == len(self.data):
            return []
        run = len(self.data.rstrip(_TOKEN_SIGNS))
        lowered = self.lowered[first:]
        shapes = [*_of_heads({*_HEADS(self.data, max(first, run - CONTEXT))})]
        shapes += [shape for shape in _SHAPES if shape.probes[-1] in lowered]  # the last is part of the head
        found = (shape.growing(self, first) for shape in shapes)
        return [start for start in found if start is not None]

    def _by_probe(self) -> Iterator[Shape]:
        here = [sign for sign in _SIGNS if sign in self.data]
        for probe, (hint, signs, shapes) in _BY_PROBE.items():
            if not signs.isdisjoint(here) and hint in self._hints and probe in self.lowered:
                for also, shape in shapes:
                    if also in self.lowered:
                        yield shape

    def _tokens(self) -> Iterable[Shape]:
        if _RUN not in self.data.translate(_RUN_CLASSES):
            return ()
        worth = {kind for sign, kinds in _BY_SIGN.items() if _may_hold(self.data, sign) for kind in kinds}
        heads = zip(_PREFIXES, _token_heads(), _TOKENS, strict=True)
        return [shape for row, head, shape in heads if row[0] in worth and head.search(self.data)]


def _may_hold(data: bytes, sign: bytes) -> bool:
    """Whether ``data`` may hold the head of a token in which ``sign`` stands.

    Most texts have few such signs, and to look at what stands before them is faster than to look for each head.
    """
    count = data.count(sign) if sign else len(data)
    if count > len(data) // _SELDOM:
        return True
    return not _ENDS[sign].isdisjoint([part[-2:] for part in data.split(sign)[:-1]])


def _of_heads(heads: Iterable[bytes]) -> set[Shape]:
    kinds = zip(_token_heads(), _TOKENS, strict=True)
    return {shape for kind, shape in kinds for head in heads if kind.fullmatch(head)}


@cache
def _token_heads() -> tuple[re.Pattern[bytes], ...]:
    """What each kind of token begins with, without regard to what stands before."""
    return tuple(re.compile(row[0].encode()) for row in _PREFIXES)


def open_private_key(data: bytes) -> bytes:
    """The head of a private key with which ``data`` begins, when its end is not there; else nothing."""
    head = _KEY_HEAD.match(data)
    return head[0] if head is not None and data.find(_KEY_END, head.end()) < 0 else b""


def _private_keys(data: bytes) -> Iterator[tuple[int, int]]:
    if b"-" not in data or b"-----BEGIN " not in data:
        return
    for head in _KEY_HEAD.finditer(data):
        start, stop = head.end(), data.find(_KEY_END, head.end())
        stop = stop if stop >= 0 else len(data)
        while start < stop and data[start] in b"\r\n":
            start += 1
        while stop > start and data[stop - 1] in b"\r\n":
            stop -= 1
        if start < stop:
            yield start, stop


def _always(_text: bytes, _start: int, _stop: int) -> bool:
    return True


def _has_digit(text: bytes, start: int, stop: int) -> bool:
    return any(code in b"0123456789" for code in text[start:stop])


def _is_web_token(text: bytes, start: int, stop: int) -> bool:
    return b"." in text[start:stop]


def _is_user_info(text: bytes, start: int, stop: int) -> bool:
    """Whether the user info of a URL hides something: ``ssh://git@host`` does not."""
    value = text[start:stop]
    if b":" in value:
        return True
    return value != b"git" and not text[max(0, start - 8) : start - 3].endswith((b"ssh", b"sftp", b"git"))


def _is_random(value: bytes) -> bool:
    """Whether no person would write ``value`` in a sentence or a program."""
    text = value.decode("ascii", "replace")
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text)) and text[0] not in "/.~$%<-*"


def _is_code(text: bytes, stop: int) -> bool:
    """Whether what ends at ``stop`` is called: ``token = tokenizer.encode(...)``."""
    return text[stop : stop + 1] in {b"(", b"["}


def _is_password(text: bytes, start: int, stop: int) -> bool:
    value = text[start:stop]
    if _is_code(text, stop):
        return False
    return _is_random(value) or (value[:1].isalnum() and len(set(value)) > 3 and not value.replace(b"_", b"").isalpha())


def _is_assigned_token(text: bytes, start: int, stop: int) -> bool:
    """Whether ``token = value`` is worth hiding: the less the name says, the more the value has to look like one."""
    value = text[start:stop]
    name = text[max(0, start - 40) : start].lower().rstrip(b" \t\"':=>\\")
    compound = name.endswith(_COMPOUND_NAMES)
    return not _is_code(text, stop) and _is_random(value) and len(value) >= (8 if compound else 16)


def _is_assigned_key(text: bytes, start: int, stop: int) -> bool:
    name = text[max(0, start - 40) : start].lower().rstrip(b" \t\"':=>\\")
    return name.endswith(_KEY_NAMES) and not _is_code(text, stop) and _is_random(text[start:stop])


def _shape(
    head: str,
    *,
    probes: tuple[str, ...] = (),
    signs: tuple[str, ...] = (),
    least: int = 1,
    inside: str = "",
    outside: str = "",
    unless: str = "",
    tail: str = "",
    exact_case: bool = False,
    accept: Callable[[bytes, int, int], bool] = _always,
) -> Shape:
    body = f"[{re.escape(inside)}]" if inside else f"[^{re.escape(outside)}]"
    return Shape(
        tuple(probe.encode() for probe in probes),
        frozenset(sign.encode() for sign in signs),
        head,
        f"{head}{unless}({body}{{{least},}}){tail}",
        inside.encode(),
        outside.encode(),
        exact_case,
        accept,
    )


def _token(prefix: str, body: str, least: int, accept: Callable[[bytes, int, int], bool] = _always) -> Shape:
    # The regular expression begins with a literal; that a word begins there is asked after.
    return _shape(f"{prefix}(?<![A-Za-z0-9]{prefix})", least=least, inside=body, exact_case=True, accept=accept)


_UPPER = string.ascii_uppercase + string.digits
_ALNUM = string.ascii_letters + string.digits
_NAME = _ALNUM + "_-"
_BLANK = " \t\n\r\f\v"
_PARAMETER = (
    "(?:password|passwd|pwd|token|access_token|refresh_token|id_token|private_token|auth|auth_token|api_?key"
    "|access_key|secret|secret_key|client_secret|sig|signature|x-amz-signature|x-amz-credential"
    "|x-amz-security-token|x-goog-signature|x-goog-credential)="
)
_SCHEME = "(?:bearer|basic|token|negotiate)"
_HEADER_END = rf"[\"']?[ \t]{{0,4}}[:=][ \t]{{0,4}}[\"']?(?:{_SCHEME}[ \t]{{1,4}})?"
_ASSIGN = r"\\?[\"']?[ \t]{0,3}(?:=>|:=|[=:])[ \t]{0,3}\\?[\"']?"
_ASSIGNED = _BLANK + "\"'`,;&<>(){}[]|\\"
_COMPOUND_NAMES = tuple(
    f"{word}{join}{end}".encode()
    for word in ("access", "auth", "api", "bearer", "client", "refresh", "private", "session", "hf", "aws", "shared")
    for join in ("_", "-", "")
    for end in ("token", "secret", "password")
)
_KEY_NAMES = tuple(
    f"{word}{join}key".encode()
    for word in ("api", "secret", "access", "account", "private", "auth", "encryption", "storage", "license", "shared")
    for join in ("_", "-", "")
)
_KEY_HEAD = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = b"-----END "

_PREFIXES: tuple[tuple[str, str, int, Callable[[bytes, int, int], bool]], ...] = (
    ("gh[pousr]_", _ALNUM + "_", 20, _always),
    ("github_pat_", _ALNUM + "_", 20, _always),
    ("glpat-", _NAME, 16, _always),
    ("gl[dr]t-", _NAME, 16, _always),
    ("gl[pc][tb]t-", _NAME, 16, _always),
    ("hf_", _ALNUM, 20, _always),
    ("npm_", _ALNUM, 20, _always),
    ("nvapi-", _NAME, 20, _always),
    ("dckr_pat_", _NAME, 20, _always),
    ("A[KS]IA", _UPPER, 16, _always),
    ("AIza", _NAME, 30, _always),
    ("xox[bpaers]-", _NAME, 15, _always),
    ("xapp-", _NAME, 15, _always),
    ("pypi-AgE", _NAME, 30, _always),
    (r"ya29\.", _NAME + ".", 20, _always),
    ("sk-", _NAME, 20, _has_digit),
    ("eyJ", _NAME + ".=", 20, _is_web_token),
)
_TOKENS = tuple(_token(*row) for row in _PREFIXES)
_SELDOM = 48
_CHOICE = re.compile(r"\[(\w+)\]")


def _literals(head: str) -> list[bytes]:
    """``gl[dr]t-`` as ``gldt-`` and ``glrt-``."""
    parts = _CHOICE.split(head.replace("\\", ""))
    choices = (part if number % 2 else (part,) for number, part in enumerate(parts))
    return ["".join(choice).encode() for choice in itertools.product(*choices)]


def _sign(head: str) -> bytes:
    """The last character in the head of a token that is no letter or digit; empty when there is none."""
    return "".join(re.findall("[-_]", head)[-1:]).encode()


_BY_SIGN = {sign: frozenset(row[0] for row in _PREFIXES if _sign(row[0]) == sign) for sign in (b"_", b"-", b"")}
_ENDS = {
    sign: frozenset(one.rpartition(sign)[0][-2:] for head in heads for one in _literals(head))
    for sign, heads in _BY_SIGN.items()
    if sign
}
_ANY_HEAD = "|".join(row[0] for row in _PREFIXES)
_HEADS = re.compile(_ANY_HEAD.encode()).findall

_SHAPES: tuple[Shape, ...] = (
    _shape("://", probes=("@", "://"), signs=(":",), outside=_BLANK + "/?#\"'<>", tail="@", accept=_is_user_info),
    _shape(f"[?]{_PARAMETER}", probes=("?",), signs=("=",), outside=_BLANK + "&#\"'<>;"),
    _shape(f"&{_PARAMETER}", probes=("&",), signs=("=",), outside=_BLANK + "&#\"'<>;"),
    *(
        _shape(
            name + _HEADER_END,
            probes=probes,
            signs=(":", "="),
            least=4,
            outside=_BLANK + "\"',}",
            unless=rf"(?!{_SCHEME}\b)",
        )
        for name, probes in (
            ("authorization", ("author", "authorization")),
            ("x-api-key", ("key", "x-api-key")),
            ("private-token", ("token", "private-token")),
            ("x-auth-token", ("token", "x-auth-token")),
        )
    ),
    _shape(
        r"bearer[ \t]{1,4}", probes=("bearer",), signs=(" ", "\t"), least=16, inside=_NAME + ".~+/=", accept=_has_digit
    ),
    *(
        _shape(name + _ASSIGN, probes=(probe,), signs=(":", "="), least=least, outside=_ASSIGNED, accept=accept)
        for name, probe, least, accept in (
            ("passw(?:or)?d", "passw", 6, _is_password),
            ("secret", "secret", 8, _is_assigned_token),
            ("token", "token", 8, _is_assigned_token),
            ("key", "key", 8, _is_assigned_key),
        )
    ),
    *(
        _shape(
            f"{option}[ \t]{{1,2}}",
            probes=(probe, option),
            signs=("-",),
            least=8,
            outside=_ASSIGNED,
            accept=_is_password,
        )
        for option, probe in (
            ("--password", "passw"),
            ("--token", "token"),
            ("--secret", "secret"),
            ("--api-key", "key"),
        )
    ),
)


_LOWER = bytes(range(256)).lower()
_NO_HINT = bytes(code for code in range(256) if code not in b"bcdhknprtuwyBCDHKNPRTUWY")
"""A fraction of a text is left without them, and little of that looks like what is left of a probe."""

_Group = tuple[bytes, frozenset[bytes], tuple[tuple[bytes, Shape], ...]]


def _group(shapes: Iterable[Shape]) -> dict[bytes, _Group]:
    found: dict[bytes, _Group] = {}
    for shape in shapes:
        first, also = shape.probes[0], shape.probes[-1]
        hint, signs, known = found.get(first, (first.translate(None, _NO_HINT), frozenset(), ()))
        found[first] = (hint, signs | shape.signs, (*known, (also, shape)))
    return found


_BY_PROBE = _group(_SHAPES)
_SIGNS = frozenset.union(*(shape.signs for shape in _SHAPES))
