"""``clearml-agent server``: a ClearML-compatible server of one's own."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from clearml_agent_clone.errors import UserError

if TYPE_CHECKING:
    from clearml_agent_clone.server.app import RunningServer
    from clearml_agent_clone.server.config import ServerConfig

DEFAULT_DATA = Path("~/.clearml/server")
_NEEDED = ("starlette", "uvicorn", "python_multipart")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its flags."""
    parser = subparsers.add_parser(
        "server",
        help="run a ClearML-compatible server of your own on this machine",
        description="Run a ClearML-compatible server: API, web pages and files, with its data in one folder. "
        "Give its configuration to clients with --print-config.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name, port, what in (("api", 8008, "API"), ("web", 8080, "web pages"), ("files", 8081, "files")):
        parser.add_argument(
            f"--{name}-port",
            type=_port,
            default=port,
            metavar="PORT",
            help=f"port of the {what} (default: %(default)s; 0: any)",
        )
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="where data is kept (default: %(default)s)"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print a clearml.conf for that DIR and those ports, and end"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the configuration, or serve until SIGTERM or Ctrl-C.

    Raises:
        UserError: the extra is not installed, a port is taken, the folder cannot be used or is in use.
    """
    _require_extra()
    from clearml_agent_clone.server.config import ServerConfig  # noqa: PLC0415 - needs the extra

    config = ServerConfig(
        data=arguments.data.expanduser().absolute(),
        host=arguments.host,
        api_port=arguments.api_port,
        web_port=arguments.web_port,
        files_port=arguments.files_port,
    )
    return _print_config(config) if arguments.print_config else _serve(config)


def _print_config(config: ServerConfig) -> int:
    from clearml_agent_clone.server.auth import owner_pair  # noqa: PLC0415 - needs the extra
    from clearml_agent_clone.server.client_config import client_config  # noqa: PLC0415 - needs the extra
    from clearml_agent_clone.server.state import addresses  # noqa: PLC0415 - needs the extra

    ports = {"--api-port": config.api_port, "--web-port": config.web_port, "--files-port": config.files_port}
    for option, port in ports.items():
        if port == 0:
            raise UserError(
                f"{option} 0 means any port, which nobody knows before the server runs",
                remedy="Give the port that the server will listen on",
                code="bad-port",
            )
    where = addresses(config.host, *ports.values())
    print(client_config(where, owner_pair(config.data)), end="")
    return 0


def _serve(config: ServerConfig) -> int:
    import asyncio  # noqa: PLC0415 - only this command needs it
    import logging  # noqa: PLC0415 - as above

    from clearml_agent_clone.server.app import open_server  # noqa: PLC0415 - needs the extra

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    server = open_server(config)
    asyncio.run(_until_signal(server))
    return 0


async def _until_signal(server: RunningServer) -> None:
    import asyncio  # noqa: PLC0415 - only this command needs it
    import signal  # noqa: PLC0415 - as above

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve(lambda: _announce(server))


def _announce(server: RunningServer) -> None:
    where, data = server.state.addresses, server.config.data
    print(f"ClearML-compatible server is running. API {where.api}  web {where.web}  files {where.files}", flush=True)
    print(f"Data and credentials are in {data}. Stop with Ctrl-C.", flush=True)


def _require_extra() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"the server needs packages that are not installed: {', '.join(missing)}",
            remedy='Run: pip install "clearml-agent-clone[server]"',
            code="server-extra-missing",
        )


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f'"{text}" is not a port (0 to 65535)')
    return port
