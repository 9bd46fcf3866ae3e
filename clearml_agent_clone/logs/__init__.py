"""A task's console on its way from the user's process to the server: spool → fold → redact → ship.

``Spool`` is the file that the user's process writes to, ``Shipper`` carries it to the server, ``Echo`` to a terminal.
``Redactor`` masks secrets in all that is shown. ``docs/logs.md`` tells what is promised and how it is kept.
"""

from clearml_agent_clone.logs.arrival import arrived_by
from clearml_agent_clone.logs.echo import Echo, Screen
from clearml_agent_clone.logs.fold import Fold
from clearml_agent_clone.logs.redact import MASK, RedactedStream, Redactor
from clearml_agent_clone.logs.shipper import Delivery, Shipper
from clearml_agent_clone.logs.spool import Spool

__all__ = ["MASK", "Delivery", "Echo", "Fold", "RedactedStream", "Redactor", "Screen", "Shipper", "Spool", "arrived_by"]
