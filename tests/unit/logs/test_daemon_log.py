from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.logs import Redactor
from clearml_agent_clone.logs.daemon_log import LogOptions, configure
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.worker.runners import ActiveRun

SECRET = "hunter2hunter2"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("clearml_agent_clone")
    levels = root.level, ours.level
    handlers = list(root.handlers)
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_a_line_tells_when_how_bad_where_and_what(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "daemon.log"
    configure(file, False, Redactor([SECRET]))
    logging.getLogger("clearml_agent_clone.worker.claim").info("task %s with %s", "t1", SECRET)
    line = file.read_text()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
    assert re.fullmatch(stamp + r" INFO    worker\.claim task t1 with \*{4}\n", line)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_tracebacks_are_redacted_and_stay_with_their_record(tmp_path: Path) -> None:
    configure(tmp_path / "log", False, Redactor([SECRET]))
    try:
        int(f"wrong {SECRET}")
    except ValueError:
        logging.getLogger("clearml_agent_clone.x").exception("it broke\nhere")
    lines = (tmp_path / "log").read_text().splitlines()
    assert SECRET not in "".join(lines)
    assert "'wrong ****'" in lines[-1]
    assert all(line.startswith("    ") for line in lines[1:])


def test_debug_is_for_those_who_ask(tmp_path: Path) -> None:
    for debug, expected in ((False, ["ours info", "theirs warning"]), (True, None)):
        file = tmp_path / f"log{debug}"
        configure(file, debug, Redactor())
        logging.getLogger("clearml_agent_clone.x").debug("ours debug")
        logging.getLogger("clearml_agent_clone.x").info("ours info")
        logging.getLogger("urllib3").info("theirs info")
        logging.getLogger("urllib3").warning("theirs warning")
        said = [" ".join(line.split()[-2:]) for line in file.read_text().splitlines()]
        assert said == (expected or ["ours debug", "ours info", "theirs info", "theirs warning"])


def test_files_rotate_and_every_one_of_them_is_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        configure(tmp_path / "log", False, Redactor(), LogOptions(max_bytes=2000))
        for number in range(500):
            logging.getLogger("clearml_agent_clone.x").info("line %d", number)
    finally:
        os.umask(old)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["log", "log.1", "log.2", "log.3", "log.4", "log.5"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert "line 499" in files[0].read_text()


def test_configured_again_it_replaces_itself_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(logging.getLogger().handlers)
    configure(tmp_path / "first", False, Redactor())
    configure(None, False, Redactor([SECRET]))
    logging.getLogger("clearml_agent_clone.x").warning("to the terminal: %s", SECRET)
    assert (tmp_path / "first").read_text() == ""
    assert "to the terminal: ****" in capsys.readouterr().err
    assert [handler for handler in logging.getLogger().handlers if handler in before] == before
    assert len(logging.getLogger().handlers) == len(before) + 1


def test_text_that_cannot_be_written_does_not_break_the_log(tmp_path: Path) -> None:
    configure(tmp_path / "log", False, Redactor())
    logging.getLogger("clearml_agent_clone.x").info("half a character: \udce2")
    assert r"\udce2" in (tmp_path / "log").read_text()


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "log").touch(mode=0o644)
    (tmp_path / "log").chmod(0o644)
    configure(tmp_path / "log", False, Redactor())
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_line_names_worker_and_loop(tmp_path: Path) -> None:
    configure(tmp_path / "log", False, Redactor(), LogOptions(worker="host:0"))
    logger = logging.getLogger("clearml_agent_clone.worker.claims")
    thread = threading.Thread(target=lambda: logger.info("hello"), name="claim")
    thread.start()
    thread.join()
    assert (tmp_path / "log").read_text().endswith(" INFO    host:0 worker.claims [claim] hello\n")


def test_json_lines_have_fields_and_no_secrets(tmp_path: Path) -> None:
    configure(tmp_path / "log", False, Redactor([SECRET]), LogOptions(style="json", worker="host:0"))
    logger, task = logging.getLogger("clearml_agent_clone.worker.daemon"), "0123456789abcdef" * 2
    logger.info('task %s says "%s"', task, SECRET)
    logger.warning("no id", extra={"task": "t2"})
    try:
        int(SECRET)
    except ValueError:
        logger.exception("line one\nline two")
    first, second, third = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "INFO",
        "worker": "host:0",
        "logger": "worker.daemon",
        "task": task,
        "message": f'task {task} says "****"',
    }
    assert second["task"] == "t2"
    assert third["message"] == "line one\nline two"
    assert third["traceback"].endswith("'****'")


def test_repeated_warnings_are_folded_unless_somebody_looks_for_bugs(tmp_path: Path) -> None:
    for debug, expected in ((False, ["away", "the same 4 times more within 0 s: away", "back"]), (True, None)):
        file = tmp_path / f"log{debug}"
        configure(file, debug, Redactor())
        for _ in range(5):
            logging.getLogger("clearml_agent_clone.x").warning("away")
        logging.getLogger("clearml_agent_clone.x").info("back")
        said = [line.split(" x ")[1] for line in file.read_text().splitlines()]
        assert said == (expected or [*["away"] * 5, "back"])


def test_what_was_folded_is_told_at_the_end(tmp_path: Path) -> None:
    configure(tmp_path / "log", False, Redactor())
    for _ in range(3):
        logging.getLogger("clearml_agent_clone.x").warning("away")
    configure(None, False, Redactor())
    assert "the same 2 times more" in (tmp_path / "log").read_text()


def test_a_log_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(UserError, match="log cannot be written: Is a directory"):
        configure(tmp_path / "log", False, Redactor())


@pytest.mark.parametrize("last", ["host:0: no such thing", "the [abc] is in the way", "ValueError: a traceback's end"])
def test_the_last_words_of_a_runner_are_those_of_its_log(last: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    configure(folder.log_file, debug=False, redactor=Redactor(["hunter2hunter2"]))
    log = logging.getLogger("clearml_agent_clone.runner.background")
    log.info("it begins with hunter2hunter2")
    if "traceback" in last:
        with folder.log_file.open("a") as output:
            output.write(f"{last}\n")
    else:
        log.error("%s", last)
    assert "hunter2" not in folder.log_file.read_text()
    assert (
        ActiveRun(
            Job("run", "task", "host:0", 1.0, owner_id="host:0", queue_id="q", claim_id="c"),
            folder,
            ProcessId(1, 0.0, ""),
        ).last_words
        == last
    )
