"""A drop-in replacement for the ClearML agent.

Nothing is imported here on purpose: ``clearml-agent --help`` must not pay for the agent.
"""

__version__ = "0.1.0"
