"""A channel with a Python of its own and a few small packages, made once; conda environments built from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import (
    EnvironmentRequest,
    EnvironmentResult,
    EnvironmentSettings,
    build_environment,
    plan_environment,
)
from clearml_agent_clone.environment.conda.settings import CondaSettings
from clearml_agent_clone.util.process import Cancel
from tests.helpers.conda_channel import PLACEHOLDER, Channel, File
from tests.helpers.consoles import Recorder

Build = Callable[..., EnvironmentResult]

_ACTIVATE = b"""export ACTS=`basename "$CONDA_PREFIX"`
export ACTS_STATED="$STATED"
export PATH="$CONDA_PREFIX/more:$PATH"
export LD_LIBRARY_PATH="$CONDA_PREFIX/lib:${LD_LIBRARY_PATH}"
"""


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    """python; alpha 1.0, 1.0.3 and 2.0; beta (needs alpha 1.0 or 1.0.1); theta; acts (an activation script); a library."""
    made = Channel(tmp_path_factory.mktemp("channel"))
    made.add_python()
    made.add_module("alpha", "1.0", script="alpha-say")
    made.add_module("alpha", "1.0.3", build="h2_0")
    made.add_module("alpha", "2.0")
    made.add_module("beta", "1.0", "alpha <1.0.2")
    made.add_module("theta", "1.0.0", "alpha <1.0.2")
    made.add_module("theta", "1.0.1", "alpha >=2")
    made.add_module("ruamel-small", "0.1")
    acts = {"etc/conda/activate.d/acts.sh": File(_ACTIVATE), "share/where": File(PLACEHOLDER.encode())}
    made.add("acts", "1.0", acts, old_format=True)
    made.add("libsmall", "1.2.0", {"lib/libsmall.txt": File(b"small\n")}, build="h7_3", old_format=True)
    return made


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages are kept unpacked: one folder for all tests, so that each is unpacked once."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture
def conda(settings: EnvironmentSettings, channel: Channel, packages: Path, tmp_path: Path) -> EnvironmentSettings:
    """The settings of a machine without any conda program."""
    environ = {**settings.environ, "PATH": os.defpath, "CONDARC": str(tmp_path / "none")}
    own = CondaSettings(channels=(channel.url,), packages_dir=packages, driver=tmp_path / "no-driver")
    return attrs.evolve(settings, manager="conda", environ=environ, conda=own)


@pytest.fixture
def make(conda: EnvironmentSettings, console: Recorder) -> Iterator[Build]:
    """Plan and build in one call, from parts of ``Requirements``, of the request, and of ``CondaSettings``."""
    results: list[EnvironmentResult] = []
    lists = {field.name for field in attrs.fields(Requirements)}
    own = {field.name for field in attrs.fields(CondaSettings)}

    def call(cancel: Cancel | None = None, settings: EnvironmentSettings = conda, **more: Any) -> EnvironmentResult:
        requirements = Requirements(**{key: value for key, value in more.items() if key in lists})
        changed = attrs.evolve(settings.conda, **{key: value for key, value in more.items() if key in own})
        rest = {key: value for key, value in more.items() if key not in lists | own}
        request = EnvironmentRequest(requirements=requirements, task_id="t1", **rest)
        plan = plan_environment(request, attrs.evolve(settings, conda=changed))
        for line in plan.describe():
            console.say(line)
        results.append(build_environment(plan, console, cancel))
        return results[-1]

    yield call
    for result in results:
        if result.lease is not None:
            result.lease.release()
