"""The page on containers says what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

from clearml_agent_clone.containers import leave
from clearml_agent_clone.containers.options import Engine, by_long

PAGE = (Path(__file__).parents[3] / "docs/containers.md").read_text()


def row(mark: str) -> list[str]:
    line = next(line for line in PAGE.splitlines() if f"<!-- {mark} -->" in line)
    return re.findall(r"`([a-z0-9-]+)`", line.split("|")[1])


def test_the_page_lists_what_any_task_may_use_and_what_is_the_agents() -> None:
    assert row("free") == sorted(leave._FREE)
    assert row("agents") == sorted(leave._AGENTS)


def test_every_option_of_the_lists_is_one_of_an_engine_and_stands_in_one_list() -> None:
    lists = [set(leave._FREE), set(leave._AGENTS), set(leave._BY_VALUE), set(leave._REASONS)]
    known = {option.name for option in by_long(Engine.PODMAN).values()}
    assert set().union(*lists) <= known
    assert sum(map(len, lists)) == len(set().union(*lists))
    assert all(name in PAGE for name in leave._BY_VALUE)
