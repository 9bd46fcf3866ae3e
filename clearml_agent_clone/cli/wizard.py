"""The set-up wizard behind ``clearml-agent init``."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

import attrs

from clearml_agent_clone.api import Retry, ServerAccess, Session
from clearml_agent_clone.config import ApiSettings
from clearml_agent_clone.config.hosts import files_server_of
from clearml_agent_clone.config.kinds import expand_path, home
from clearml_agent_clone.config.masking import mask_urls
from clearml_agent_clone.config.positions import scan
from clearml_agent_clone.config.setup_answers import (
    Answers,
    Hosts,
    Pasted,
    hosts_with_ports,
    normal_url,
    parse_pasted,
    related_hosts,
    render_conf,
    why_unwritable,
)
from clearml_agent_clone.config.variables_table import CONFIG_FILE, VERIFY_CERT
from clearml_agent_clone.errors import AgentError, UserError
from clearml_agent_clone.util.files import write_atomic

Verify = Callable[[ApiSettings], None]
_Answer = TypeVar("_Answer")
_YES = ("", "y", "yes")
_WEB = "https://app.clear.ml"
_INTRODUCTION = """\
CLEARML-AGENT setup process

Please create new clearml credentials through the settings page in your clearml-server web app,
or create a free account at https://app.clear.ml/settings/webapp-configuration

In the settings > workspace page, press "Create new credentials", then press "Copy to clipboard".
(clearml-agent server runs a server of your own; it prints this configuration with --print-config.)

