from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.logs import Spool
from clearml_agent_clone.logs.spool import SPOOL_NAME


def test_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Spool.create(tmp_path).close()
    finally:
        os.umask(old)
    assert (tmp_path / SPOOL_NAME).stat().st_mode & 0o777 == 0o600


def test_one_run_has_one_spool(tmp_path: Path) -> None:
    Spool.create(tmp_path).close()
    with pytest.raises(Fatal) as caught:
        Spool.create(tmp_path)
    assert caught.value.code == "spool-exists"


def test_open_wants_one_that_exists(tmp_path: Path) -> None:
    with pytest.raises(Fatal) as caught:
        Spool.open(tmp_path)
    assert caught.value.code == "spool-missing"


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / SPOOL_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Fatal):
        Spool.open(tmp_path)


def test_say_begins_a_line_of_its_own(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.say("first")
    spool.write(b"half a li")
    spool.say("own")
    spool.write(b"whole line\n")
    spool.say("last\n")
    assert spool.read(0, 1000) == b"first\nhalf a li\nown\nwhole line\nlast\n"
    spool.close()
    spool.close()


def test_opened_again_it_goes_on_at_the_end(tmp_path: Path) -> None:
    first = Spool.create(tmp_path)
    first.say("one")
    again = Spool.open(tmp_path)
    again.say("two")
    first.say("three")
    assert again.read(0, 1000) == b"one\ntwo\nthree\n"
    assert again.read(4, 3) == b"two"
    assert again.size() == 14
    first.close()
    again.close()


def test_a_child_writes_into_it_and_survives_our_closing(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    script = "import sys; sys.stdin.read(); print('late'); print('error', file=sys.stderr)"
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=spool.fd, stderr=spool.fd, text=True
    )
    spool.close()
    child.communicate("")
    again = Spool.open(tmp_path)
    assert sorted(again.read(0, 100).splitlines()) == [b"error", b"late"]
    again.close()


def test_is_not_inherited_by_accident(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    assert not os.get_inheritable(spool.fd)
    spool.close()


def test_a_full_disk_costs_lines_and_not_the_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = Spool(Path("/dev/full"), os.open("/dev/full", os.O_RDWR))
    full.say("lost")
    full.write(b"also lost")
    assert full.dropped == len("lost\n") + len("also lost")
    assert "no space left" in caplog.text
    assert len(caplog.records) == 1
    full.close()


def test_disk_space_is_given_back_and_offsets_stay(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    assert spool.first() == 0
    spool.write(b"x" * (8 << 20))
    full = spool.path.stat().st_blocks
    spool.give_back((6 << 20) + 5)
    if spool.path.stat().st_blocks == full:
        pytest.skip("this file system cannot give parts of a file back")
    assert spool.path.stat().st_blocks * 512 <= 3 << 20
    assert spool.first() == 6 << 20
    assert spool.read(6 << 20, 3) == b"xxx"
    spool.say("end")
    assert spool.size() == (8 << 20) + 5
    spool.close()
