"""Reads a finished task back as users do, and prints it as JSON."""

import json
import sys
from pathlib import Path

from clearml import Task

task: Task = Task.get_task(task_id=sys.argv[1])
models = task.models["output"]
print(
    "READ "
    + json.dumps(
        {
            "status": task.get_status(),
            "parameters": task.get_parameters(),
            "scalars": task.get_reported_scalars(),
            "single": task.get_reported_single_values(),
            "plots": [plot["metric"] for plot in task.get_reported_plots()],
            "artifacts": {name: artifact.get() for name, artifact in task.artifacts.items()},
            "models": {model.name: Path(model.get_local_copy()).read_text() for model in models},
            "console": "".join(task.get_reported_console_output(number_of_reports=100)),
        }
    )
)
