"""A pipeline of three steps, run by a controller that waits in a queue of its own."""

import os

from clearml import PipelineController


def load(count: str) -> list[int]:
    print(f"loading {count}")
    return list(range(int(count)))


def square(numbers: list[int]) -> list[int]:
    return [number * number for number in numbers]


def total(squares: list[int]) -> int:
    print(f"the total is {sum(squares)}")
    return sum(squares)


pipe = PipelineController(name="three steps", project="flows", version="1.0", pool_frequency=0.02)
pipe.add_parameter("count", default=4)
pipe.set_default_execution_queue(os.environ["FLOW_QUEUE"])
pipe.add_function_step(
    "load", load, function_kwargs={"count": "${pipeline.count}"}, function_return=["numbers"], packages=["clearml"]
)
pipe.add_function_step(
    "square", square, function_kwargs={"numbers": "${load.numbers}"}, function_return=["squares"], packages=["clearml"]
)
pipe.add_function_step(
    "total", total, function_kwargs={"squares": "${square.squares}"}, function_return=["sum"], packages=["clearml"]
)
print(f"TASK {pipe.id}", flush=True)
pipe.start(queue=os.environ["FLOW_SERVICES"])
print("pipeline done")
