"""Whether an index of PyTorch's builds can be reached. A machine without a route to it must not wait for it each time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from clearml_agent_clone.environment.model import Indexes
from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.util.files import write_atomic
from clearml_agent_clone.util.process import Cancel

_FRESH = 3600.0
_OK = 400


def remembered(memory: Path | None, url: str, now: float | None = None) -> str:
    """Why ``url`` could not be reached, if that was within the last hour."""
    if memory is None:
        return ""
    try:
        known = json.loads(memory.read_text())[url]
        at, reason = float(known[0]), str(known[1])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return ""
    age = (time.time() if now is None else now) - at
    return reason if 0 <= age < _FRESH else ""


def remember(memory: Path | None, url: str, reason: str) -> None:
    """Note that ``url`` cannot be reached."""
    if memory is None:
        return
    try:
        known = json.loads(memory.read_text())
        known = known if isinstance(known, dict) else {}
    except (OSError, ValueError):
        known = {}
    write_atomic(memory, json.dumps({**known, url: [time.time(), reason]}), durable=False)


def unreachable(url: str, indexes: Indexes, environ: Mapping[str, str], patience: float, cancel: Cancel | None) -> str:
    """Why ``url`` cannot be used; empty when it answers.

    Raises:
        Cancelled: ``cancel`` was set meanwhile.
    """
    found: list[str] = []
    thread = threading.Thread(
        target=lambda: found.append(_ask(url, indexes, environ, patience)), name="torch-index", daemon=True
    )
    thread.start()  # a name server that is silent cannot be given a time limit otherwise
    deadline = time.monotonic() + patience
    while thread.is_alive() and time.monotonic() < deadline:
        if cancel is not None and cancel.is_set():
            raise Cancelled
        thread.join(0.05)
    return found[0] if found else f"no answer within {patience:g} s"


def _ask(url: str, indexes: Indexes, environ: Mapping[str, str], patience: float) -> str:
    import ssl  # noqa: PLC0415 - only builds that name PyTorch need it
    import urllib.error  # noqa: PLC0415 - the same
    import urllib.request  # noqa: PLC0415 - the same

    context = ssl.create_default_context(cafile=indexes.certificate or environ.get("SSL_CERT_FILE") or None)
    proxies = {scheme: proxy for scheme in ("http", "https") if (proxy := _proxy(scheme, indexes, environ))}
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/torch/", method="HEAD")  # noqa: S310 - of the configuration
        with opener.open(request, timeout=patience) as answer:
            return "" if answer.status < _OK else f"it answers {answer.status}"
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except urllib.error.URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)


def _proxy(scheme: str, indexes: Indexes, environ: Mapping[str, str]) -> str:
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return indexes.proxy or next((environ[name] for name in names if environ.get(name)), "")
