"""The order of requirements: what stands twice, what is added, and what is installed before or after the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from clearml_agent_clone.environment.model import Stage
from clearml_agent_clone.environment.requirements import Requirement, canonical, normal

if TYPE_CHECKING:
    from clearml_agent_clone.config.settings_packages import PackageManagerSettings

# Packages that the SDK and ways of running add to lists which may name them already: the last line counts.
_LAST_COUNTS = frozenset({"clearml", "trains", "nbconvert", "ipython"})
_OLD_TORCH = re.compile(r"(?:0|1\.(?:\d|10))(?:\.|$|\+|[a-z])")
_KEY = "agent.package_manager."


@attrs.frozen
class OrderSettings:
    """Packages that are installed before or after all others, by normal name."""

    priority: frozenset[str] = frozenset()
    priority_optional: frozenset[str] = frozenset({"pygobject"})
    post: frozenset[str] = frozenset({"horovod"})
    post_optional: frozenset[str] = frozenset()

    @classmethod
    def from_manager(cls, manager: PackageManagerSettings) -> OrderSettings:
        """What ``agent.package_manager`` says."""
        return cls(
            _names(manager.priority_packages),
            _names(manager.priority_optional_packages),
            _names(manager.post_packages),
            _names(manager.post_optional_packages),
        )


def unique(requirements: Sequence[Requirement]) -> tuple[list[Requirement], list[str]]:
    """``requirements`` without those that stand there twice, and notes on the ones that were dropped for another."""
    last = {requirement.name: requirement for requirement in requirements if requirement.name in _LAST_COUNTS}
    kept: dict[str, Requirement] = {}
    notes = []
    for requirement in requirements:
        form = canonical(requirement.text)
        winner = last.get(requirement.name, requirement)
        if winner is requirement or canonical(winner.text) == form:
            kept.setdefault(form, requirement)
        else:
            notes.append(f"{requirement.text}: left out, a later line asks for {winner.text}")
    return list(kept.values()), notes


def additions(requirements: Sequence[Requirement], extra: Sequence[str]) -> tuple[list[Requirement], list[str]]:
    """What is installed although nobody listed it, and why.

    Args:
        requirements: those of the task.
        extra: packages that the way of running needs.
    """
    named = {requirement.name for requirement in requirements}
    added = [Requirement(name, normal(name)) for name in extra if normal(name) not in named]
    notes = [f"{requirement.text}: added, the way the task is run needs it" for requirement in added]
    torch = next((line for line in requirements if line.name == "torch" and _OLD_TORCH.match(line.pin)), None)
    if torch is not None and "setuptools" not in named:
        added.append(Requirement("setuptools<59", "setuptools"))
        notes.append(f"setuptools<59: added, the tensorboard part of {torch.text} breaks with later ones")
    return added, notes


def stages(requirements: Sequence[Requirement], order: OrderSettings) -> tuple[Stage, ...]:
    """``requirements`` in the order of their installation; empty when that is in one go.

    Priority packages stay in the main stage too, so that what it installs fits them.
    """
    everywhere = [line.text for line in requirements if line.text.startswith("-c ")]

    def chosen(names: frozenset[str]) -> list[str]:
        return [line.text for line in requirements if line.name in names]

    aside = order.priority_optional | order.post | order.post_optional
    main = [line.text for line in requirements if line.name not in aside]
    first, last = chosen(order.priority - aside), chosen(order.post)
    result = [
        *([Stage((*everywhere, *first), reason=f"First, by {_KEY}priority_packages")] if first else []),
        *_optional(chosen(order.priority_optional - order.post), everywhere, "First", "priority_optional_packages"),
        *([Stage(tuple(main))] if main else []),
        *([Stage((*everywhere, *last), reason=f"Last, by {_KEY}post_packages")] if last else []),
        *_optional(chosen(order.post_optional - order.post), everywhere, "Last", "post_optional_packages"),
    ]
    return tuple(result) if any(stage.reason for stage in result) else ()


def _optional(lines: Sequence[str], everywhere: Sequence[str], when: str, key: str) -> list[Stage]:
    """Each on its own: one that fails must not take the others with it."""
    reason = f"{when} and if possible, by {_KEY}{key}"
    return [Stage((*everywhere, line), optional=True, reason=reason) for line in lines]


def _names(words: Sequence[str]) -> frozenset[str]:
    names = (re.match(r"\s*([\w.-]+)", word) for word in words)
    return frozenset(normal(name[1]) for name in names if name)
