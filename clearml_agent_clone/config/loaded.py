"""What ``load_settings`` returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.config.parsed import Stamp
from clearml_agent_clone.config.problems import Problem
from clearml_agent_clone.config.sections import EnvironmentSection, FilesSection
from clearml_agent_clone.config.settings import Settings
from clearml_agent_clone.config.trees import DEFAULT, Layer, Origin, Tree, find, leaves

_MISSING = object()


class Origins(Mapping[str, Origin]):
    """Dotted key to where its value came from. A key that nobody set has the origin ``default``.

    Looked up when asked for: most commands never ask.
    """

    def __init__(self, layers: Iterable[Layer], fixed: Mapping[str, Origin] | None = None) -> None:
        self._layers = tuple(layers)
        self._fixed = dict(fixed or {})

    def __getitem__(self, path: str) -> Origin:
        if path in self._fixed:
            return self._fixed[path]
        for layer in reversed(self._layers):
            if find(layer.tree, path, _MISSING) is not _MISSING:
                return layer.origin(path)
        return DEFAULT

    def __iter__(self) -> Iterator[str]:
        seen = dict.fromkeys(self._fixed)
        for layer in self._layers:
            seen.update(dict.fromkeys(path for path, _ in leaves(layer.tree)))
        return iter(seen)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@attrs.frozen
class Inputs:
    """What a configuration was loaded from, so that it can be loaded again."""

    config_file: Path | None = None
    environ: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    command_line: Mapping[str, object] = attrs.Factory(dict)
    apart: bool = False


@attrs.frozen(eq=False)
class Loaded:
    """A configuration and all that is known about it.

    Args:
        settings: the typed values.
        tree: nested plain dict for the SDK's own configuration file: ``sdk`` as the user wrote it, ``api`` complete,
            ``agent`` with its defaults but without secrets that the SDK has no use for.
        values: nested plain dict of all that was set, secrets included; for printing, never for a file.
        origins: dotted key to where its value came from.
        problems: unknown keys, wrong types, missing files.
        secrets: values that must never be shown.
        environment: the ``environment`` section.
        files: the ``files`` section.
    """

    settings: Settings
    tree: Tree = attrs.field(repr=False)
    values: Tree = attrs.field(repr=False)
    origins: Mapping[str, Origin] = attrs.field(repr=False)
    problems: tuple[Problem, ...] = ()
    secrets: frozenset[str] = attrs.field(default=frozenset(), repr=False)
    environment: EnvironmentSection = attrs.Factory(EnvironmentSection)
    files: FilesSection = attrs.Factory(FilesSection)
    inputs: Inputs = attrs.Factory(Inputs)
    stamps: Mapping[Path, Stamp | None] = attrs.field(factory=dict, repr=False)
