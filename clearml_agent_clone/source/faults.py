"""What git's exit code and messages mean for the user."""

from __future__ import annotations

import re

from clearml_agent_clone.errors import AgentError, Fatal, Retryable, UserError
from clearml_agent_clone.source.address import Address, without_user_info
from clearml_agent_clone.util.process import Finished

_Kind = type[UserError] | type[Retryable] | type[Fatal]


# Pattern in git's messages, what to do with the error, its code, message and remedy. The first that matches counts:
# special ones stand before general ones. Patterns are compiled when something failed, not when a task starts.
_FAULTS: tuple[tuple[str, _Kind, str, str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded",
        Retryable,
        "disk-full",
        "no space left on the disk while fetching {url}",
        "Free some disk space or move agent.vcs_cache.path",
    ),
    (
        r"remote host identification has changed|host key for \S+ has changed",
        UserError,
        "git-host-key",
        "the ssh host {host} shows another key than the one that is known for it",
        (
            "Somebody may be in between: ask the host's owner. If it is right, remove the old key (ssh-keygen -R '{place}')"
            " and put the new one in ~/.ssh/known_hosts or agent.git_known_hosts"
        ),
    ),
    (
        r"host key verification failed|no \S+ host key is known",
        UserError,
        "git-host-key",
        "the ssh key of {host} is not known on this machine",
        (
            "Compare it with the host's owner and add it to ~/.ssh/known_hosts or agent.git_known_hosts"
            " (ssh-keyscan {options}{host}), or set agent.git_host_keys to accept-new"
        ),
    ),
    (
        r"transport '[^']*' not allowed|protocol '[^']*' is not supported|remote helper '?[^']*'? ?(?:is )?not",
        UserError,
        "bad-repository",
        "{url} uses a transport that is not allowed",
        "Use https, http, ssh or git; paths of this machine need agent.git_allow_local",
    ),
    (
        r"permission denied \(|no supported authentication methods|too many authentication failures",
        UserError,
        "git-auth-failed",
        "{host} refused this machine's ssh key",
        "Add the agent's public key to an account that may read {url}, or set agent.git_user and agent.git_pass",
    ),
    (
        (
            r"authentication failed|could not read (?:username|password)|terminal prompts disabled|invalid credentials"
            r"|returned error: 40[13]|access denied(?! or repository)|unable to read askpass"
        ),
        UserError,
        "git-auth-failed",
        "{host} refused the credentials for {url}, or there are none for it",
        "Check agent.git_user, agent.git_pass and agent.git_host (or agent.git.extra_credentials)",
    ),
    (
        r"returned error: 30\d|unable to update url base from redirection",
        UserError,
        "repository-moved",
        "{host} says that {url} is somewhere else, and its credentials must not follow there",
        "Use the repository's new address in the task",
    ),
    (
        r"dubious ownership",
        UserError,
        "git-ownership",
        "{url} belongs to another user of this machine",
        "Add it to safe.directory of the agent's git configuration, or change its owner",
    ),
    (
        (
            r"could not resolve (?:host|proxy)|name or service not known|temporary failure in name resolution"
            r"|unable to look up|no address associated"
        ),
        Retryable,
        "repository-unreachable",
        "the host {host} of {url} cannot be found",
        "Check the name, and DNS and proxy of this machine",
    ),
    (
        (
            r"connection refused|couldn't connect|failed to connect|connection timed out|operation timed out|no route to host"
            r"|network is unreachable|connection (?:was )?reset|connection closed|empty reply|early eof|rpc failed"
            r"|remote end hung up|too slow|returned error: (?:5\d\d|429)|unexpected disconnect|recv failure|broken pipe"
        ),
        Retryable,
        "repository-unreachable",
        "{host} cannot be reached for {url}",
        "Check that the host is up and that this machine may connect to it",
    ),
    (
        r"certificate|handshake|ssl_connect|ssl_error|tls alert|unsupported protocol|wrong version number",
        UserError,
        "git-tls",
        "no trusted connection to {host}",
        "Check the host's certificate, or name its authority with http.sslCAInfo in the agent's git configuration",
    ),
    (
        (
            r"repository .*not found|repository not found|returned error: 404|does not appear to be a git repository"
            r"|does not exist|no such repository|project you were looking for could not be found|access denied or repository"
            r"|could not find repository"
        ),
        UserError,
        "repository-not-found",
        "there is no repository at {url}, or the agent's account may not see it",
        "Check the address, and that the credentials in agent.git_user and agent.git_pass may read it",
    ),
)

_NO_SUCH_REVISION = (
    r"couldn't find remote ref|not our ref|unadvertised object|no such remote ref|remote error: upload-pack: not our ref"
    r"|cannot lock ref|invalid refspec"
)
_MISSING = (
    r"bad object|could not parse object|unable to read|unable to parse|not a tree|missing (?:blob|tree|object)|bad tree"
    r"|invalid object|not a valid object|unknown revision|needed a single revision|failed to (?:read|unpack)"
    r"|check \.git/objects/info/alternates"
)
_CORRUPT = (
    r"corrupt|inflate|object file .* is empty|far too short|index file .* is too small|wrong index|cannot be accessed"
    r"|hash mismatch|sha1 mismatch|not a git repository|bad config|bad signature|garbage at end|unable to unpack"
    r"|reference broken|bad pack|invalid sha1 pointer|not in the correct format|unable to find .* in packed"
)
_NOISE = re.compile(r"^(?:hint:|Cloning into|remote: *$|Receiving|Resolving|Unpacking|Counting|Compressing)")


def explain(finished: Finished, address: Address) -> AgentError:
    """The error for a git that failed while it worked with ``address``."""
    # The address could hold any of the words that are looked for.
    text = (finished.errors or finished.output).replace(address.url, "")
    names = {
        "url": address.url,
        "host": address.host or "the repository",
        "place": f"[{address.host}]:{address.port}" if address.port else address.host,
        "options": f"-p {address.port} " if address.port else "",
    }
    for pattern, kind, code, message, remedy in _FAULTS:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(f"{message.format(**names)}: {reason(finished)}", remedy=remedy.format(**names), code=code)
    return Fatal(f"git failed for {address.url}: {reason(finished)}", code="git-failed")


def is_no_such_revision(finished: Finished) -> bool:
    """Whether the remote merely lacks what was asked for."""
    return _says(finished, _NO_SUCH_REVISION)


def is_missing(finished: Finished) -> bool:
    """Whether objects that a checkout needs are not in the mirror, or are broken there."""
    return _says(finished, _MISSING) or is_corruption(finished)


def is_corruption(finished: Finished) -> bool:
    """Whether something in the mirror cannot be read."""
    return _says(finished, _CORRUPT)


def _says(finished: Finished, pattern: str) -> bool:
    return bool(re.search(pattern, finished.errors or finished.output, re.IGNORECASE))


def reason(finished: Finished) -> str:
    """The line of git's output that says most, without credentials."""
    lines = [line.strip() for line in without_user_info(finished.errors or finished.output).splitlines()]
    lines = [line for line in lines if line and not _NOISE.match(line)]
    telling = next((line for line in lines if line.startswith(("fatal: ", "ERROR: ", "error: "))), "")
    if telling.startswith("fatal: Could not read from remote repository") or not telling:
        earlier = [
            line for line in lines if not line.startswith("fatal: Could not read") and not line.startswith("Please")
        ]
        telling = earlier[0] if earlier else telling
    for prefix in ("fatal: ", "error: ", "ERROR: "):
        telling = telling.removeprefix(prefix)
    return telling.rstrip(".") or f"exit code {finished.exit_code}"
