"""What is checked about the server's certificate."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from clearml_agent_clone.errors import UserError


def tls_options(verify: bool | Path) -> dict[str, Any]:
    """The arguments of an HTTPS connection pool for ``api.verify_certificate``.

    With True, ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` name the CA file as users of Python know it; without
    them the certificates that come with Python's packages and those of the system count both.

    Raises:
        UserError: the CA file or folder is missing or holds no certificate.
    """
    context = ssl.create_default_context() if verify is True else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify is False:
        import urllib3  # noqa: PLC0415 - only who asked for no check needs it

        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return {"ssl_context": context, "cert_reqs": "CERT_NONE", "assert_hostname": False}
    path, origin = _authorities(verify)
    _load(context, path, origin)
    return {"ssl_context": context}


def _authorities(verify: Path | bool) -> tuple[Path, str]:
    if isinstance(verify, Path):
        return verify.expanduser(), "api.verify_certificate"
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser(), name
    import certifi  # noqa: PLC0415 - plain HTTP does without

    return Path(certifi.where()), "certifi"


def _load(context: ssl.SSLContext, path: Path, origin: str) -> None:
    try:
        if path.is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        reason = "it does not exist" if isinstance(error, FileNotFoundError) else "it holds no certificates"
        raise UserError(
            f'{origin} "{path}" cannot be used as CA file: {reason}',
            remedy="Name a file of PEM certificates, or a folder that OpenSSL's rehash has prepared",
            code="ca-invalid",
        ) from error
