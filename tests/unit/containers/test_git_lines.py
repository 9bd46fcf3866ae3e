"""Packages from git, fetched on the host for a container."""

from __future__ import annotations

import pytest

from clearml_agent_clone.containers.git_lines import GitLine


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("alpha @ git+https://h/o/a.git@main", ("alpha", "https://h/o/a.git", "main", "", "")),
        ("alpha[x, y] @ git+ssh://git@h/o/a", ("alpha[x, y]", "ssh://git@h/o/a", "", "", "")),
        ("git+https://t@h/o/a@v1#egg=alpha&subdirectory=lib/", ("alpha", "https://t@h/o/a", "v1", "lib", "")),
        ("-e git+https://h/a#egg=alpha", ("alpha", "https://h/a", "", "", "")),
        ("git+https://h/a", ("", "https://h/a", "", "", "")),
        (
            "alpha @ git+file:///srv/a@0123456 ; python_version > '3'",
            ("alpha", "file:///srv/a", "0123456", "", "; python_version > '3'"),
        ),
        ("alpha==1.0", None),
        ("alpha @ https://h/a.whl", None),
        ("alpha @ hg+https://h/a", None),
    ],
)
def test_lines(line: str, found: tuple[str, ...] | None) -> None:
    git = GitLine.parse(line)
    assert (git and (git.name, git.url, git.revision, git.folder, git.marker)) == found
