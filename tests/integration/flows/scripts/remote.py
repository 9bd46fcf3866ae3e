"""Starts here, goes on at a worker."""

import os
import sys

from clearml import Task

task: Task = Task.init(project_name="flows", task_name="goes remote", auto_resource_monitoring=False)
settings = {"steps": 2}
task.connect(settings)
print(f"TASK {task.id}", flush=True)
task.execute_remotely(queue_name=os.environ["FLOW_QUEUE"], exit_process=True)

print(f"running remotely: {not task.running_locally()}, steps={settings['steps']}")
sys.exit(int(settings["steps"]) - 2)
