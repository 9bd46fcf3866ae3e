"""A process of the store is killed at each of its steps; the next one gets a whole environment and leaves no remains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import json, os, shutil, signal, sys
from pathlib import Path
from clearml_agent_clone.environment.store import Meta, Store
from clearml_agent_clone.environment.upkeep import Bounds

STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.utime", "fcntl.flock"}

class Quiet:
    def say(self, text): pass
    def write(self, data): pass

def make(env):
    (env / "lib").mkdir(parents=True)
    (env / "lib" / "module.py").write_text("good")
    (env / "done").write_text("yes")
    return Meta("k", ("six==1",), "uv", "/python")

def life(store):
    '''Build, leave it clean, find it again, spoil it, have it removed, build once more, evict.'''
    lease, _ = store.build("k", make, Quiet())
    lease.release()
    lease = store.lease("k")
    (lease.env / "lib" / "module.py").write_text("poison")
    lease.release()
    lease, _ = store.build("k", make, Quiet())
    lease.release()
    other, _ = store.build("other", make, Quiet())
    other.release()
    for folder in store.folders():
        os.utime(folder / "lease", (1, 1))
    store.evict()

def arm(number):
    left = [number]
    def step(event, _):
        if event in STEPS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(step)

root = Path(sys.argv[1])
bad, number = [], 0
while True:
    number += 1
    shutil.rmtree(root, ignore_errors=True)
    store = Store(root, Bounds(entries=1))
    child = os.fork()
    if child == 0:
        arm(number)
        life(store)
        os._exit(7)
    _, status = os.waitpid(child, 0)
    lease, _ = store.build("k", make, Quiet())
    whole = (lease.env / "lib" / "module.py").read_text() == "good" and (lease.env / "done").read_text() == "yes"
    lease.release()
    store.sweep()
    left = sorted(path.name for path in root.iterdir() if path != lease.folder)
    expected = {"k.lock", "other.lock", "compared.json"} | {f.name for f in store.folders("other")}
    if not whole or not set(left) <= expected or not lease.folder.is_dir():
        bad.append([number, whole, left])
    if os.WIFEXITED(status):
        break
print(json.dumps({"steps": number, "code": os.WEXITSTATUS(status), "bad": bad}))
"""


def test_a_process_of_the_store_may_be_killed_at_any_step(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", _PROGRAM, str(tmp_path / "store")]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["code"] == 7, done.stderr
    assert found["bad"] == []
    assert found["steps"] > 40
