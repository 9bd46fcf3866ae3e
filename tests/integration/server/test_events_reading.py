"""Events over HTTP: reading them back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from clearml_agent_clone.server.documents import PROJECTS, TASKS

Report = Callable[..., str]
SINGLE = -(2**31)


@pytest.fixture
def report(shared_server: Any) -> Report:
    """Makes a task, reports the events for it, returns its id."""

    def reported(*events: dict[str, Any], name: str = "a task", project: str = "") -> str:
        task = uuid.uuid4().hex
        with shared_server.state.db.write() as db:
            TASKS.insert(db, {"id": task, "name": name, "status": "in_progress", "project": project})
        lines = "\n".join(json.dumps({"task": task, **event}) for event in events)
        url, headers = f"{shared_server.api_url}/events.add_batch", {"Content-Type": "application/json-lines"}
        answer = shared_server.http.post(url, data=lines, headers=headers)
        assert not events or (answer.status_code == 200 and answer.json()["data"]["errors"] == 0)
        return task

    return reported


def logs(times: list[int]) -> list[dict[str, Any]]:
    return [{"type": "log", "msg": str(number), "timestamp": time} for number, time in enumerate(times)]


def scalar(metric: str, variant: str, iteration: int, value: float, time: int = 0) -> dict[str, Any]:
    event = {"type": "training_stats_scalar", "metric": metric, "variant": variant, "iter": iteration, "value": value}
    return {**event, "timestamp": time or 1_700_000_000_000 + iteration}


def sample(kind: str, metric: str, variant: str, iteration: int) -> dict[str, Any]:
    content = {"plot_str": f'{{"i": {iteration}}}'} if kind == "plot" else {"url": f"http://f/{iteration}", "key": "k"}
    return {
        "type": kind,
        "metric": metric,
        "variant": variant,
        "iter": iteration,
        "timestamp": iteration + 1,
        **content,
    }


def msgs(reply: dict[str, Any]) -> list[str]:
    assert reply["returned"] == len(reply["events"])
    return [event["msg"] for event in reply["events"]]


def test_log_newest_first(shared_server: Any, report: Report) -> None:
    task = report(*logs([10, 20, 30, 30, 40]))
    assert msgs(shared_server.call("events.get_task_log", task=task)) == ["4", "3", "2", "1", "0"]
    assert msgs(shared_server.call("events.get_task_log", task=task, order="asc")) == ["0", "1", "2", "3", "4"]


def test_log_from_the_start(shared_server: Any, report: Report) -> None:
    task = report(*logs([10, 20, 30]))
    ask = {"task": task, "navigate_earlier": False, "batch_size": 2}
    assert msgs(shared_server.call("events.get_task_log", **ask)) == ["0", "1"]
    assert msgs(shared_server.call("events.get_task_log", **ask, order="desc")) == ["1", "0"]
    assert msgs(shared_server.call("events.get_task_log", **ask, from_timestamp=20)) == ["2"]
    assert msgs(shared_server.call("events.get_task_log", **ask, from_timestamp=30)) == []


@pytest.mark.parametrize("earlier", [True, False])
def test_log_pages_hold_every_line_once(shared_server: Any, report: Report, earlier: bool) -> None:
    times = [1, 5, 5, 5, 5, 7, 8, 8, 9, 9, 9, 12]
    task = report(*logs(times))
    seen: list[str] = []
    start: int | None = None
    while True:
        body = {"task": task, "batch_size": 2, "navigate_earlier": earlier, "from_timestamp": start}
        reply = shared_server.call("events.get_task_log", **body)
        assert reply["total"] == len(times)
        if not reply["events"]:
            break
        seen += msgs(reply)
        start = reply["events"][-1]["timestamp"]
    expected = [str(number) for number in range(len(times))]
    assert seen == (expected[::-1] if earlier else expected)


def test_lines_of_one_time_stay_in_the_order_of_arrival(shared_server: Any, report: Report) -> None:
    task = report(*logs([7] * 50))
    reply = shared_server.call("events.get_task_log", task=task, batch_size=3, order="asc")
    assert msgs(reply) == [str(number) for number in range(50)]


@pytest.mark.parametrize(
    ("version", "options", "expected"),
    [
        ("v1.5", {}, ["4", "3", "2", "1", "0"]),
        ("v1.5", {"order": "asc"}, ["0", "1", "2", "3", "4"]),
        ("v2.5", {"order": "asc"}, ["0", "1", "2", "3", "4"]),
        ("v2.5", {"order": "desc", "from": "tail"}, ["4", "3", "2", "1", "0"]),
        ("v2.5", {"order": "asc", "from": "tail"}, ["3", "4", "1", "2", "0"]),
    ],
)
def test_old_log_scrolls(
    shared_server: Any, report: Report, version: str, options: dict[str, str], expected: list[str]
) -> None:
    task = report(*logs([10, 20, 30, 30, 40]))
    seen: list[str] = []
    scroll = None
    while True:
        body = {"task": task, "batch_size": 2, "scroll_id": scroll, **options}
        reply = shared_server.call(f"{version}/events.get_task_log", **body)
        if not reply["events"]:
            break
        seen += msgs(reply)
        scroll = reply["scroll_id"]
    assert seen == expected


def test_log_by_metric(shared_server: Any, report: Report) -> None:
    task = report({"type": "log", "msg": "a", "metric": "m"}, {"type": "log", "msg": "b"})
    assert msgs(shared_server.call("events.get_task_log", task=task, metrics=[{"metric": "m"}])) == ["a"]


def test_download(shared_server: Any, report: Report) -> None:
    events = [{**event, "level": "INFO", "worker": "w"} for event in logs([1_700_000_000_000, 1_700_000_000_001])]
    task = report(*events)
    answer = shared_server.raw("events.download_task_log", {"task": task, "line_type": "text"})
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"] == f'attachment; filename="task_{task}.log"'
    assert answer.text == "2023-11-14T22:13:20.000Z w INFO 0\n2023-11-14T22:13:20.001Z w INFO 1\n"
    ask = {"task": task, "line_type": "text", "line_format": "{{{level}}}: {msg}"}
    assert shared_server.raw("events.download_task_log", ask).text == "{INFO}: 0\n{INFO}: 1\n"
    lines = shared_server.raw("events.download_task_log", {"task": task}).text.splitlines()
    assert [json.loads(line)["asctime"] for line in lines] == [1_700_000_000_000, 1_700_000_000_001]


@pytest.mark.parametrize("line_format", ["{secret}", "{msg.__class__}", "{msg!r}", "{msg:>99999999}", "{", "{0}", "{}"])
def test_download_takes_plain_placeholders_only(shared_server: Any, report: Report, line_format: str) -> None:
    ask = {"task": report(*logs([1])), "line_type": "text", "line_format": line_format}
    assert shared_server.failure("events.download_task_log", **ask) == (400, 12)


def test_clearing_the_log(shared_server: Any, report: Report) -> None:
    task = report({"type": "log", "msg": "old", "timestamp": 5}, {"type": "log", "msg": "new"})
    assert shared_server.call("events.clear_task_log", task=task, threshold_sec=3600) == {"deleted": 1}
    assert msgs(shared_server.call("events.get_task_log", task=task)) == ["new"]
    assert shared_server.call("events.clear_task_log", task=task, exclude_metrics=[""]) == {"deleted": 0}
    assert shared_server.call("events.clear_task_log", task=task) == {"deleted": 1}


@pytest.mark.parametrize(("order", "kind"), [("asc", None), ("desc", None), ("asc", "log"), ("desc", "plot")])
def test_events_page_by_page(shared_server: Any, report: Report, order: str, kind: str | None) -> None:
    times = [3, 1, 2, 2, 2]
    points = [{"type": "plot", "metric": "m", "iter": n, "timestamp": time} for n, time in enumerate(times)]
    task = report(*logs(times), *points)
    body: dict[str, Any] = {"task": task, "order": order, "event_type": kind, "batch_size": 2}
    whole = shared_server.call("events.get_task_events", **{**body, "batch_size": 100})["events"]
    expected = [event["timestamp"] for event in whole]
    assert expected == sorted(expected, reverse=order == "desc")
    assert len(whole) == (5 if kind else 10)
    seen: list[Any] = []
    while True:
        reply = shared_server.call("events.get_task_events", **body)
        assert reply["total"] == len(whole)
        if not reply["events"]:
            break
        seen += reply["events"]
        body["scroll_id"] = reply["scroll_id"]
    assert seen == whole
    assert shared_server.call("v2.18/events.clear_scroll", scroll_id=body["scroll_id"]) == {}


def test_foreign_scroll_ids(shared_server: Any, report: Report) -> None:
    one, two = report(*logs([1])), report(*logs([1]))
    scroll = shared_server.call("events.get_task_events", task=one)["scroll_id"]
    for bad in (scroll, "junk", "bnVsbA==", "W10="):
        assert shared_server.failure("events.get_task_events", task=two, scroll_id=bad) == (400, 1104)


def test_curves(shared_server: Any, report: Report) -> None:
    task = report(
        scalar("loss", "train", 1, 0.5),
        scalar("loss", "train", 0, 1.0),
        scalar("acc", "val", 0, 0.25),
        scalar("Summary", "final", SINGLE, 7),
    )
    assert shared_server.call("events.scalar_metrics_iter_histogram", task=task) == {
        "acc": {"val": {"name": "val", "x": [0], "y": [0.25]}},
        "loss": {"train": {"name": "train", "x": [0, 1], "y": [1.0, 0.5]}},
    }
    ask: dict[str, Any] = {"task": task, "metrics": [{"metric": "acc"}], "key": "iso_time"}
    found = shared_server.call("events.scalar_metrics_iter_histogram", **ask)
    assert found == {"acc": {"val": {"name": "val", "x": ["2023-11-14T22:13:20.000Z"], "y": [0.25]}}}
    assert shared_server.failure("events.scalar_metrics_iter_histogram", task=task, key="hour") == (400, 12)
    assert shared_server.failure("events.scalar_metrics_iter_histogram", task="f" * 32) == (400, 101)


def test_curves_are_thinned(shared_server: Any, report: Report) -> None:
    task = report(*(scalar("m", "v", number, number) for number in range(100)))
    found = shared_server.call("events.scalar_metrics_iter_histogram", task=task, samples=10)["m"]["v"]
    assert found["x"] == list(range(0, 100, 10))
    assert found["y"] == [pytest.approx(start + 4.5) for start in range(0, 100, 10)]


def test_curves_of_several_tasks(shared_server: Any, report: Report) -> None:
    one, two = report(scalar("m", "v", 0, 1), name="one"), report(scalar("m", "v", 0, 2), name="two")
    found = shared_server.call("events.multi_task_scalar_metrics_iter_histogram", tasks=[one, two])
    assert found == {
        "metrics": {
            "m": {"v": {one: {"name": "one", "x": [0], "y": [1.0]}, two: {"name": "two", "x": [0], "y": [2.0]}}}
        }
    }
    assert shared_server.failure("events.multi_task_scalar_metrics_iter_histogram", tasks=[]) == (400, 12)
    many = [uuid.uuid4().hex for _ in range(101)]
    assert shared_server.failure("events.multi_task_scalar_metrics_iter_histogram", tasks=many) == (400, 12)


def test_raw_points(shared_server: Any, report: Report) -> None:
    events = [scalar("m", variant, number, number) for number in range(5) for variant in "ab"]
    task = report(*events, scalar("m", "a", SINGLE, 9), scalar("other", "a", 0, 0))
    body: dict[str, Any] = {"task": task, "metric": {"metric": "m"}, "batch_size": 3, "count_total": True}
    seen: dict[str, list[tuple[int, float]]] = {}
    while True:
        reply = shared_server.call("events.scalar_metrics_iter_raw", **body)
        assert reply["total"] == 11
        if not reply["returned"]:
            break
        for variant, curve in reply["variants"].items():
            seen.setdefault(variant, []).extend(zip(curve["iter"], curve["y"], strict=True))
        body["scroll_id"] = reply["scroll_id"]
    assert seen == {"a": [(SINGLE, 9.0), *((n, float(n)) for n in range(5))], "b": [(n, float(n)) for n in range(5)]}
    body = {"task": task, "metric": {"metric": "m", "variants": ["b"]}}
    assert shared_server.call("events.scalar_metrics_iter_raw", **body)["total"] is None


def test_summaries(shared_server: Any, report: Report) -> None:
    task = report(
        *(scalar("m", "v", number, number, number + 1) for number in range(101)),
        scalar("Summary", "final", SINGLE, 7, 5),
        sample("plot", "p", "q", 3),
        {"type": "training_stats_vector", "metric": "w", "variant": "x", "iter": 2, "values": [1, 2]},
        {"type": "log", "msg": "x"},
        name="named",
    )
    latest = shared_server.call("events.get_task_latest_scalar_values", task=task)
    assert (latest["name"], latest["status"], latest["last_iter"], latest["last_timestamp"]) == (
        "named",
        "in_progress",
        100,
        101,
    )
    (variant,) = latest["metrics"][1]["variants"]
    assert variant == {"name": "v", "last_value": 100.0, "last_100_value": pytest.approx(50.5)}
    assert shared_server.call("events.get_task_single_value_metrics", tasks=[task]) == {
        "tasks": [
            {
                "task": task,
                "task_name": "named",
                "values": [{"metric": "Summary", "variant": "final", "value": 7.0, "timestamp": 5}],
            }
        ]
    }
    found = shared_server.call("events.get_scalar_metrics_and_variants", task=task)
    assert found == {"metrics": {"Summary": ["final"], "m": ["v"]}}
    assert shared_server.call("events.get_vector_metrics_and_variants", task=task) == {"metrics": {"w": ["x"]}}
    for kind, metrics in {"plot": ["p"], "training_stats_scalar": ["Summary", "m"], "log": [""]}.items():
        found = shared_server.call("events.get_task_metrics", tasks=[task], event_type=kind)
        assert found == {"metrics": [{"task": task, "metrics": metrics}]}
    found = shared_server.call("events.vector_metrics_iter_histogram", task=task, metric="w", variant="x")
    assert found == {"metric": "w", "variant": "x", "vectors": [[1, 2]], "iterations": [2]}


def test_plots_of_the_last_iterations(shared_server: Any, report: Report) -> None:
    events = [sample("plot", "p", "often", number) for number in range(4)]
    task = report(*events, sample("plot", "p", "once", 1), sample("plot", "other", "x", 0))
    found = shared_server.call("events.get_task_plots", task=task, iters=2)
    assert [(plot["variant"], plot["iter"]) for plot in found["plots"]] == [
        ("often", 3),
        ("often", 2),
        ("once", 1),
        ("x", 0),
    ]
    assert found["plots"][0]["plot_len"] == len('{"i": 3}')
    again = shared_server.call("events.get_task_plots", task=task, scroll_id=found["scroll_id"])
    assert again["plots"] == []
    only = shared_server.call("events.get_task_plots", task=task, metrics=[{"metric": "other"}], no_scroll=True)
    assert len(only["plots"]) == only["returned"] == 1


@pytest.mark.parametrize(
    ("endpoint", "kind"), [("events.debug_images", "training_debug_image"), ("events.plots", "plot")]
)
def test_samples_by_iteration(shared_server: Any, report: Report, endpoint: str, kind: str) -> None:
    task = report(*(sample(kind, "m", variant, number) for number in range(5) for variant in "ab"))
    ask: dict[str, Any] = {"metrics": [{"task": task, "metric": "m", "variants": ["a"]}], "iters": 2}
    pages = []
    for _ in range(4):
        reply = shared_server.call(endpoint, **ask)
        (entry,) = reply["metrics"]
        assert entry["task"] == task
        assert all(event["variant"] == "a" for one in entry["iterations"] for event in one["events"])
        pages.append([one["iter"] for one in entry["iterations"]])
        ask["scroll_id"] = reply["scroll_id"]
    assert pages == [[4, 3], [2, 1], [0], []]
    (later,) = shared_server.call(endpoint, **ask, navigate_earlier=False)["metrics"]
    assert [one["iter"] for one in later["iterations"]] == [2, 1]
    (newest,) = shared_server.call(endpoint, **ask, refresh=True)["metrics"]
    assert [one["iter"] for one in newest["iterations"]] == [4, 3]


def test_old_debug_images(shared_server: Any, report: Report) -> None:
    task = report(*(sample("training_debug_image", "m", "v", number) for number in range(3)))
    reply = shared_server.call("v2.5/events.debug_images", task=task)
    assert (reply["task"], [image["url"] for image in reply["images"]]) == (task, ["http://f/2"])


def test_metrics_of_a_project(shared_server: Any, report: Report) -> None:
    outer, inner, near = (uuid.uuid4().hex for _ in range(3))
    with shared_server.state.db.write() as db:
        for key, name in ((outer, "met%ric"), (inner, "met%ric/inner"), (near, "met%rics")):
            PROJECTS.insert(db, {"id": key, "name": name})
    one = report(scalar("loss", "train", 0, 1), scalar("acc", "a.b", 0, 1), project=outer)
    report(scalar("loss", "train", 0, 1), scalar("inner", "x", 0, 1), project=inner)
    report(scalar("near", "x", 0, 1), project=near)

    def known(**body: Any) -> list[tuple[str, str]]:
        found = shared_server.call("projects.get_unique_metric_variants", **body)["metrics"]
        return [(entry["metric"], entry["variant"]) for entry in found]

    assert known(project=outer) == [("acc", "a.b"), ("inner", "x"), ("loss", "train")]
    assert known(project=outer, include_subprojects=False) == [("acc", "a.b"), ("loss", "train")]
    assert known(ids=[one]) == [("acc", "a.b"), ("loss", "train")]
    assert ("near", "x") in known()
    assert known(model_metrics=True, project=outer) == []
    (first, *_) = shared_server.call("projects.get_unique_metric_variants", ids=[one])["metrics"]
    assert first["metric_hash"] == "1673448ee7064c989d02579c534f6b66"
    assert shared_server.failure("projects.get_unique_metric_variants", project="f" * 32) == (400, 401)
