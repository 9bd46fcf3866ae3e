"""A training script as users write them: arguments, parameters, scalars, a plot, an artifact, a model."""

import argparse
import math
import os
from pathlib import Path
from typing import Any

from clearml import OutputModel, Task

task: Task = Task.init(project_name="flows", task_name="train", output_uri=True, auto_resource_monitoring=False)

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--name", default="first run")
arguments = parser.parse_args()

parameters: dict[str, Any] = {"rate": 0.1, "layers": [8, 4], "shuffle": True}
task.connect(parameters)
schedule = task.connect_configuration({"warmup": 5}, name="schedule")
assert isinstance(schedule, dict)

print(f"epochs={arguments.epochs!r} name={arguments.name!r}")
print(f"rate={parameters['rate']!r} layers={parameters['layers']!r} shuffle={parameters['shuffle']!r}")
print(f"warmup={schedule['warmup']!r}")
print(f"from the environment: {os.environ.get('FLOW_COLOUR', 'none')}")

logger = task.get_logger()
for epoch in range(arguments.epochs):
    logger.report_scalar("loss", "train", value=math.exp(-epoch * parameters["rate"]), iteration=epoch)
logger.report_single_value("accuracy", 0.75)
logger.report_scatter2d("curve", "roc", scatter=[(0, 0), (0.5, 0.8), (1, 1)], iteration=0, xaxis="fpr", yaxis="tpr")

task.upload_artifact("summary", artifact_object={"epochs": arguments.epochs, "rate": parameters["rate"]})
weights = Path(f"weights-{os.getpid()}.txt")
weights.write_text(f"weights after {arguments.epochs} epochs\n")
model = OutputModel(task=task, name="tiny", framework="custom")
model.update_weights(weights_filename=str(weights), auto_delete_file=True)

print(f"TASK {task.id}")
