"""How fast the console passes the redactor: 50 secrets in all their spellings, and every token shape."""

from __future__ import annotations

import base64
import json
import random
import string
import time
from collections.abc import Callable

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
    return [_row(name, _long_enough(make(rng)), redactor, rig.options.rounds) for name, make in _TEXTS.items()]


def _row(name: str, text: str, redactor: Redactor, rounds: int) -> Row:
    pieces = [text[at : at + _AT_ONCE] for at in range(0, len(text), _AT_ONCE)]
    size = len(text.encode("utf-8", "surrogatepass")) / 1e6
    usual = name in _USUAL
    return Row(
        f"redaction: {name}",
        "MB/s",
        ours=_speed(size, pieces, redactor.redact, rounds),
        floor=_speed(size, pieces, lambda piece: str(piece.encode("utf-8", "surrogatepass")), 1),
        floor_is="the text once encoded and printed, which is no redaction at all",
        more_is_better=True,
        targets=(Target("over 50", lambda row: row.ours is not None and row.ours.median > 50),) if usual else (),
    )


def _speed(size: float, pieces: list[str], work: Callable[[str], object], rounds: int) -> Samples:
    values = []
    for _ in range(rounds + 1):
        began = time.process_time()
        for piece in pieces:
            work(piece)
        values.append(size / (time.process_time() - began))
    return Samples.of(values[1:])


def _long_enough(lines: list[str]) -> str:
    text = "".join(lines)
    return text * (_SIZE // len(text) + 1)


def _training(rng: random.Random) -> list[str]:
    return [
        f"2024-01-01 12:00:{step % 60:02d},123 INFO train.py:42 step={step} loss={rng.random():.5f} lr=1e-4 "
        f"/data/part-{step * 7}.parquet\n"
        for step in range(5000)
    ]


def _bars(rng: random.Random) -> list[str]:
    return [
        f"\rEpoch {step // 100}: {step % 100:3d}%|{'█' * (step % 100 // 10)}{' ' * (10 - step % 100 // 10)}| "
        f"{step % 100}/100 [00:{step % 60:02d}<00:01, 5.0it/s, loss={rng.random():.3f}]"
        for step in range(5000)
    ]


def _colours(rng: random.Random) -> list[str]:
    return [
        f"\x1b[32m12:00:{step % 60:02d}\x1b[0m | \x1b[1mINFO    \x1b[0m | \x1b[36mtrain\x1b[0m - step {step} "
        f"loss {rng.random():.5f}, {step} tokens in all\n"
        for step in range(5000)
    ]


def _json(rng: random.Random) -> list[str]:
    return [
        json.dumps(
            {"time": "2024-01-01T12:00:00Z", "level": "info", "step": step, "loss": rng.random(), "msg": "a step done"}
        )
        + "\n"
        for step in range(5000)
    ]


def _packages(rng: random.Random) -> list[str]:
    return [
        f"Collecting package-{number}==1.2.{number}\n  Downloading https://files.example.org/packages/"
        f"{rng.getrandbits(240):060x}/package_{number}-1.2.{number}-py3-none-any.whl (1.2 MB)\n"
        for number in range(3000)
    ]


def _base64(rng: random.Random) -> list[str]:
    return [base64.b64encode(rng.randbytes(57)).decode() + "\n" for _ in range(5000)]


def _noise(rng: random.Random) -> list[str]:
    return [rng.randbytes(200_000).decode("utf-8", "surrogateescape")]


_TEXTS: dict[str, Callable[[random.Random], list[str]]] = {
    "training log": _training,
    "progress bars": _bars,
    "colours": _colours,
    "JSON lines": _json,
    "hashes and URLs": _packages,
    "base64": _base64,
    "binary noise": _noise,
    "one letter": lambda _rng: ["a" * 1000],
    "percent escapes": lambda _rng: ["%2F%41" * 200],
}
_USUAL = frozenset({"training log", "progress bars", "colours", "JSON lines"})
