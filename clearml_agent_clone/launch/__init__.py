"""Where the user's code runs: the command line, its environment variables, and the start of the process.

``plan`` decides without side effects, ``local`` starts on this machine. Containers become further backends that take
the same ``LaunchPlan``.
"""
