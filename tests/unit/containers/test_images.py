"""Image references and names of containers."""

from __future__ import annotations

import pytest

from clearml_agent_clone.containers.arguments import Source
from clearml_agent_clone.containers.images import check_image, check_remote_image, is_container_name
from clearml_agent_clone.errors import UserError

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    "image",
    [
        "ubuntu", "python:3.11", "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu20.04", "localhost:5000/a", "a/b/c/d:tag",
        "Registry.Example.com/team/x_y__z-w.v:1", "[::1]:5000/a", f"ubuntu@{DIGEST}", f"ubuntu:20.04@{DIGEST}", DIGEST,
        "0a" * 32, "gcr.io/p/i:V1.2_3-x",
    ],
)  # fmt: skip
def test_is_an_image(image: str) -> None:
    assert check_image(image, Source.TASK) == image
    assert check_remote_image(image, Source.TASK) == image


HOSTILE = [
    "", " ", "-it", "--privileged", "-v=/:/x", "ubuntu --privileged", "ubuntu\t-v", "ubuntu\n", "ubuntu;id", "$(id)",
    "`id`", "${HOME}", "ubuntu|sh", "ubuntu&", "../etc", "/etc/passwd", "./x", "a/../b", "a//b", "a/", "/a", "UPPER",
    "a:b:c", "a@sha256:zz", "a@sha256:00", "dir:/etc", "oci-archive:/x.tar", "docker-archive:/x", "docker://ubuntu",
    "containers-storage:x", "dir:etc", "oci:x", "file:///x", "http://x/y", "a b", "a'b", 'a"b', "a\\b", "a\0b", "a:-tag", "a:.tag",
    "a:" + "t" * 129, "a" * 256, "ü", "a%2fb", "a=b", "a,b", "*", "a..b", "a.", "-", "--",
]  # fmt: skip


@pytest.mark.parametrize("image", HOSTILE)
def test_is_none(image: str) -> None:
    with pytest.raises(UserError) as caught:
        check_image(image, Source.TASK)
    assert caught.value.code == "image-name"
    assert "\n" not in str(caught.value)
    assert "\0" not in str(caught.value)


def test_apptainer_fetches_by_url_and_reads_no_file() -> None:
    for image in ("docker://ubuntu:22.04", "library://a/b:1", "oras://r.io/x", "shub://a/b"):
        assert check_remote_image(image, Source.TASK) == image
    for image in (
        "docker://../x",
        "docker:///etc",
        "file:///x.sif",
        "/x.sif",
        "docker://-x",
        "docker://a b",
        "x.sif;id",
    ):
        with pytest.raises(UserError):
            check_remote_image(image, Source.TASK)


def test_names_of_containers() -> None:
    assert all(map(is_container_name, ("ab", "clearml-id-1_2.3", "0a")))
    for name in ("", "a", "-a", ".a", "a b", "a/b", "$(id)", "a\n", "a;b", "é1", "a" * 256):
        assert not is_container_name(name), name
