"""A requirement file as somebody published it, and what the agent makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment import EnvironmentPlan, EnvironmentRequest, EnvironmentSettings, plan_environment
from clearml_agent_clone.environment.torch_settings import TorchSettings

SHA = "0123456789abcdef0123456789abcdef01234567"


@attrs.frozen
class Case:
    """``text`` as ``requirements.txt`` in a checkout, and the decision about it.

    Args:
        name: after what it is shaped.
        lines: what the engine gets; None for the lines of ``text`` as they are. ``ROOT`` stands for the checkout.
        notes: a part of each note, in order.
        files: others in the checkout.
        kept: the environment is stored.
    """

    name: str
    text: str | bytes
    lines: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    indexes: str = "PyPI"
    engine: str = "uv"
    kept: bool = True
    stages: tuple[tuple[str, ...], ...] = ()
    files: Mapping[str, str] = attrs.Factory(dict)
    environ: Mapping[str, str] = attrs.Factory(dict)


def planned(case: Case, root: Path, settings: EnvironmentSettings, memory: Path) -> EnvironmentPlan:
    """The plan for ``case``, without anything that the machine's own configuration adds.

    Args:
        case: what is planned.
        root: where its checkout is made.
        settings: the agent's.
        memory: what is known of interpreters; one for all cases, so that each is asked once.
    """
    root.mkdir()
    for name, content in {"requirements.txt": case.text, **case.files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    environ = {name: value for name, value in settings.environ.items() if not name.startswith("PIP_")}
    mine = attrs.evolve(
        settings,
        state_dir=memory,
        environ={**environ, "PIP_CONFIG_FILE": "/dev/null", **case.environ},
        torch=TorchSettings(resolve="none"),
    )
    return plan_environment(EnvironmentRequest(repository_root=root, script_dir=root), mine)


def decision(plan: EnvironmentPlan, root: Path) -> dict[str, object]:
    """The parts of ``plan`` that a case has to say something about."""

    def shown(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text.replace(str(root), "ROOT") for text in texts)

    return {
        "lines": shown(plan.lines),
        "constraints": shown(plan.constraints),
        "flags": plan.engine_flags,
        "indexes": plan.indexes.shown.replace(str(root), "ROOT") if plan.lines else "PyPI",
        "engine": plan.engine,
        "kept": plan.mode.value == "stored" and plan.key is not None,
        "stages": tuple(shown(stage.lines) for stage in plan.stages),
        "notes": tuple(note for note in shown(plan.notes) if not note.startswith(("PyTorch", "indexes and"))),
    }


def expected(case: Case) -> dict[str, object]:
    """What ``decision`` returns for ``case``, but for its notes."""
    text = case.text if isinstance(case.text, str) else ""
    plain = tuple(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {
        "lines": plain if case.lines is None else case.lines,
        "constraints": case.constraints,
        "flags": case.flags,
        "indexes": case.indexes,
        "engine": case.engine,
        "kept": case.kept,
        "stages": case.stages,
    }


def check(case: Case, root: Path, settings: EnvironmentSettings, memory: Path) -> str:
    """Assert that ``case`` is decided as it says; returns what the console shows of the plan."""
    plan = planned(case, root, settings, memory)
    made = decision(plan, root)
    notes = made.pop("notes")
    assert made == expected(case)
    assert isinstance(notes, tuple)
    assert len(notes) == len(case.notes), notes
    assert all(part in note for part, note in zip(case.notes, notes, strict=True)), notes
    return "\n".join(plan.describe())
