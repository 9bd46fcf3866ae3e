"""Filters of ``get_all`` as SQL conditions. Values are always bound, names are checked against the collection."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.db import compiled
from clearml_agent_clone.server.faults import invalid, unknown_field
from clearml_agent_clone.server.store import Collection

_COMPARISON = re.compile(r"\s*(>=|<=|>|<|=)?\s*(.*?)\s*\Z", re.DOTALL)
_LONGEST_PATTERN = 4096
_INSIDE_LISTS = {
    "models.input.model": ("models.input", "model"),
    "models.output.model": ("models.output", "model"),
    "execution.artifacts.key": ("execution.artifacts", "key"),
}


@attrs.frozen
class Where:
    """An SQL condition and the values bound in it. The empty one is always true."""

    sql: str = ""
    params: tuple[Any, ...] = ()

    @property
    def clause(self) -> str:
        return f"WHERE {self.sql}" if self.sql else ""


def both(conditions: Iterable[Where]) -> Where:
    """All of ``conditions``."""
    return _join(" AND ", conditions)


def either(conditions: Iterable[Where]) -> Where:
    """Any of ``conditions``."""
    return _join(" OR ", conditions)


def _join(word: str, conditions: Iterable[Where]) -> Where:
    real = [one for one in conditions if one.sql]
    if not real:
        return Where()
    sql = word.join(f"({one.sql})" for one in real)
    return Where(sql, tuple(value for one in real for value in one.params))


@attrs.frozen
class Source:
    """Where a field is found: a column, or a JSON text and a path in it. ``inner`` looks into a list of objects."""

    column: str = ""
    text: str = ""
    path: str = ""
    inner: str = ""

    @property
    def scalar(self) -> str:
        """An expression for the field's value."""
        return self.column or f"json_extract({self.text}, {_quoted(self.path)})"

    def any_value(self, test: str) -> str:
        """An expression: is ``test`` (which speaks of ``value``) true of the field, or of any item if it is a list?"""
        if self.column:
            return test.replace("value", self.column, 1)
        value = f"json_extract(each.value, {_quoted(self.inner)})" if self.inner else "each.value"
        inside = test.replace("value", value, 1)
        return f"EXISTS (SELECT 1 FROM json_each({self.text}, {_quoted(self.path)}) AS each WHERE {inside})"  # noqa: S608 - built from checked names


def source(collection: Collection, name: str) -> Source:
    """Where ``name`` (dotted) is found. Raises ``ApiFault`` 400/14 when such documents have no such field."""
    if name in _INSIDE_LISTS:
        outer, inner = _INSIDE_LISTS[name]
        return attrs.evolve(source(collection, outer), inner=f'$."{inner}"')
    if name in collection.columns:
        return Source(column=f"{collection.table}.{name}")
    top, *rest = name.split(".")
    if top not in collection.fields or '"' in name or "\x00" in name or "" in rest:
        raise unknown_field(name)
    inside = "".join(f'."{step}"' for step in rest)
    if top in collection.parts:
        table = collection.table
        text = f"(SELECT part.doc FROM {table}_parts AS part WHERE part.id = {table}.id AND part.part = '{top}')"  # noqa: S608 - a known field's name
        return Source(text=text, path=f"${inside}")
    return Source(text=f"{collection.table}.doc", path=f'$."{top}"{inside}')


def matching(collection: Collection, name: str, value: Any) -> Where:
    """The condition that a body's ``name: value`` means. A null or an empty list means none."""
    if value is None or value == []:
        return Where()
    if isinstance(value, str) and name in collection.patterns:
        return pattern(collection, name, value)
    if name.partition(".")[0] in collection.dates | collection.numbers:
        return _ranges(collection, name, value)
    if isinstance(value, bool):
        found = source(collection, name)
        return Where(f"IFNULL({found.scalar}, 0) = ?", (int(value),))
    if isinstance(value, Mapping):
        return _any_all(collection, name, value)
    return listed(collection, name, value if isinstance(value, list) else [value])


def pattern(collection: Collection, name: str, regex: str, *, any_case: bool = False) -> Where:
    """The field, or an item of it, matches the regular expression ``regex`` somewhere."""
    if len(regex) > _LONGEST_PATTERN:
        raise invalid(name, "The pattern is too long")
    try:
        compiled(regex, any_case=any_case)
    except (re.error, OverflowError, RecursionError) as error:
        raise invalid(name, f"Not a regular expression: {error}") from None
    function = "IREGEXP" if any_case else "REGEXP"
    return Where(source(collection, name).any_value(f"{function}(?, value)"), (regex,))


