"""A container engine whose containers are processes of this machine: all paths are the same inside and outside."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import attrs

from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.util.process import Cancel, Console, Finished, run


@attrs.frozen
class Once:
    """A call of ``run_once``."""

    image: str
    argv: tuple[str, ...]
    mounts: tuple[Mount, ...]
    options: tuple[Option, ...]
    shown: str
    stdin: bytes


@attrs.define
class LocalEngine:
    """``variables`` are the image's; ``programs`` are where bare names lead, ``answer`` may answer in place of them."""

    variables: Mapping[str, str]
    programs: Mapping[str, str] = attrs.Factory(dict)
    answer: Callable[[Sequence[str]], Finished | None] = lambda _: None
    calls: list[Once] = attrs.Factory(list)
    name: str = "docker"

    def run_once(
        self,
        image: str,
        argv: Sequence[str],
        *,
        mounts: Sequence[Mount] = (),
        variables: Mapping[str, str] | None = None,
        options: Sequence[Option] = (),
        labels: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        console: Console | None = None,
        cancel: Cancel | None = None,
        separate_errors: bool = True,
    ) -> Finished:
        """Run it here."""
        words = [image, *argv, *(option.token for option in options), *(mount.option.token for mount in mounts)]
        words += [f"{name}={value}" for table in (variables, labels) for name, value in (table or {}).items()]
        self.calls.append(Once(image, tuple(argv), tuple(mounts), tuple(options), "\n".join(words), stdin))
        if (answer := self.answer(argv)) is not None:
            return answer
        return run(
            [self.programs.get(argv[0], argv[0]), *argv[1:]],
            env={"PATH": os.defpath, **self.variables},
            stdin=stdin,
            timeout=timeout,
            console=console,
            cancel=cancel,
            separate_errors=separate_errors,
        )
