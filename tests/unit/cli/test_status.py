from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearml_agent_clone.__main__ import main
from clearml_agent_clone.worker.sight.sight import Sight
from tests.helpers.sight_tools import healthy, make_worker


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLEARML_CONFIG_FILE", raising=False)
    monkeypatch.setenv("CLEARML_AGENT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_no_agent_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    assert "No agent is running here" in capsys.readouterr().out
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["agents"] == []


def test_a_healthy_agent_is_exit_code_0(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_worker(state_dir, "host:0")
    with Sight(folder, state_dir, healthy, str):
        assert main(["status"]) == 0
        assert "host:0: working" in capsys.readouterr().out
        assert main(["status", "--json", "host:0"]) == 0
        assert json.loads(capsys.readouterr().out)["healthy"] is True
        assert main(["status", "hots:0"]) == 1
        told = capsys.readouterr()
    assert told.err == f'clearml_agent: ERROR: there is no agent hots:0 in {state_dir}. Did you mean "host:0"?\n'
    assert told.out == ""


def test_a_broken_configuration_does_not_matter(
    state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_worker(state_dir, "host:0")
    (tmp_path / "clearml.conf").write_text("api { \n")
    with Sight(folder, state_dir, healthy, str):
        assert main(["status"]) == 0
    assert "host:0: working" in capsys.readouterr().out
