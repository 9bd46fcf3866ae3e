"""queues.get_next_task: hand out the next task, if need be after waiting for one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields, queue_entries
from clearml_agent_clone.server.documents import QUEUES, TASKS
from clearml_agent_clone.server.faults import invalid, no_such_queue
from clearml_agent_clone.server.registry import Call, Reply, Request, endpoint
from clearml_agent_clone.server.tasks.status import change_status, status_of

Body = dict[str, Any]
LONGEST_WAIT = 60.0
CLAIM_LIFE = 3600.0
_LONGEST_CLAIM = 128


@endpoint("queues.get_next_task")
async def get_next_task(request: Request, body: Body) -> Body:
    """The next entry of ``queue``, or of the first of ``queues`` that has one; ``{}`` when there is none.

    ``wait`` (seconds) lets the answer come only when there is an entry or the time is over. ``claim``, a word the
    client chooses, makes the call safe to repeat: the same claim gets the same entry again for an hour.
    """
    queues = _queues(body)
    wait = min(fields.number(body, "wait"), LONGEST_WAIT)
    if len(fields.text(body, "claim")) > _LONGEST_CLAIM:
        raise invalid("claim", f"Value is longer than {_LONGEST_CLAIM} characters")
    if wait <= 0:
        return _data(await request.run(take, body, writes=True))
    deadline = asyncio.get_running_loop().time() + wait
    async with _hang_up(request) as gone:
        with request.state.arrivals.waiter(queues) as arrived:
            while not gone.is_set():
                arrived.clear()
                data = _data(await request.run(take, body, writes=True))
                if data:
                    return await _hand_over(request, body, data, gone)
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or request.state.arrivals.closing:
                    break
                await _first_of(arrived, gone, left)
    return {}


def take(call: Call, body: Body) -> Body:
    """Pop an entry; the plain, not waiting, half of the endpoint."""
    claim = fields.text(body, "claim")
    queues = _queues(body)
    for queue in queues:
        if not QUEUES.exists(call.db, queue):
            raise no_such_queue(queue)
    entry = (claim and _claimed(call, claim)) or _pop_first(call, queues, body)
    if not entry:
        return {}
    if claim:
        row = (claim, entry["queue"], entry["task"], entry["added"], call.now.timestamp())
        call.db.execute("INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?, ?)", row)
    extended = claim or "queues" in body or "wait" in body
    shown = entry if extended else {"task": entry["task"], "added": entry["added"]}
    data: Body = {"entry": shown}
    if fields.flag(body, "get_task_info"):
        task = TASKS.find(call.db, entry["task"], "id") or {}
        data["task_info"] = {"company": task.get("company", ""), "user": task.get("user", "")}
    return data


def _pop_first(call: Call, queues: list[str], body: Body) -> Body | None:
    only = fields.text(body, "task")
    for queue in queues:
        if only:
            waiting = queue_entries.entries(call.db, queue, 1)
            if not waiting or waiting[0]["task"] != only:
                continue
        while entry := queue_entries.pop(call, queue):
            task = TASKS.find(call.db, entry["task"], "id")
            if task is None:
                continue  # deleted while it waited: nothing that anybody could run
            if status_of(task) is TaskStatus.STOPPED:
                change_status(call, task, TaskStatus.QUEUED, force=True)
            return {**entry, "queue": queue}
    return None


def _claimed(call: Call, claim: str) -> Body | None:
    row = call.db.execute("SELECT task, added, queue FROM claims WHERE claim = ?", (claim,)).fetchone()
    return dict(zip(("task", "added", "queue"), row, strict=True)) if row else None


def undo(call: Call, body: Body) -> Body:
    """Put an entry that nobody received back to the head of its queue."""
    queue_entries.put_back(call, body["queue"], body["task"], body["added"])
    return {}


async def _hand_over(request: Request, body: Body, data: Body, gone: asyncio.Event) -> Body:
    if gone.is_set() and not fields.text(body, "claim"):
        # The caller hung up while the entry was popped for it. With a claim it can ask again; without, nobody will.
        await request.run(undo, data["entry"], writes=True)
        return {}
    return data


@contextlib.asynccontextmanager
async def _hang_up(request: Request) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client closes its connection."""
    event = asyncio.Event()

    async def watch() -> None:
        if request.gone is not None and await request.gone():
            event.set()

    watcher = asyncio.ensure_future(watch())
    try:
        yield event
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher


async def _first_of(arrived: asyncio.Event, gone: asyncio.Event, timeout: float) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in (arrived, gone)]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()


def _queues(body: Body) -> list[str]:
    queues = fields.texts(body, "queues") or [fields.required(body, "queue")]
    return list(dict.fromkeys(queues))


def _data(reply: Reply) -> Body:
    assert isinstance(reply, dict)
    return reply