Paste copied configuration here, and end it with an empty line:"""


def target_file(named: str | None, environ: Mapping[str, str]) -> Path:
    """The file to write: what was named, else the one that is there already, else ``~/clearml.conf``."""
    named = named or CONFIG_FILE.get(environ)
    if named:
        return expand_path(named, environ)
    older, usual = home(environ) / "trains.conf", home(environ) / "clearml.conf"
    return older if older.exists() and not usual.exists() else usual


def set_up(target: Path, verify: Verify) -> int:
    """Ask, check, write. Nothing is written before everything was answered and checked.

    Args:
        target: the file to write; left alone when it is there and not empty.
        verify: logs in; raises ``AgentError`` when that fails.

    Raises:
        UserError: the input ended before the last question, or the file cannot be written.
    """
    if target.exists() and (not target.is_file() or target.stat().st_size > 0):
        print(f"Configuration file already exists: {target}")
        print("It is left as it is. Add an agent section to it, or move it away and run this again.")
        return 0
    print(_INTRODUCTION)
    pasted = _credentials(_read_pasted())
    hosts = _ask_hosts(pasted.hosts)
    print(f"\nCLEARML Hosts configuration:\nWeb App: {hosts.web}\nAPI: {hosts.api}\nFile Store: {hosts.files}\n")
    credentials = _verified(hosts, pasted, verify)
    if credentials is None:
        print("Exiting setup without creating configuration file")
        return 1
    output_uri = _ask_output_uri(hosts)
    git_user, git_pass = _ask_git()
    answers = Answers(
        hosts,
        credentials.access_key,
        credentials.secret_key,
        git_user,
        git_pass,
        extra_index_urls=_ask_index_urls(),
        default_output_uri=output_uri,
    )
    _write(target, answers)
    print(f"\nNew configuration stored in {target}\nCLEARML-AGENT setup completed successfully.")
    return 0


def log_in(api: ApiSettings) -> None:
    """Log in once, with little patience: somebody is waiting.

    Raises:
        AgentError: the server cannot be reached or refuses the credentials.
    """
    certificate = VERIFY_CERT.get(os.environ)
    if certificate is not None:
        api = attrs.evolve(api, verify_certificate=certificate)
    with Session(ServerAccess.from_settings(api), host_name=socket.gethostname()) as session:
        session.login(retry=Retry(attempts=3, total=20))


def _read_pasted() -> Pasted:
    """Lines until an empty one, or until a brace that stands alone closes the last that was opened."""
    text = line = _ask("")
    while line.strip() and (line.rstrip() != "}" or scan(text).open_braces):
        line = _ask("")
        text += f"\n{line}"
    pasted = parse_pasted(text)
    if text.strip() and not pasted.has_credentials:
        print("Could not find credentials in this, please enter them by hand.")
    return pasted


def _credentials(pasted: Pasted) -> Pasted:
    """The credentials that were pasted, or those typed in their place."""
    if not pasted.has_credentials:
        access_key = _ask_until("Enter user access key: ", lambda text: text or None)
        secret_key = _ask_until("Enter user secret: ", lambda text: text or None, secret=True)
        pasted = attrs.evolve(pasted, access_key=access_key, secret_key=secret_key)
    print(f'Detected credentials key="{pasted.access_key[:4]}***" secret="***"')
    return pasted


def _ask_hosts(known: Hosts) -> Hosts:
    """The three addresses: the first is asked for, the others follow from it and are confirmed."""
    ask_web = bool(known.web) or not known.api
    if not known.web and not known.api:
        print("\nPlease enter the address of the web application, the one that your browser shows.")
    label = "WEB Host" if ask_web else "API Host"
    first = _ask_url(label, known.web if ask_web else known.api, fallback=_WEB)
    if first in (known.web, known.api) and known.web and known.api:
        related = known
    else:
        related = related_hosts(first, is_web=ask_web) or _ask_ports(first, is_web=ask_web)
        if first == (known.web if ask_web else known.api):
            related = Hosts(known.web or related.web, known.api or related.api, known.files or related.files)
    if ask_web and related.web != first:
        print(f"{first} is the API server; the web application is {related.web}")
    if ask_web:
        web, api = related.web, _ask_url("API Host", related.api)
    else:
        web, api = _ask_url("Web Application Host", related.web), related.api
    return Hosts(web, api, _ask_url("File Store Host", related.files or files_server_of(web)))


def _ask_ports(address: str, *, is_web: bool) -> Hosts:
    """Addresses on a machine whose ports have to be asked for."""
    answer = _ask("Host port not detected, do you wish to use the default 8080 port n/[y]? ").lower()
    if answer in _YES:
        return hosts_with_ports(address, 8080, 8008, 8081)
    if answer not in ("n", "no"):
        return Hosts(web=address) if is_web else Hosts(api=address)
    web, api, files = (_ask_until(f"Enter port for {name} host ", _port) for name in ("Web", "API", "Files"))
    return hosts_with_ports(address, web or None, api or None, files or None)


def _port(text: str) -> int | None:
    """A port, 0 for none; None for what is neither."""
    if not text:
        return 0
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else None


def _verified(hosts: Hosts, pasted: Pasted, verify: Verify) -> Pasted | None:
    """Credentials that the server accepts; when it refuses the first, there is one more try."""
    for last in (False, True):
        print("Verifying credentials ...")
        try:
            verify(ApiSettings(api_server=hosts.api, access_key=pasted.access_key, secret_key=pasted.secret_key))
        except AgentError as error:
            print(f"Error: could not verify credentials: {error}")
            if last or error.code != "credentials-refused":
                return None
            pasted = _credentials(Pasted())
        else:
            print("Credentials verified!")
            break
    return pasted


def _ask_output_uri(hosts: Hosts) -> str:
    question = "Default Output URI (used to automatically store models and artifacts): (N)one/ClearML (S)erver/(C)ustom"
    choice = _ask_until(f"\n{question} [None] ", lambda text: text.lower() if text.lower() in _OUTPUT else None)
    if _OUTPUT[choice] == "server":
        return hosts.files
    return _ask("Custom Default Output URI: ") if _OUTPUT[choice] == "custom" else ""


_OUTPUT = {"": "", "n": "", "none": "", "s": "server", "server": "server", "c": "custom", "custom": "custom"}


def _ask_git() -> tuple[str, str]:
    user = _ask("Enter git username for repository cloning (leave blank for SSH key authentication): [] ")
    if not user:
        print("Git repository cloning will be using SSH keys")
        return "", ""
    print("A personal access token is made in the settings of your git server and needs to read repositories only.")
    token = _ask(f"Enter git personal token for user '{user}': ", secret=True)
    print(f"Git repository cloning will be using user={user} token={'****' if token else 'none'}")
    return user, token


def _ask_index_urls() -> tuple[str, ...]:
    urls: list[str] = []
    question = (
        "Enter additional artifact repository (extra-index-url) to use when installing python packages "
        "(leave blank if not required): "
    )
    while True:
        url = _ask(question)
        if not url:
            break
        urls.append(url)
    if urls:
        print("The following artifact repositories will be added:\n\t- " + "\n\t- ".join(map(mask_urls, urls)))
    return tuple(urls)


def _write(target: Path, answers: Answers) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}", remedy="Name another with --config-file") from error
    write_atomic(target, render_conf(answers), mode=0o600)


def _ask_url(label: str, default: str, fallback: str = "") -> str:
    default = default or fallback
    return _ask_until(
        f"{label} configured to: [{default}] ",
        lambda text: (default or None) if text.lower() in _YES else normal_url(text),
        wrong="This is no address of a server; write it as http://host:port or https://host",
    )


def _ask_until(
    prompt: str, parse: Callable[[str], _Answer | None], *, secret: bool = False, wrong: str = "Please try again"
) -> _Answer:
    """Ask until ``parse`` makes something of the answer."""
    while True:
        value = parse(_ask(prompt, secret=secret))
        if value is not None:
            return value
        print(wrong)


def _ask(prompt: str, *, secret: bool = False) -> str:
    """One line from the terminal; a secret is not echoed there."""
    while True:
        try:
            answer = _ask_hidden(prompt) if secret and sys.stdin.isatty() else input(prompt)
        except EOFError:
            _fail_at_end(prompt)
        reason = why_unwritable(answer.strip().replace("\t", " "))
        if not reason:
            return answer if not prompt else answer.strip()
        print(f"Please try again: {reason}")


def _ask_hidden(prompt: str) -> str:
    return getpass.getpass(prompt)


def _fail_at_end(prompt: str) -> NoReturn:
    print()
    question = prompt.strip().rstrip(":") or "the pasted configuration"
    raise UserError(
        f'the input ended at "{question}"; nothing was written', remedy="Run it in a terminal", code="end-of-input"
    ) from None
