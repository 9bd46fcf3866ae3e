"""A runner without a terminal: what the daemon starts."""

from __future__ import annotations

import socket
from pathlib import Path

from clearml_agent_clone.api.client import Client
from clearml_agent_clone.api.session import ServerAccess, Session
from clearml_agent_clone.config import load_settings
from clearml_agent_clone.runner.job import RunFolder
from clearml_agent_clone.runner.outcome import Outcome
from clearml_agent_clone.runner.runner import Runner
from clearml_agent_clone.runner.signals import stop_on_signals


def run_in_background(path: Path) -> Outcome:
    """Run the task whose folder is ``path``."""
    loaded = load_settings()
    session = Session(ServerAccess.from_settings(loaded.settings.api), host_name=socket.gethostname())
    client = Client(session)
    runner = Runner(RunFolder(path), loaded, client)
    with stop_on_signals(runner):
        return runner.run()
