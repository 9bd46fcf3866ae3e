"""Two small packages from the index that this machine is configured for."""

from __future__ import annotations

import os
import subprocess

import pytest

from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.errors import UserError

from .conftest import Build

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_packages_from_the_real_index(build: Build, engine: str) -> None:
    try:
        result = build("six == 1.16.0\niniconfig", environ=dict(os.environ), installing=InstallSettings(engine))
    except UserError as error:
        if "cannot be reached" not in error.message:
            raise
        pytest.skip("no package index can be reached")
    assert result.installed[1] == "six==1.16.0"
    assert result.installed[0].startswith("iniconfig==")
    assert result.python is not None
    subprocess.run([result.python, "-c", "import six, iniconfig"], check=True)


def test_a_version_that_the_real_index_does_not_have(build: Build) -> None:
    with pytest.raises(
        UserError, match=r"package six has no version ==99\.0 .*; the newest one there is 1\."
    ) as caught:
        build("six==99.0", environ=dict(os.environ))
    assert caught.value.code == "packages-failed"
