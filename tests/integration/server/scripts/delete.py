"""Deletes the task named by argument 1 with its artifacts, models and samples."""

import sys

from clearml import Task

task: Task = Task.get_task(task_id=sys.argv[1])
assert task.delete(delete_artifacts_and_models=True, raise_on_error=True)