def listed(collection: Collection, name: str, values: list[Any]) -> Where:
    """A list filter.

    Plain: any of the values, and none of those with a leading ``-`` or after ``__$not``. ``__$or`` and ``__$and`` (also
    ``__$any``, ``__$all``) open a group; groups are joined by AND, and ``__$not`` negates the value after it.
    """
    found = source(collection, name)
    groups: list[tuple[str, list[tuple[Any, bool]]]] = [("", [])]
    negated = literal = False
    for value in values:
        if value in ("__$not", "__$nop"):
            negated, literal = (not negated, False) if value == "__$not" else (negated, True)
            continue
        if value in ("__$or", "__$any", "__$and", "__$all"):
            groups.append(("or" if value in ("__$or", "__$any") else "and", []))
            continue
        if isinstance(value, str) and value.startswith("-") and not literal:
            groups[-1][1].append((value[1:], not negated))
        else:
            groups[-1][1].append((value, negated))
        negated = literal = False
    return both(_group(found, operator, terms) for operator, terms in groups if terms)


def _group(found: Source, operator: str, terms: list[tuple[Any, bool]]) -> Where:
    if not operator:
        wanted = [value for value, negated in terms if not negated]
        barred = [value for value, negated in terms if negated]
        return both([_one_of(found, wanted), _not(_one_of(found, barred))])
    each = [_not(_one_of(found, [value])) if negated else _one_of(found, [value]) for value, negated in terms]
    return either(each) if operator == "or" else both(each)


def _one_of(found: Source, values: list[Any]) -> Where:
    known = [value for value in values if value is not None]
    conditions = []
    if known:
        wanted = json.dumps(known)
        conditions.append(Where(found.any_value("value IN (SELECT value FROM json_each(?))"), (wanted,)))
    if len(known) < len(values):
        conditions.append(Where(f"{found.scalar} IS NULL"))
    return either(conditions)


def _not(condition: Where) -> Where:
    return Where(f"NOT IFNULL(({condition.sql}), 0)", condition.params) if condition.sql else condition


def _any_all(collection: Collection, name: str, value: Mapping[str, Any]) -> Where:
    """``{"any": {"include": […], "exclude": […]}, "all": {…}, "op": "and"}``"""
    found = source(collection, name)
    parts = []
    for word, join in (("any", either), ("all", both)):
        group = fields.mapping(value, word)
        terms = [_one_of(found, [one]) for one in fields.texts(group, "include")]
        terms += [_not(_one_of(found, [one])) for one in fields.texts(group, "exclude")]
        parts.append(join(terms))
    return either(parts) if value.get("op") == "or" else both(parts)


def _ranges(collection: Collection, name: str, value: Any) -> Where:
    if isinstance(value, list) and len(value) == 2 and not any(_has_operator(one) for one in value):
        bounds = zip((">=", "<="), value, strict=True)
        return both(compared(collection, name, one, default) for default, one in bounds if one is not None)
    limits = value if isinstance(value, list) else [value]
    return both(compared(collection, name, one, "=") for one in limits if one is not None)


def _has_operator(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip()[:1] in (">", "<", "=")


def compared(collection: Collection, name: str, value: Any, default: str) -> Where:
    """The condition behind ``">=2024-01-01"``; ``default`` is the operator when none is written."""
    split = _COMPARISON.match(str(value))
    assert split is not None
    operator, operand = split[1] or default, split[2]
    limit: str | float
    try:
        limit = float(operand)
        if name.partition(".")[0] in collection.dates:
            limit = fields.stamp(fields.from_epoch(limit))
    except (ValueError, OverflowError, OSError):
        moment = fields.parse_stamp(operand)
        if moment is None:
            raise invalid(name, f"Not a number or date: {operand}") from None
        limit = fields.stamp(moment)
    found = source(collection, name)
    return Where(f"{found.scalar} {operator} ?", (limit,))


def across(collection: Collection, spec: Any, join: str) -> Where:
    """``_any_`` and ``_all_``: a pattern or a date limit on several fields."""
    if not isinstance(spec, Mapping):
        raise invalid(join, "Value is not an object")
    conditions = []
    for name in fields.texts(spec, "fields"):
        if spec.get("datetime") is not None:
            limits = spec["datetime"]
            conditions.append(_ranges(collection, name, limits))
        else:
            conditions.append(pattern(collection, name, fields.required(spec, "pattern"), any_case=True))
    return either(conditions) if join == "_any_" else both(conditions)


def containing(collection: Collection, words: str) -> Where:
    """``search_text``: any of the words in any of the fields that are searched."""
    texts = " || ' ' || ".join(f"IFNULL({source(collection, name).scalar}, '')" for name in collection.searched)
    return either(Where(f"instr(lower({texts}), ?) > 0", (word.strip('"').lower(),)) for word in words.split())


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "''") + "'"
