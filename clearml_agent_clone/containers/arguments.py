"""Reads arguments of ``docker run`` the way the engine's own command line does.

A list of words is not looked at with patterns, because what a word means depends on the word before it. After this
module there are options with one canonical name each, and nothing that could be taken for the image or the command.
"""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Iterable, Sequence

import attrs

from clearml_agent_clone.containers.options import Arity, Engine, Known, by_long, by_short
from clearml_agent_clone.errors import UserError

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_GLUED = re.compile(r"--?[A-Za-z][A-Za-z0-9-]* ")
_LONG = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


class Source(enum.Enum):
    """Who asked for something; the value is how the console names it."""

    TASK = "the task"
    RULE = "agent.default_docker.match_rules"
    DEFAULT = "agent.default_docker"
    COMMAND_LINE = "the command line"
    EXTRA = "agent.extra_docker_arguments"
    AGENT = "the agent"

    @property
    def is_admin(self) -> bool:
        """Whether it was set up on this machine; a task can be written by anybody who may use the queue."""
        return self is not Source.TASK


@attrs.frozen
class Option:
    """One option.

    Args:
        name: the canonical long name without dashes.
        value: None for a switch that stands alone.
        source: who asked for it.
        written: the switch as it was written (``-v``, ``--net``), for patterns and messages.
        known: whether the engine is known to have it; what an unknown one means, and whether it takes a value, is not.
    """

    name: str
    value: str | None = attrs.field(default=None, repr=False)
    source: Source = Source.AGENT
    written: str = attrs.field(default="", eq=False)
    known: bool = True

    @property
    def token(self) -> str:
        """One word for the command line: a value is always joined on, so that nothing can come between."""
        if not self.known:
            return self.written if self.value is None else f"{self.written}={self.value}"
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"

    @property
    def text(self) -> str:
        """The value, or nothing."""
        return self.value or ""

    @property
    def is_off(self) -> bool:
        """Whether it is a switch that is turned off: ``--privileged=false``."""
        return self.known and self.value in _FALSE and by_long(Engine.PODMAN)[self.name].arity is Arity.SWITCH


def split_arguments(text: str, source: Source = Source.TASK) -> tuple[str, ...]:
    """``text`` in words, as a shell would split it and without expanding anything.

    Raises:
        UserError: a quotation mark is not closed.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(
            f"the container arguments of {source.value} cannot be split into words: {str(error).lower()}",
            remedy="Close every quotation mark",
            code="container-argument",
        ) from None


def unglue(items: Iterable[str], source: Source) -> tuple[str, ...]:
    """A configured list in words. An item that holds several (``["-v /a:/b"]``, or one text in place of a list) is
    taken apart where that gives options, so that a value with blanks stays as it is.
    """
    found: list[str] = []
    for item in items:
        found += _taken_apart(item, source) if item.startswith("-") and " " in item else [item]
    return tuple(found)


def _taken_apart(item: str, source: Source) -> list[str]:
    try:
        words = split_arguments(item, source)
        parse_arguments(words, source, engine=Engine.PODMAN)
    except UserError:
        head, _, rest = item.partition(" ")
        return [head, rest.strip()] if _GLUED.match(item) else [item]
    return list(words)


def parse_arguments(
    words: Sequence[str], source: Source, *, engine: Engine = Engine.DOCKER, strangers: bool = False
) -> tuple[Option, ...]:
    """The options in ``words``, in their order.

    Args:
        words: what would follow ``docker run`` and precede the image.
        source: who wrote them.
        engine: whose options are known.
        strangers: let switches pass that are in no table, where they cannot take the place of anything else.

    Raises:
        UserError: a word is neither an option nor the value of one, an option is unknown or lacks its value.
    """
    reader = _Reader(list(words), source, engine, strangers)
    return tuple(reader.read())


@attrs.define
class _Reader:
    rest: list[str]
    source: Source
    engine: Engine
    strangers: bool
    found: list[Option] = attrs.Factory(list)

    def read(self) -> list[Option]:
        while self.rest:
            word = self.rest.pop(0)
            if "\0" in word:
                self.refuse(word.replace("\0", "\\0"), "holds a NUL byte")
            if word == "--" or not word.startswith("-") or word == "-":
                self.positional(word)
            elif word.startswith("--"):
                self.long(word)
            else:
                self.cluster(word)
        return self.found

    def positional(self, word: str) -> None:
        self.refuse(
            word,
            "is no option and would be taken for the image or its command",
            "Give the image in the container's image field, and join a value to its option (--name=value)",
        )

    def long(self, word: str) -> None:
        head, equals, value = word[2:].partition("=")
        known = by_long(self.engine).get(head)
        if not _LONG.fullmatch(head):
            self.refuse(word, "is not written as an option is")
        elif known is None:
            self.stranger(word, f"--{head}", value if equals else None)
        elif known.arity is Arity.SWITCH:
            self.switch(known, f"--{head}", value if equals else None)
        else:
            self.keep(known, f"--{head}", value if equals else self.following(f"--{head}"))

    def cluster(self, word: str) -> None:
        """``-it``, ``-eNAME=value``, ``-e=NAME=value``, ``-i=false``."""
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            known = by_short(self.engine).get(letter)
            if known is None:
                if letters or len(word) > 2:
                    self.refuse(word, f"holds the unknown switch -{letter}", "Write long names, one word each")
                self.stranger(word, word, None)
            elif known.arity is Arity.SWITCH:
                value = letters[1:] if letters.startswith("=") else None
                self.switch(known, f"-{letter}", value)
                letters = "" if value is not None else letters
            else:
                value = letters.removeprefix("=") if letters else self.following(f"-{letter}")
                self.keep(known, f"-{letter}", value)
                return

    def following(self, written: str) -> str:
        """The next word, whatever it looks like: the engine takes it for the value, so must we."""
        if not self.rest:
            self.refuse(written, "lacks its value")
        return self.rest.pop(0)

    def switch(self, known: Known, written: str, value: str | None) -> None:
        if value is not None and value not in _TRUE | _FALSE:
            self.refuse(f"{written}={value}", "is a switch and takes true or false")
        self.keep(known, written, None if value in _TRUE else value)

    def keep(self, known: Known, written: str, value: str | None) -> None:
        if value is not None and ("\0" in value or ("\n" in value and known.name not in ("env", "label"))):
            self.refuse(written, "has a line break or a NUL byte in its value")
        self.found.append(Option(known.name, value, self.source, written))

    def stranger(self, word: str, written: str, value: str | None) -> None:
        if not self.strangers:
            self.refuse(word.partition("=")[0], f"is no option of {self.engine.value} run")
        if value is None and self.rest and not self.rest[0].startswith("-"):
            self.refuse(written, "is unknown, and so is whether the word after it is its value", "Join them with =")
        self.found.append(Option(written.lstrip("-"), value, self.source, written, known=False))

    def refuse(self, word: str, reason: str, remedy: str = "") -> None:
        raise UserError(
            f'container arguments of {self.source.value}: "{_short(word)}" {reason}',
            remedy=remedy or "Correct or remove it",
            code="container-argument",
        )


def printable(text: str) -> str:
    """``text`` for a message: on one line, and nothing in it that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _short(word: str) -> str:
    """``word`` for a message: not long, and no value that could be a secret."""
    head, equals, _ = word.partition("=")
    return printable(f"{head[:80]}=…" if equals else head[:80])
