"""The envelope around every answer of the API."""

from __future__ import annotations

import gzip
import json
import uuid
from typing import Any

import attrs
from starlette.responses import Response

from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Version

HEADERS = {
    "server": "clearml",
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "*",
    "access-control-allow-methods": "GET, POST, PUT, OPTIONS",
    "access-control-max-age": "86400",
}

_WORTH_PACKING = 4096  # below this a local round trip loses more by packing than it gains
_TEXT_VERSIONS: Version = (2, 1)


@attrs.define
class Meta:
    """What the envelope says about the call; filled as far as the request was understood."""

    trx: str = ""
    name: str | None = None
    requested: Version | None = None
    actual: Version | None = None
    packed: bool = False
    """The client takes gzip."""

    def _version(self, version: Version | None) -> str | float | None:
        if version is None:
            return None
        shown = ".".join(map(str, version))
        old = self.requested is not None and self.requested < _TEXT_VERSIONS
        return float(shown) if old else shown

    def wrap(self, code: int, subcode: int, msg: str, error_data: dict[str, Any], data: dict[str, Any]) -> Response:
        """The whole HTTP response."""
        number = uuid.uuid4().hex
        body = {
            "meta": {
                "id": number,
                "trx": self.trx or number,
                "endpoint": {
                    "name": self.name,
                    "requested_version": self._version(self.requested),
                    "actual_version": self._version(self.actual),
                },
                "result_code": code,
                "result_subcode": subcode,
                "result_msg": msg,
                "error_stack": None,
                "error_data": error_data,
            },
            "data": data,
        }
        content = json.dumps(body, separators=(",", ":"), default=str).encode()
        headers = {**HEADERS, "vary": "Accept-Encoding"}
        if self.packed and len(content) >= _WORTH_PACKING:
            content = gzip.compress(content, compresslevel=1, mtime=0)
            headers["content-encoding"] = "gzip"
        return Response(content, code, headers, media_type="application/json")

    def success(self, data: dict[str, Any]) -> Response:
        return self.wrap(200, 0, "OK", {}, data)

    def fault(self, fault: ApiFault) -> Response:
        return self.wrap(fault.code, fault.subcode, fault.msg, fault.data, {})
