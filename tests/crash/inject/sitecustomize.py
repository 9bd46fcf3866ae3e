"""Kills the agent at a chosen moment, from the inside and without a hook in the agent's own code.

Python imports this file by itself in every interpreter whose PYTHONPATH names its folder. It does nothing but in the
agent's processes of a test (``CRASH_DIR`` says which): daemon, nursery, runner, ``execute``. There it wraps the few
functions of the standard library with which the agent writes things down, and the one with which it calls the server.
Each use becomes an *event* such as ``replace runs/RUN/state.json=running``, which is

- traced: a line ``role<TAB>event`` in ``CRASH_DIR/trace``, once as ``before`` and once as ``after``;
- compared with ``CRASH_DIR/armed.json``; when it is the one, processes are killed with SIGKILL, once per arming.
"""

from __future__ import annotations

import os
import sys

if "CRASH_DIR" in os.environ and any("clearml_agent_clone" in word for word in sys.orig_argv):
    import importlib

    importlib.import_module("injector").install()
