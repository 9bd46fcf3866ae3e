"""A runner as a program: ``python -m clearml_agent_clone.runner FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from clearml_agent_clone.runner.background import become_runner

if __name__ == "__main__":
    sys.exit(become_runner(Path(sys.argv[1])))
