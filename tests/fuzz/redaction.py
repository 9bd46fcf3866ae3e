"""Try to get a secret past the redactor: ``python -m tests.fuzz.redaction --cases 1000000 --seed 1``.

Each case makes up secrets, spells them in some way, wraps, colours and cuts what comes out, and sends it through a
stream of the redactor, with pauses and with secrets that become known late. Then it undoes every spelling it knows on
all that was shown and looks for the secrets. The checks share no code with the redactor.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import html
import json
import random
import re
import shlex
import string
import sys
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus, unquote

import attrs

from clearml_agent_clone.logs import Redactor

_ALPHABETS = (
    string.ascii_letters + string.digits,
    string.ascii_letters + string.digits + "+/",
    string.ascii_letters + string.digits + "-_",
    string.ascii_letters + string.digits + string.punctuation,
    string.hexdigits[:16],
    string.ascii_lowercase + string.digits + " .-",
    string.ascii_letters + string.digits + "äöüßéñ€",
)
_WORDS = (
    "epoch",
    "loss=0.25",
    "step",
    "INFO",
    "100%|####|",
    "/data/part-01",
    "val:",
    "[",
    "]",
    "=",
    "\n",
    "\n",
    " ",
    "token",
)
_COLOURS = ("\x1b[31m", "\x1b[0m", "\x1b[1;32m", "\x1b[38;5;196m", "\x1b[K")
_CASES_EACH = 10
_LEAST_SHOWN = 6
"""So many letters and digits of a secret in a row are a leak."""


@attrs.frozen
class Case:
    """Secrets, the text that holds them, and how it is written: pieces, some of which are followed by a pause."""

    secrets: tuple[str, ...]
    how: str
    pieces: tuple[tuple[str, bool], ...]
    late: bool


def _percent_some(text: str, rng: random.Random) -> str:
    out = []
    for code in text.encode():
        character = chr(code)
        if code > 126 or character in " %&?#+" or rng.random() < 0.4:
            out.append(f"%{code:02x}" if rng.random() < 0.5 else f"%{code:02X}")
        else:
            out.append(character)
    return "".join(out)


def _escape_some(text: str, rng: random.Random) -> str:
    kinds: tuple[Callable[[str], str], ...] = (
        lambda character: f"\\u{ord(character):04x}",
        lambda character: f"\\x{ord(character):02x}" if ord(character) < 128 else f"\\u{ord(character):04X}",
        lambda character: f"&#{ord(character)};",
        lambda character: f"&#x{ord(character):x};",
    )
    kind = rng.choice(kinds)
    return "".join(kind(character) if character in "\\&" or rng.random() < 0.3 else character for character in text)


def _inside_base64(text: str, rng: random.Random) -> str:
    before = bytes(rng.randrange(256) for _ in range(rng.randrange(4)))
    after = bytes(rng.randrange(256) for _ in range(rng.randrange(4)))
    raw = before + text.encode() + after
    return (base64.b64encode if rng.random() < 0.5 else base64.urlsafe_b64encode)(raw).decode()


SPELLINGS: dict[str, Callable[[str, random.Random], str]] = {
    "plain": lambda text, _rng: text,
    "url": lambda text, _rng: quote(text, safe=""),
    "url-lower": lambda text, _rng: re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(text, safe="")),
    "form": lambda text, _rng: quote_plus(text),
    "url-twice": lambda text, _rng: quote(quote(text, safe=""), safe=""),
    "url-some": _percent_some,
    "json": lambda text, _rng: json.dumps(text),
    "json-slash": lambda text, _rng: json.dumps(text).replace("/", "\\/"),
    "json-twice": lambda text, _rng: json.dumps(json.dumps({"a": text})),
    "escape-some": _escape_some,
    "repr": lambda text, _rng: repr(text),
    "shell": lambda text, _rng: shlex.quote(text),
    "html": lambda text, _rng: html.escape(text),
    "hex": lambda text, rng: text.encode().hex() if rng.random() < 0.5 else text.encode().hex().upper(),
    "base64": lambda text, _rng: base64.b64encode(text.encode()).decode(),
    "base64-inside": _inside_base64,
    "utf-16": lambda text, _rng: "".join(f"{character}\0" for character in text),
}


def _wrapped(text: str, rng: random.Random) -> str:
    width = rng.choice((3, 7, 20, 64, 76))
    end = rng.choice(("\n", "\r\n", "\n    "))
    return end.join(text[at : at + width] for at in range(0, len(text), width))


def _coloured(text: str, rng: random.Random) -> str:
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(1, 4)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return "".join(piece + rng.choice(_COLOURS) for piece in pieces)


def make_secrets(rng: random.Random) -> tuple[str, ...]:
    """What is to be kept secret in some cases."""
    return tuple(dict.fromkeys(_secret(rng) for _ in range(rng.choice((1, 2, 4, 8)))))


def make(rng: random.Random, secrets: tuple[str, ...]) -> Case:
    """A case."""
    parts = [_noise(rng)]
    names = []
    for secret in rng.choices(secrets, k=rng.choice((1, 1, 2))):
        name = rng.choice(tuple(SPELLINGS))
        spelled = SPELLINGS[name](secret, rng)
        after = rng.random()
        # A backslash or an entity that is itself torn by a colour is no spelling any more.
        if name in ("plain", "hex", "base64", "base64-inside") and after < 0.5:
            spelled = _wrapped(spelled, rng) if after < 0.25 else _coloured(spelled, rng)
            name += "+wrapped" if after < 0.25 else "+coloured"
        # Nobody can tell what "%" in front of "41x%2F" was meant to be. Long secrets are found all the same.
        if name.endswith("-some") or (len(_letters(secret)) < 14 and re.search(r"[%\\&]", spelled)):
            parts[-1] = parts[-1].rstrip("%\\")
        names.append(name)
        parts += [spelled, _noise(rng)]
    text = "".join(parts)
    return Case(secrets, " ".join(names), tuple(_cut(text, rng)), rng.random() < 0.02)


def _secret(rng: random.Random) -> str:
    alphabet = rng.choice(_ALPHABETS)
    while True:
        secret = "".join(rng.choices(alphabet, k=rng.choice((8, 10, 12, 16, 20, 32, 40, 64, 200)))).strip()
        letters = _letters(secret)
        if len(letters) >= 8 and len(set(letters)) > 4 and not letters.isdigit():
            return secret


def _noise(rng: random.Random) -> str:
    text = " ".join(rng.choices(_WORDS, k=rng.randrange(6)))
    return text + rng.choice(("", " ", "=", '"', "'", "/", "\n", "%", "\\", ":"))


def _cut(text: str, rng: random.Random) -> Iterator[tuple[str, bool]]:
    if rng.random() < 0.02:
        size = rng.choice((1, 2, 3))
        cuts = list(range(size, len(text), size))
    else:
        cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(5)))
    pauses = rng.random() < 0.5
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        yield text[begin:end], pauses and rng.random() < 0.3


def shown(case: Case, redactor: Redactor) -> str:
    """All that ``redactor``, which knows the secrets of ``case``, lets pass."""
    out = []
    if case.late:
        redactor = Redactor()
        stream = redactor.stream()
        out.append(stream.feed("starting\n"))
        redactor.add(case.secrets)
    else:
        stream = redactor.stream()
    for piece, pause in case.pieces:
        out.append(stream.feed(piece))
        if pause:
            out.append(stream.idle())
    return "".join(out) + stream.flush()


def leaks(case: Case, text: str) -> list[str]:
    """What of the secrets can be read in ``text``, in whatever spelling."""
    found = []
    readings = set(_readings(text))
    for secret in case.secrets:
        letters = _letters(secret)
        # A quarter of it is enough for a guess; a few letters may be ordinary text.
        size = max(_LEAST_SHOWN, min(12, len(letters) // 2))
        pieces = {letters[at : at + size] for at in range(len(letters) - size + 1)}
        for reading in readings:
            for piece in pieces:
                if piece in reading:
                    found.append(f"{piece!r} of {secret!r} in {reading!r}")
                    break
    return found


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isascii() and character.isalnum())


def _readings(text: str) -> Iterator[str]:
    """The letters and digits of ``text`` under every decoding."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    for reading in (text, plain):
        yield _letters(reading)
        for decoded in (unquote(reading), unquote(unquote(reading)), html.unescape(reading), _unescaped(reading)):
            if decoded != reading:
                yield _letters(decoded)
    joined = re.sub(r"\s", "", plain)
    for run in re.findall(r"[0-9A-Fa-f]{12,}", joined):
        for begin in (0, 1):
            digits = run[begin : begin + (len(run) - begin) // 2 * 2]
            yield _letters(binascii.unhexlify(digits).decode(errors="replace"))
    for run in re.findall(r"[A-Za-z0-9+/_-]{10,}", joined):
        standard = run.replace("-", "+").replace("_", "/")
        for begin in range(4):
            piece = standard[begin:]
            piece = piece[: len(piece) // 4 * 4]
            yield _letters(base64.b64decode(piece).decode(errors="replace"))


def _unescaped(text: str) -> str:
    return re.sub(r"\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))", lambda match: chr(int(match[1] or match[2], 16)), text)


def run(cases: int, seed: int, *, report: Callable[[str], None] = print) -> int:
    """Try ``cases`` cases; returns how many leaked."""
    failures = 0
    began = time.monotonic()
    secrets: tuple[str, ...] = ()
    redactor = Redactor()
    for number in range(cases):
        if number % _CASES_EACH == 0:
            secrets = make_secrets(random.Random(f"{seed}/secrets/{number}"))
            redactor = Redactor(secrets)
        case = make(random.Random(f"{seed}/{number}"), secrets)
        text = shown(case, redactor)
        found = leaks(case, text)
        if found:
            failures += 1
            if failures <= 10:
                report(f"case {number} ({case.how}): {found[0]}\n  written: {case.pieces!r}\n  shown: {text!r}")
        if (number + 1) % 50_000 == 0:
            report(f"{number + 1} cases, {failures} leaks, {time.monotonic() - began:.0f} s")
    report(f"seed {seed}: {cases} cases, {failures} leaks, {time.monotonic() - began:.0f} s")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.redaction", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    return 1 if run(arguments.cases, arguments.seed, report=lambda line: print(line, flush=True)) else 0


if __name__ == "__main__":
    sys.exit(main())
