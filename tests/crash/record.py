"""Write down which events the lives have, and the page about them: ``python -m tests.crash.record``.

Run it when ``test_events.py`` says that the agent writes something new down, or calls the server where it did not.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from clearml_agent_clone.server.embedded import running_server
from tests.crash.document import PAGE, page
from tests.crash.lives import recorded
from tests.crash.points import EVENTS, Event
from tests.crash.yard import Yard
from tests.helpers.fault_proxy import FaultProxy
from tests.integration.conftest import Server


def record() -> list[Event]:
    """The events of all lives, as they are now."""
    with tempfile.TemporaryDirectory() as name, running_server(Path(name, "server")) as embedded:
        server = Server(embedded)
        with FaultProxy(embedded.api_url) as proxy:
            yard = Yard.open(server, proxy, Path(name, "yard"))
            try:
                return recorded(yard)
            finally:
                yard.close()
                server.http.close()


def main() -> None:
    EVENTS.write_text("".join(f"{event.line}\n" for event in record()))
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
