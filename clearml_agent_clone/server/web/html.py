"""HTML from templates in which every value is escaped, unless it is HTML already."""

from __future__ import annotations

import html as stdlib_html
import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode, urlsplit

_FIELD = re.compile(r"\{(\w+)\}")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Html(str):
    """Text that is HTML already. Made by ``html`` and by constants of this package, never from data."""

    __slots__ = ()


Value = object


def html(template: str, **values: Value) -> Html:
    """``template`` with each ``{name}`` replaced by the value of that name.

    ``Html`` goes in as it is, a list or generator piece by piece, None as nothing, anything else as escaped text. An
    attribute's value must stand in double quotes.
    """
    return Html(_FIELD.sub(lambda field: _shown(values[field[1]]), template))


def joined(parts: Iterable[Value]) -> Html:
    """The parts one after the other."""
    return Html("".join(_shown(part) for part in parts))


def link(url: str, text: Value) -> Html:
    """A link to somewhere else when ``url`` is http or https, otherwise the text alone."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return html("{text}", text=text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return html("{text}", text=text)
    return html('<a href="{url}" rel="noreferrer">{text}</a>', url=url, text=text)


def own_link(text: Value, *steps: object, **query: object) -> Html:
    """A link to the page of ours whose path has these ``steps``."""
    path = "/" + "/".join(quote(str(step), safe="*") for step in steps)
    return html('<a href="{url}">{text}</a>', url=path + (f"?{urlencode(query)}" if query else ""), text=text)


def _shown(value: Value) -> str:
    if isinstance(value, Html):
        return value
    if value is None:
        return ""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
        return joined(value)
    return stdlib_html.escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True)
