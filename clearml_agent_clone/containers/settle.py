"""From what was chosen to the options that count: the one place where the order of the steps stands.

Placeholders are filled, words are read, options are judged, ports are replaced. After that nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.containers.arguments import Option, Source, unglue
from clearml_agent_clone.containers.choice import Choice
from clearml_agent_clone.containers.policy import Policy, agree, given_away
from clearml_agent_clone.containers.ports import FreePorts, Published, publish
from clearml_agent_clone.containers.task_mounts import Resolve
from clearml_agent_clone.containers.template import Resolver, fill, fill_text


@attrs.frozen
class Surroundings:
    """What the decision depends on outside of the configuration.

    Args:
        task_values: what placeholders of a task stand for; it must hold no secret of the agent.
        owner_values: the same for what the machine's owner wrote.
        free: knows the ports of this machine.
        resolve: finds what is behind links of this machine.
        environ: the agent's variables.
    """

    task_values: Resolver
    owner_values: Resolver
    free: FreePorts
    resolve: Resolve
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def values_for(self, source: Source) -> Resolver:
        """The values that ``source`` may see."""
        return self.owner_values if source.is_admin else self.task_values

    def fill_image(self, image: str, source: Source) -> str:
        """For ``choice.choose``."""
        return fill_text(image, self.values_for(source), f"container image of {source.value}")


@attrs.frozen
class Settled:
    """The options that count, what is published (``HOST:CONTAINER``), and lines for the console."""

    options: tuple[Option, ...]
    published: Published
    remarks: tuple[str, ...] = ()


def settle(choice: Choice, docker: DockerSettings, policy: Policy, around: Surroundings) -> Settled:
    """Everything between choice and command line.

    Raises:
        UserError: a placeholder has no value, an argument cannot be read or needs leave, or no port is free.
    """
    source = choice.arguments_from
    asked = unglue(choice.arguments, source) if source.is_admin else choice.arguments
    words = fill(asked, around.values_for(source), f"container arguments of {source.value}")
    extra = fill(
        unglue(docker.extra_arguments, Source.EXTRA),
        around.values_for(Source.EXTRA),
        f"container arguments of {Source.EXTRA.value}",
    )
    agreed = agree(
        words,
        source,
        extra,
        policy,
        given=given_away(docker, policy.engine),
        environ=around.environ,
        resolve=around.resolve,
    )
    published = publish(agreed.options, around.free, docker.allowed_port_range)
    return Settled(published.options, published, (*agreed.remarks, *published.remarks))
