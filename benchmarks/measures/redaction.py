"""How fast the console passes the redactor: 50 secrets in all their spellings, and every token shape."""

from __future__ import annotations

import base64
import random
import string
import time
from collections.abc import Callable

import attrs

from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples, Target
from clearml_agent_clone.logs import Redactor

_SIZE = 2_000_000
_AT_ONCE = 256 * 1024
_SECRETS = 50


def redaction(rig: Rig) -> list[Row]:
    rng = random.Random(1)
    signs = string.ascii_letters + string.digits + "/+"
    redactor = Redactor("".join(rng.choices(signs, k=rng.randint(16, 48))) for _ in range(_SECRETS))
    return [_row(kind, _long_enough(kind, rng), redactor, rig.options.rounds) for kind in _TEXTS]


def _row(kind: _Text, text: str, redactor: Redactor, rounds: int) -> Row:
    pieces = [text[at : at + _AT_ONCE] for at in range(0, len(text), _AT_ONCE)]
    size = len(text.encode("utf-8", "surrogatepass")) / 1e6
    return Row(
        f"redaction: {kind.name}",
        "MB/s",
        ours=_speed(size, pieces, redactor.redact, rounds),
        floor=_speed(size, pieces, lambda piece: str(piece.encode("utf-8", "surrogatepass")), 1),
        floor_is="the text once encoded and printed, which is no redaction at all",
        more_is_better=True,
        targets=(Target("over 50", lambda row: row.ours is not None and row.ours.median > 50),) if kind.usual else (),
    )


def _speed(size: float, pieces: list[str], work: Callable[[str], object], rounds: int) -> Samples:
    values = []
    for _ in range(rounds + 1):
        began = time.process_time()
        for piece in pieces:
            work(piece)
        values.append(size / (time.process_time() - began))
    return Samples.of(values[1:])


def _long_enough(kind: _Text, rng: random.Random) -> str:
    text = "".join(kind.line(number, rng) for number in range(kind.lines))
    return text * (_SIZE // len(text) + 1)


@attrs.frozen
class _Text:
    """One kind of console text: what its lines are made of, and whether most consoles are like that.

    ``line`` is given the number of the line and a source of chance.
    """

    name: str
    line: Callable[[int, random.Random], str]
    usual: bool = False
    lines: int = 5000


_TEXTS = (
    _Text(
        "training log",
        lambda step, rng: (
            f"2024-01-01 12:00:{step % 60:02d},123 INFO train.py:42 step={step} loss={rng.random():.5f} lr=1e-4 "
            f"/data/part-{step * 7}.parquet\n"
        ),
        usual=True,
    ),
    _Text(
        "progress bars",
        lambda step, rng: (
            f"\rEpoch {step // 100}: {step % 100:3d}%|{'█' * (step % 100 // 10)}{' ' * (10 - step % 100 // 10)}| "
            f"{step % 100}/100 [00:{step % 60:02d}<00:01, 5.0it/s, loss={rng.random():.3f}]"
        ),
        usual=True,
    ),
    _Text(
        "colours",
        lambda step, rng: (
            f"\x1b[32m12:00:{step % 60:02d}\x1b[0m | \x1b[1mINFO    \x1b[0m | \x1b[36mtrain\x1b[0m - step {step} "
            f"loss {rng.random():.5f}, {step} tokens in all\n"
        ),
        usual=True,
    ),
    _Text(
        "JSON lines",
        lambda step, rng: (
            f'{{"time": "2024-01-01T12:00:00Z", "level": "info", "step": {step}, "loss": {rng.random()}, '
            f'"msg": "a step done"}}\n'
        ),
        usual=True,
    ),
    _Text(
        "hashes and URLs",
        lambda number, rng: (
            f"Collecting package-{number}==1.2.{number}\n  Downloading https://files.example.org/packages/"
            f"{rng.getrandbits(240):060x}/package_{number}-1.2.{number}-py3-none-any.whl (1.2 MB)\n"
        ),
    ),
    _Text("base64", lambda _, rng: base64.b64encode(rng.randbytes(57)).decode() + "\n"),
    _Text("binary noise", lambda _, rng: rng.randbytes(200_000).decode("utf-8", "surrogateescape"), lines=1),
    _Text("one letter", lambda *_: "a" * 1000, lines=1),
    _Text("percent escapes", lambda *_: "%2F%41" * 200, lines=1),
)
