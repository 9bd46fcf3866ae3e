"""Prints as JSON what the SDK reads back of the task named by argument 1."""

import json
import sys
from pathlib import Path
from typing import Any

from clearml import StorageManager, Task

task: Task = Task.get_task(task_id=sys.argv[1])


def content(name: str) -> object:
    local = Path(task.artifacts[name].get_local_copy(extract_archive=True))
    if local.is_dir():
        return {str(path.relative_to(local)): path.read_bytes().hex() for path in local.rglob("*") if path.is_file()}
    return local.read_bytes().hex()


def sample(event: dict[str, Any]) -> dict[str, Any]:
    local = StorageManager.get_local_copy(event["url"]) or "nothing"
    return {"iter": event["iter"], "bytes": Path(local).read_bytes().hex()}


model = task.models["output"][0]
found = {
    "scalars": task.get_reported_scalars(),
    "thinned": task.get_reported_scalars(max_samples=5),
    "by_time": task.get_reported_scalars(x_axis="iso_time"),
    "all": task.get_all_reported_scalars(),
    "single": task.get_reported_single_values(),
    "one": task.get_reported_single_value("final"),
    "last": task.get_last_scalar_metrics(),
    "iteration": task.get_last_iteration(),
    "plots": task.get_reported_plots(),
    "more_plots": len(task.get_reported_plots(max_iterations=10)),
    "console": task.get_reported_console_output(number_of_reports=100),
    "last_report": task.get_reported_console_output(),
    "samples": [sample(event) for event in task.get_debug_samples("pictures", "one")],
    "last_sample": [sample(event) for event in task.get_debug_samples("pictures", "one", n_last_iterations=1)],
    "media": [sample(event) for event in task.get_debug_samples("pages", "html")],
    "dictionary": task.artifacts["dictionary"].get(),
    "text": task.artifacts["text"].get(),
    "file": content("file with space"),
    "folder": content("folder"),
    "urls": {name: artifact.url for name, artifact in task.artifacts.items()},
    "model": Path(model.get_local_copy()).read_bytes().hex(),
    "model_url": model.url,
    "events": len(task._get_all_events(batch_size=7)),
}
print("READ " + json.dumps(found))
