"""Everything that the SDK reports, read back by the SDK."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import attrs
import pytest

pytestmark = [pytest.mark.sdk, pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPTS = Path(__file__).parent / "scripts"
NAME = "hostile \"name\" <script>alert(1)</script> 100% %41 ü / 'q' {a} & + #x?y=1"


def png() -> bytes:
    """One white pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0])
    body = zlib.compress(b"\0\xff\xff\xff")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@attrs.frozen
class Reported:
    """A task as the SDK left it: what the first script printed and what the second one read."""

    task: str
    page: str
    home: Path
    read: dict[str, Any]

    @property
    def folder(self) -> Path:
        """What was uploaded."""
        return self.home / "upload"


def run(script: str, *arguments: str, server: Any, home: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
    conf, copy = home / "clearml.conf", home / script
    # Reporting in a thread saves seconds whenever a script ends.
    conf.write_text(server.conf.read_text() + "sdk.development.report_use_subprocess: false\n")
    # In a folder of its own: the SDK reads every file of the repository that its script lies in.
    copy.write_text((SCRIPTS / script).read_text())
    environ |= {"CLEARML_CONFIG_FILE": str(conf), "HOME": str(home), "CLEARML_CACHE_DIR": str(home / "cache")}
    result = subprocess.run(
        [sys.executable, str(copy), *arguments],
        cwd=home,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def reported(shared_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    home = tmp_path_factory.mktemp("home")
    folder = home / "upload"
    (folder / "sub").mkdir(parents=True)
    (folder / "image.png").write_bytes(png())
    (folder / "page.html").write_text("<script>alert(1)</script>")
    (folder / "data.bin").write_bytes(bytes(range(256)) * 5000)
    (folder / "sub/ünï.txt").write_text("x")
    printed = run("report.py", str(folder), NAME, server=shared_server, home=home)
    task, page = (re.search(rf"^{word} (\S+)$", printed, re.MULTILINE) for word in ("TASK", "PAGE"))
    assert task, printed
    assert page, printed
    output = run("read.py", task[1], server=shared_server, home=home)
    line = next(line for line in output.splitlines() if line.startswith("READ "))
    return Reported(task[1], page[1], home, json.loads(line.removeprefix("READ ")))


def test_scalars(reported: Reported) -> None:
    train, val = reported.read["scalars"]["loss"]["train"], reported.read["scalars"]["loss"]["val <b>"]
    assert train == {"name": "train", "x": list(range(20)), "y": [1 / (number + 1) for number in range(20)]}
    assert val["y"] == list(range(20))
    assert "Summary" not in reported.read["scalars"]
    assert reported.read["thinned"]["loss"]["val <b>"]["y"] == [1.5, 5.5, 9.5, 13.5, 17.5]
    assert all(re.match(r"20\d\d-.*Z$", x) for x in reported.read["by_time"]["loss"]["train"]["x"])
    assert reported.read["all"]["loss"]["train"]["y"] == train["y"]
    assert reported.read["last"]["loss"] == {
        "train": {"last": 1 / 20, "min": 1 / 20, "max": 1.0},
        "val <b>": {"last": 19.0, "min": 0.0, "max": 19.0},
    }
    assert reported.read["iteration"] == 19


def test_single_values(reported: Reported) -> None:
    assert reported.read["single"] == {"final": 0.5}
    assert reported.read["one"] == 0.5


def test_plots(reported: Reported) -> None:
    plots = {(plot["metric"], plot["variant"]): plot for plot in reported.read["plots"]}
    assert plots["histogram", "h"]["iter"] == 2
    assert json.loads(plots["histogram", "h"]["plot_str"])["data"][0]["y"] == [1, 2, 2]
    assert ("table", "t") in plots
    assert reported.read["more_plots"] == len(plots) + 2


def test_console(reported: Reported) -> None:
    console = "\n".join(reported.read["console"])
    assert (
        console.index("created new task") < console.index("first line of text") < console.index("printed \x1b[31mred")
    )
    assert reported.read["last_report"] == reported.read["console"][-1:]


def test_debug_samples(reported: Reported) -> None:
    expected = [{"iter": number, "bytes": png().hex()} for number in (2, 1, 0)]
    assert reported.read["samples"] == expected
    assert reported.read["last_sample"] == expected[:1]
    assert [bytes.fromhex(one["bytes"]) for one in reported.read["media"]] == [b"<script>alert(1)</script>"]


def test_artifacts(reported: Reported, shared_server: Any) -> None:
    assert reported.read["dictionary"] == {"a": 1, "b": [True, None, "ü"]}
    assert reported.read["text"] == "some text"
    assert reported.read["file"] == (reported.folder / "data.bin").read_bytes().hex()
    assert reported.read["folder"] == {
        str(path.relative_to(reported.folder)): path.read_bytes().hex()
        for path in reported.folder.rglob("*")
        if path.is_file()
    }
    assert all(url.startswith(shared_server.files_url) for url in reported.read["urls"].values())


def test_model(reported: Reported, shared_server: Any) -> None:
    assert reported.read["model_url"].startswith(shared_server.files_url)
    assert reported.read["model"] == (reported.folder / "data.bin").read_bytes().hex()


def test_model_scalars(reported: Reported, shared_server: Any) -> None:
    task = shared_server.call("tasks.get_by_id", task=reported.task)["task"]
    (output,) = task["models"]["output"]
    found = shared_server.call("events.scalar_metrics_iter_histogram", task=output["model"], model_events=True)
    assert found == {"model loss": {"v": {"name": "v", "x": [1], "y": [3.0]}}}
    single = shared_server.call("events.get_task_single_value_metrics", tasks=[output["model"]], model_events=True)
    assert single["tasks"][0]["values"][0]["value"] == 7.0


def test_events_without_type(reported: Reported, shared_server: Any) -> None:
    assert reported.read["events"] == shared_server.call("events.get_task_events", task=reported.task)["total"]


def test_the_printed_page(reported: Reported, shared_server: Any) -> None:
    assert reported.page.startswith(shared_server.web_url)
    answer = shared_server.http.get(reported.page)
    assert answer.status_code == 200
    for shown in (
        html.escape(NAME, quote=True),
        "events/sdk",
        "completed",
        "first line of text",
        "loss",
        "dictionary",
        "a model",
    ):
        assert shown in answer.text
    assert "<script>" not in answer.text
    links = re.findall(r'href="(http[^"]+)"', answer.text)
    assert len(links) >= 4
    token = shared_server.call("auth.login")["token"]
    for link in links:
        with shared_server.http.get(html.unescape(link), headers={"Cookie": f"clearml_token_basic={token}"}) as file:
            assert file.status_code == 200


def test_deleting_takes_everything_along(reported: Reported, shared_server: Any) -> None:
    """The last test of this file, as nothing is left after it."""
    files = shared_server.state.config.files_dir / "events"
    assert len([path for path in files.rglob("*") if path.is_file()]) > 5
    run("delete.py", reported.task, server=shared_server, home=reported.home)
    assert shared_server.failure("tasks.get_by_id", task=reported.task) == (400, 101)
    with shared_server.state.db.read() as db:
        for table in ("log_events", "point_events"):
            assert db.execute(f"SELECT COUNT(*) FROM {table} WHERE owner = ?", (reported.task,)).fetchone() == (0,)
    assert [path for path in files.rglob("*") if path.is_file()] == []
