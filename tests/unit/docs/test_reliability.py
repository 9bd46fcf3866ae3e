"""The page of promises names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_NAME = re.compile(r"`(?P<file>[\w/]+\.py)?::(?P<test>\w+)`")


def test_every_promise_names_a_test_that_exists() -> None:
    rows = [line for line in (_ROOT / "docs/reliability.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| fault |")]
    assert len(promises) > 60
    missing = []
    for row in promises:
        file = ""
        found = list(_NAME.finditer(row.rpartition(" | ")[2]))
        assert found, f"no test: {row}"
        for one in found:
            file = one["file"] or file
            if not re.search(rf"^def {one['test']}\(", (_ROOT / file).read_text(), re.MULTILINE):
                missing.append(one[0])
    assert not missing
