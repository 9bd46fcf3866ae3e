"""A fetch in a process of its own, to be run many times at once or killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from clearml_agent_clone.source import SourceSettings

_PROGRAM = """
import json, sys
from pathlib import Path
from clearml_agent_clone.api.types import Script
from clearml_agent_clone.source import SourceSettings, fetch_source, plan_source

class Console:
    def say(self, text): print(text, file=sys.stderr, flush=True)
    def write(self, data): pass

cache, folder, filter, fields = sys.argv[1:]
settings = SourceSettings(vcs_cache_path=Path(cache), allow_local=True, attempts=1, clone_filter=filter)
plan = plan_source(Script(entry_point="train.py", **json.loads(fields)), settings)
result = fetch_source(plan, Path(folder), Console())
print(result.commit, (result.root / "train.py").read_text().strip())
"""


def task(settings: SourceSettings, folder: Path, **fields: str) -> subprocess.Popen[str]:
    """Start a fetch of a script given by its fields; it prints the commit and ``train.py``. Its group is its own."""
    arguments = [str(settings.vcs_cache_path), str(folder), settings.clone_filter, json.dumps(fields)]
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        start_new_session=True,
    )
