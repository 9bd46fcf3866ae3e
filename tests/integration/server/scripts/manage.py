"""Records a task with the real SDK, then finds, copies, queues, moves, publishes and deletes tasks with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearml import Dataset, Model, OutputModel, Task
from clearml.backend_api.session.client import APIClient

task: Any = Task.init(project_name="one/two", task_name="train it", tags=["x"], output_uri=True)
task.connect({"lr": 0.1, "layers": [1, 2], "name": "abc"})
task.connect_configuration({"a": {"b": 1}}, name="extra")
task.set_user_properties(owner="me", n=3)
task.set_parameter("General/new", 5)
task.add_tags(["y"])
task.set_comment("hello")
task.upload_artifact("result", {"ok": True})
Path("weights.bin").write_bytes(b"1234")
model = OutputModel(task=task, name="weights", framework="PyTorch")
model.update_weights("weights.bin", auto_delete_file=False)
model.set_metadata("k", "v", "str")
task.get_logger().report_single_value("accuracy", 0.5)
task.set_progress(50)
task.flush(wait_for_uploads=True)
key = task.id
task.mark_completed()
task.close()

task = Task.get_task(task_id=key)
assert task.get_status() == "completed"
assert sorted(task.get_tags()) == ["x", "y"]
assert task.comment == "hello"
parameters: Any = task.get_parameters()
assert {name: parameters[name] for name in ("General/lr", "General/new", "properties/owner")} == {
    "General/lr": "0.1",
    "General/new": "5",
    "properties/owner": "me",
}
assert task.artifacts["result"].get() == {"ok": True}
assert task.get_configuration_object_as_dict("extra") == {"a": {"b": 1}}
assert Path(task.models["output"][0].get_local_copy()).read_bytes() == b"1234"

listed: Any = Task.get_tasks(project_name="one/two", task_name="train it")
assert [one.id for one in listed] == [key]
assert Task.query_tasks(project_name="one/two", tags=["__$all", "x", "y"]) == [key]
assert Task.query_tasks(project_name="one/two", tags=["__$all", "x", "__$not", "y"]) == []
assert Task.query_tasks(task_filter={"status": ["completed"], "order_by": ["-last_update"]}) == [key]
found: Any = Model.query_models(project_name="one/two", model_name="weights", metadata={"k": "v"})
assert [one.id for one in found] == [task.models["output"][0].id]

copy: Any = Task.clone(source_task=task, name="copied", parent=task.id)
assert copy.get_status() == "created"
copy.set_parameters({"General/lr": 7})
assert copy.get_parameters()["General/lr"] == "7"
Task.enqueue(copy, queue_name="default")
assert copy.get_status() == "queued"
Task.dequeue(copy)
assert copy.get_status() == "created"
copy.mark_started(force=True)
copy.mark_failed(force=True, status_reason="why", status_message="what")
assert copy.get_status() == "failed"
copy.reset(force=True)
assert copy.get_status() == "created"
copy.set_archived(True)
assert copy.get_archived()
copy.move_to_project(new_project_name="one/other")
assert copy.get_project_name() == "one/other"
assert Task.get_project_id("one/other") == copy.project
task.publish()
task.reload()
assert task.get_status() == "published"
copy.delete()
assert Task.query_tasks(task_name="copied") == []

client = APIClient()
client.queues.create(name="another")
assert [queue.name for queue in client.queues.get_all()] == ["default", "another"]
assert [one.status.value for one in client.tasks.get_all(project=[task.project])] == ["published"]
assert list(client.workers.get_all()) == []

dataset = Dataset.create(dataset_project="data", dataset_name="numbers")
dataset.add_files("weights.bin")
dataset.upload()
dataset.finalize()
assert Dataset.get(dataset_project="data", dataset_name="numbers").list_files() == ["weights.bin"]
assert [one["name"] for one in Dataset.list_datasets()] == ["numbers"]
print("all is well")
