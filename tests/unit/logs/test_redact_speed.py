"""What makes redaction fast must not change what is found."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clearml_agent_clone.logs import Redactor, redact_views, shapes
from clearml_agent_clone.logs.redact_sieve import Sieve
from clearml_agent_clone.logs.redact_views import ANSI, View, decoded, without_colours

ALNUM = string.ascii_letters + string.digits
KINDS = (ALNUM, string.ascii_lowercase, string.digits, "0123456789abcdef", string.ascii_uppercase + "234567", "aeio")
WORDS = ("step=17", "INFO", "loss: 0.25", "\n", "Tokens", "-", "_", "==", "/data/part-01", "AKIA", "\x1b[0m")


def _needles(rng: random.Random, count: int, shortest: int) -> list[str]:
    return ["".join(rng.choices(rng.choice(KINDS), k=rng.randrange(shortest, 60))) for _ in range(count)]


@pytest.mark.parametrize("shortest", [7, 15, 23])
@pytest.mark.parametrize("count", [1, 5, 80])
def test_a_text_with_a_needle_is_never_passed_over(count: int, shortest: int) -> None:
    rng = random.Random(count * 100 + shortest)
    for _ in range(20):
        needles = _needles(rng, count, shortest)
        sieve = Sieve([needle.encode() for needle in needles])
        for needle in needles:
            letters = list(needle)
            for _ in range(3):  # signs strewn in are not looked at
                letters.insert(rng.randrange(len(letters)), rng.choice("-\n/ "))
            before, after = (" ".join(rng.choices(WORDS, k=rng.randrange(9))) for _ in range(2))
            assert sieve.may_hold(f"{before}{''.join(letters)}{after}".encode())


def test_a_usual_text_is_passed_over() -> None:
    rng = random.Random(5)
    sieve = Sieve(["".join(rng.choices(ALNUM, k=rng.randrange(16, 60))).encode() for _ in range(300)])
    assert not sieve.may_hold(" ".join(rng.choices(WORDS, k=20_000)).encode())
    assert not Sieve([]).may_hold(b"anything")


def test_a_secret_of_small_letters_among_others_is_found() -> None:
    secrets = ["correcthorsebatterystaple", "abcdefg1", "GGS9F4M6XB2DXJ5AFT9F"]
    for secret in secrets:
        assert Redactor(secrets).redact(f"the value {secret} is said {'and more ' * 999}") == (
            f"the value **** is said {'and more ' * 999}"
        )


PIECES = st.sampled_from(
    ["\x1b[0m", "\x1b[32m", "\x1b[K", "\x1b", "\x1b[", "\x1b[3", "1m", "m", "abc", "\x1f", "\x1b]0;a", "\x07", "\x1b(B"]
)


@given(st.lists(PIECES))
@example(["\x1b", "\x1b[0m", "[31m"])
@example(["\x1b[3", "\x1b[0m", "1m"])
def test_colours_are_taken_out_as_one_by_one(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    view = without_colours(data)
    assert view.data == ANSI.sub(b"", data)
    for at, code in enumerate(view.data):
        assert data[view.origin(at, at + 1)[0]] == code


def test_many_kinds_of_colours_are_taken_out_too() -> None:
    data = b"".join(b"\x1b[38;5;%dmword " % number for number in range(200))
    assert without_colours(data).data == b"word " * 200


@given(st.lists(st.sampled_from(["%41", "%", "%2", "%2f", "%2F", "%zz", "41", "some text", "%25"])))
def test_percent_signs_are_decoded_as_one_by_one(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    views = decoded(View(data))
    expected = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), data)
    assert (views[0].data if views else data) == expected


@pytest.mark.parametrize("row", shapes._PREFIXES, ids=lambda row: row[0])
def test_every_kind_of_token_is_found_among_few_signs_and_many(row: tuple[str, str, int, object]) -> None:
    for head in shapes._literals(row[0]):
        token = head.decode() + "A1b2C3d4E5f6G7h8J9k0L1m2N3p4Q5r6S7t8.x"
        if row[1] == string.ascii_uppercase + string.digits:
            token = head.decode() + "ABCD1234EFGH5678"
        for rest in ("\nwords and words" * 200, "\nwith_signs-and_more-of.them" * 200):
            assert token not in Redactor().redact(f"it is {token} here{rest}")
            assert token not in Redactor().redact(f"{rest} {token}")
            assert token not in Redactor().redact(token)


@pytest.mark.parametrize(
    "line",
    ["PASSWORD: hunter2hunter2", "API_KEY='hunter2hunter2'", "BEARER\thunter2hunter2hunter2", "--Token hunter2hunter2"],
)
def test_words_are_found_in_capital_letters(line: str) -> None:
    assert "hunter2" not in Redactor().redact(f"words\n{line}\n")


def test_nothing_stays_in_the_place_of_a_colour() -> None:
    data = b"\x1b[0ma" * 50 + redact_views._HOLE
    assert without_colours(data).data == b"a" * 50 + redact_views._HOLE
