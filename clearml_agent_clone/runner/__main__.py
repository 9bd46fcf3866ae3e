"""The process that the daemon starts for each task: ``python -m clearml_agent_clone.runner FOLDER``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from clearml_agent_clone.errors import AgentError


def main(folder: str) -> int:
    """Run the task of ``folder``; the exit code says whether the runner itself came to its end."""
    from clearml_agent_clone.runner.background import run_in_background  # noqa: PLC0415 - errors of imports are told

    try:
        run_in_background(Path(folder))
    except AgentError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - it says all there is to say
        return 1
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(main(sys.argv[1]))
