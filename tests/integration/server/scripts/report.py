"""Reports one of everything with the SDK; argument 1 is a folder to upload, 2 the task's name."""

import sys
from pathlib import Path

from clearml import OutputModel, Task

folder, name = Path(sys.argv[1]), sys.argv[2]
task: Task = Task.init(
    "events/sdk", name, output_uri=True, auto_connect_frameworks=False, auto_resource_monitoring=False
)
logger = task.get_logger()
for number in range(20):
    logger.report_scalar("loss", "train", 1 / (number + 1), number)
    logger.report_scalar("loss", "val <b>", number, number)
logger.report_single_value("final", 0.25)
logger.report_single_value("final", 0.5)
logger.report_text("first line of text")
print("printed \x1b[31mred\x1b[0m <script>")
for number in range(3):
    logger.report_histogram("histogram", "h", values=[1, 2, number], iteration=number)
logger.report_table("table", "t", iteration=0, table_plot=[["a", "b"], [1, 2]])
image = folder / "image.png"
for number in range(3):
    logger.report_image("pictures", "one", iteration=number, local_path=str(image))
logger.report_media("pages", "html", iteration=0, local_path=str(folder / "page.html"))
task.upload_artifact("dictionary", {"a": 1, "b": [True, None, "ü"]}, wait_on_upload=True)
task.upload_artifact("file with space", str(folder / "data.bin"), wait_on_upload=True)
task.upload_artifact("folder", str(folder), wait_on_upload=True)
task.upload_artifact("text", "some text", wait_on_upload=True)
model = OutputModel(task, name="a model", framework="custom")
model.update_weights(str(folder / "data.bin"), async_enable=False)
model.report_scalar("model loss", "v", 3.0, 1)
model.report_single_value("size", 7)
print("PAGE", task.get_output_log_web_page())
print("TASK", task.id)
task.close()
