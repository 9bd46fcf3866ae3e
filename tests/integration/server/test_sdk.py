"""The real SDK manages tasks on this server as on its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "scripts" / "manage.py"


@pytest.mark.sdk
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_sdk_manages_tasks(server: Any, tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CLEARML")},
        "CLEARML_CONFIG_FILE": str(server.conf),
        "CLEARML_CACHE_DIR": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }
    script = shutil.copy(SCRIPT, tmp_path)  # away from our own repository, which the SDK would record
    outcome = subprocess.run(
        [sys.executable, script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "all is well" in outcome.stdout
    tasks = server.call("tasks.get_all", name="train it")["tasks"]
    assert [task["status"] for task in tasks] == ["published"]
