from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from clearml_agent_clone.runner.job import Job, RunFolder

JOB = Job("run-1", "task-1", "host:0", 1.0, owner_id="host:0", claim_id="c")


def test_a_job_is_read_again(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, JOB)
    assert folder.job() == JOB
    assert json.loads((folder.path / "job.json").read_text())["format"] == 1


def test_jobs_of_older_and_newer_versions_are_read() -> None:
    oldest = {"run_id": "r", "task_id": "t", "worker_id": "w", "claimed_at": 2.0}
    assert Job.from_record(oldest) == Job("r", "t", "w", 2.0, boot="")
    newer = {**JOB.to_record(), "format": 9, "container": {"image": "x"}}
    assert Job.from_record(newer) == JOB
    assert Job.from_record({"format": 1}) is None
    assert Job.from_record([]) is None


def test_a_folder_has_one_runner(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, JOB)
    assert not folder.held
    lock = folder.hold()
    assert lock is not None
    assert RunFolder(folder.path).held
    assert folder.hold() is None
    os.close(lock)
    assert not folder.held


def test_a_folder_that_is_gone_has_none(tmp_path: Path) -> None:
    assert not RunFolder(tmp_path / "gone").held


def test_nothing_in_a_job_is_lost_on_disk(tmp_path: Path) -> None:
    job = attrs.evolve(JOB, queued_at=0.5, visible_devices="0,1", may_start_from=("queued", "created"))
    assert RunFolder.create(tmp_path, job).job() == job
