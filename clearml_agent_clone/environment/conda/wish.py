"""What is asked of conda: channels, packages, and how strictly they are meant. It is part of an environment's key."""

from __future__ import annotations

import json

import attrs

from clearml_agent_clone.environment.conda.specs import Spec, read_wire


@attrs.frozen
class Wish:
    """The content of an environment, as far as conda makes it.

    Args:
        channels: where packages come from, best first; may carry credentials.
        specs: the packages, Python among them.
        rigid: written by hand: what it says is taken or refused, never bent.
        variables: to set for the user's process, from ``environment.yml``.
        pip: what installs the requirement lines afterwards, ``uv`` or ``pip``.
        gpu: what solutions depend on besides; see ``CondaSettings.gpu``.
        archive: an environment packed by conda-pack, in place of everything else.
        digest: of the archive.
    """

    channels: tuple[str, ...] = ()
    specs: tuple[Spec, ...] = ()
    rigid: bool = False
    variables: dict[str, str] = attrs.Factory(dict)
    pip: str = "uv"
    gpu: str = ""
    archive: str = ""
    digest: str = ""

    def to_text(self) -> str:
        """For ``Project.text``."""
        return json.dumps(attrs.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Wish:
        data = json.loads(text)
        return cls(
            **{
                **data,
                "channels": tuple(data["channels"]),
                "specs": tuple(read_wire(spec) for spec in data["specs"]),
            }
        )
