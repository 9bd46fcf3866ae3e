"""The wheels that are put into every environment are those that virtualenv would take."""

from __future__ import annotations

import subprocess
import sys

import pytest
from virtualenv.seed.wheels.embed import get_embed_wheel

from clearml_agent_clone.environment.seeds import carried_wheel


@pytest.mark.parametrize("minor", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("name", ["pip", "setuptools"])
def test_it_is_the_wheel_that_virtualenv_names(name: str, minor: str) -> None:
    wheel = get_embed_wheel(name, minor)
    assert carried_wheel(name, minor) == (wheel.path if wheel else None)


def test_a_package_that_virtualenv_does_not_carry() -> None:
    assert carried_wheel("numpy", "3.11") is None


def test_virtualenv_is_not_imported_for_it() -> None:
    code = (
        "import sys; from clearml_agent_clone.environment.seeds import carried_wheel; "
        "carried_wheel('pip', '3.11'); print('virtualenv' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
