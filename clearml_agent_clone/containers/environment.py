"""The packages of a task that runs in a container: found in the host's store, or built in a container of that image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.containers.engine import ContainerEngine
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.environment.model import EnvironmentRequest
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.util.process import Cancel, Console

if TYPE_CHECKING:
    from clearml_agent_clone.environment.store import Lease


@attrs.frozen
class InsideEnvironment:
    """An environment that is ready for a container.

    Args:
        python: the interpreter to run the task with, as the container sees it; empty when the task needs none.
        bin_dir: its folder of programs, to be put in front of PATH; empty when the task uses the image as it is.
        mounts: what the container has to see of the host for that.
        variables: to add to the environment of the user's process.
        installed: ``name==version`` lines, for the record.
        reused: it was there already.
        lease: keeps the environment from being removed; release it when the container is gone.
        seconds: how long each step took.
        helper_python: a Python (3.6 or later) to run our own helper with; it is there whether or not the task needs
            one. Not the task's: it is the image's where the image has any.
    """

    python: str = ""
    bin_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    variables: Mapping[str, str] = attrs.Factory(dict)
    installed: tuple[str, ...] = ()
    reused: bool = False
    lease: Lease | None = attrs.field(default=None, repr=False, eq=False)
    seconds: Mapping[str, float] = attrs.Factory(dict)
    helper_python: str = ""


def prepare_inside(
    engine: ContainerEngine,
    image_id: str,
    request: EnvironmentRequest,
    settings: EnvironmentSettings,
    console: Console,
    *,
    options: tuple[Option, ...] = (),
    labels: Mapping[str, str] | None = None,
    use_activated_venv: bool = True,
    cancel: Cancel | None = None,
) -> InsideEnvironment:
    """Make the environment of ``request`` ready for containers of an image, or find it ready.

    Args:
        engine: what runs containers here.
        image_id: the id of the image, not its name: what is known about it is remembered by that.
        request: what the task says.
        settings: those of the host; where environments are kept is put in place for containers here.
        console: the task's.
        options: what the task's container gets; of these the building container takes what concerns the network.
        labels: of the containers that are needed on the way.
        use_activated_venv: ``agent.docker_use_activated_venv``.
        cancel: gives up; no container and nothing half-made is left.

    Raises:
        UserError: ``python-missing``, ``packages-failed``, ``not-in-containers`` (poetry, uv projects, conda).
        Cancelled: ``cancel`` was set.
    """
    raise NotImplementedError
