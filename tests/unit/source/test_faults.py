"""What git's messages are taken for. The texts are git's, curl's and ssh's own."""

from __future__ import annotations

import pytest

from clearml_agent_clone.errors import Fatal, Retryable, UserError
from clearml_agent_clone.source.address import parse_address
from clearml_agent_clone.source.faults import explain, reason
from clearml_agent_clone.util.process import Finished

REST = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n"
HTTP = "fatal: unable to access 'https://git.corp/team/certificate-tools.git/': "


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("git@git.corp: Permission denied (publickey,password).\n" + REST, UserError, "git-auth-failed"),
        ("Host key verification failed.\n" + REST, UserError, "git-host-key"),
        (
            "No ED25519 host key is known for git.corp and you have requested strict checking.\n" + REST,
            UserError,
            "git-host-key",
        ),
        (
            "ssh: Could not resolve hostname git.corp: Name or service not known\n" + REST,
            Retryable,
            "repository-unreachable",
        ),
        ("ssh: connect to host git.corp port 22: Connection refused\n" + REST, Retryable, "repository-unreachable"),
        ("ssh: connect to host git.corp port 22: Connection timed out\n" + REST, Retryable, "repository-unreachable"),
        ("ERROR: Repository not found.\n" + REST, UserError, "repository-not-found"),
        ("remote: The project you were looking for could not be found\n" + REST, UserError, "repository-not-found"),
        ("fatal: '/team/x' does not appear to be a git repository\n" + REST, UserError, "repository-not-found"),
        (
            "remote: Repository not found.\nfatal: repository 'https://git.corp/team/certificate-tools.git/' not found\n",
            UserError,
            "repository-not-found",
        ),
        ("fatal: remote error: access denied or repository not exported: /x\n", UserError, "repository-not-found"),
        (
            "fatal: Authentication failed for 'https://git.corp/team/certificate-tools.git/'\n",
            UserError,
            "git-auth-failed",
        ),
        ("remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'x'\n", UserError, "git-auth-failed"),
        (
            "fatal: could not read Username for 'https://git.corp': terminal prompts disabled\n",
            UserError,
            "git-auth-failed",
        ),
        (HTTP + "The requested URL returned error: 403\n", UserError, "git-auth-failed"),
        (HTTP + "The requested URL returned error: 502\n", Retryable, "repository-unreachable"),
        (HTTP + "Could not resolve host: git.corp\n", Retryable, "repository-unreachable"),
        (
            HTTP + "Failed to connect to git.corp port 443 after 5 ms: Couldn't connect to server\n",
            Retryable,
            "repository-unreachable",
        ),
        (
            HTTP
            + "GnuTLS recv error (-110): The TLS connection was non-properly terminated.\nerror: RPC failed; curl 56\n",
            Retryable,
            "repository-unreachable",
        ),
        (HTTP + "SSL certificate problem: self-signed certificate in certificate chain\n", UserError, "git-tls"),
        (HTTP + "server certificate verification failed. CAfile: none CRLfile: none\n", UserError, "git-tls"),
        (HTTP + "gnutls_handshake() failed: Handshake failed\n", UserError, "git-tls"),
        (
            "error: RPC failed; curl 18 transfer closed\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output\n",
            Retryable,
            "repository-unreachable",
        ),
        (
            "fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output\n",
            Retryable,
            "disk-full",
        ),
        ("fatal: transport 'file' not allowed\n", UserError, "bad-repository"),
        ("fatal: detected dubious ownership in repository at '/srv/x'\n", UserError, "git-ownership"),
        ("fatal: the moon is full\n", Fatal, "git-failed"),
    ],
)
def test_each_failure_has_its_code(text: str, kind: type[Exception], code: str) -> None:
    address, _ = parse_address("https://git.corp/team/certificate-tools.git", allow_local=False)
    error = explain(Finished(("git",), 128, text), address)
    assert type(error) is kind
    assert error.code == code
    assert "\n" not in str(error)
    if kind is not Fatal:
        assert error.remedy
    assert "git.corp" in str(error)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Cloning into 'x'...\nERROR: Repository not found.\n" + REST, "Repository not found"),
        ("git@h: Permission denied (publickey).\n" + REST, "git@h: Permission denied (publickey)"),
        (
            HTTP.replace("https://", "https://me:secret@") + "no\n",
            "unable to access 'https://git.corp/team/certificate-tools.git/': no",
        ),
        ("", "exit code 128"),
    ],
)
def test_the_telling_line_is_shown(text: str, line: str) -> None:
    assert reason(Finished(("git",), 128, text)) == line
