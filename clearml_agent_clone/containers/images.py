"""What may be an image reference, and what a container's name.

Both come from people who may only use a queue and end up on a command line, so they are held to their grammar and not
cleaned of what somebody thought of.
"""

from __future__ import annotations

import re

from clearml_agent_clone.containers.arguments import Source
from clearml_agent_clone.errors import UserError

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_REMOTE = re.compile(r"(?:docker|library|oras|shub)://(?P<rest>[A-Za-z0-9][A-Za-z0-9._/:@-]*)")
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_LONGEST = 255
_TRANSPORTS = frozenset(
    ["containers-storage", "dir", "docker-archive", "docker-daemon", "oci", "oci-archive", "ostree", "sif"]
)
"""Before a colon podman takes these for where an image is read from, some of them folders of the host."""


def check_image(image: str, source: Source) -> str:
    """``image`` when it is a reference such as ``registry:5000/team/name:tag@sha256:…`` or an image id.

    Raises:
        UserError: it is not. Transports of podman that read files of the host (``dir:``, ``oci-archive:``) are none.
    """
    match = _REFERENCE.fullmatch(image)
    if _IMAGE_ID.fullmatch(image):
        return image
    if match and len(match["name"]) <= _LONGEST and not (match["tag"] and match["name"] in _TRANSPORTS):
        return image
    raise _bad(image, source)


def check_remote_image(image: str, source: Source) -> str:
    """``image`` when it is a reference or a URL that apptainer fetches: docker://, library://, oras://, shub://.

    Raises:
        UserError: it is neither.
    """
    match = _REMOTE.fullmatch(image)
    if match and ".." not in match["rest"]:
        return image
    return check_image(image, source)


def is_container_name(name: str) -> bool:
    """Whether an engine takes ``name`` as the name of a container."""
    return len(name) <= _LONGEST and _CONTAINER.fullmatch(name) is not None


def _bad(image: str, source: Source) -> UserError:
    shown = image[:80].encode("unicode_escape").decode()
    hint = "Write name:tag or registry/name:tag, in lower case"
    if not image:
        hint = "Set agent.default_docker.image, or the task's container image"
    elif any(character.isspace() for character in image.strip()):
        hint = "Write the image alone; arguments have a field of their own"
    return UserError(f'container image of {source.value}: "{shown}" is no image name', remedy=hint, code="image-name")
