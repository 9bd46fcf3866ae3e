"""Keys of the classic agent that have no effect here. They are known, so that a file with them draws no warnings."""

from __future__ import annotations

from clearml_agent_clone.config.kinds import (
    SECONDS,
    SWITCH,
    TEXT,
    TREE,
    WHOLE,
    WORDS,
    choice,
)
from clearml_agent_clone.config.schema import Key

_SERVER = "the server announces its own"
_METER = "metering of model calls is not built in"

UNUSED_KEYS = (
    Key("api.version", TEXT, "", "Version of the API", unused=_SERVER),
    Key("api.default_version", TEXT, "1.5", "Version of the API", unused=_SERVER),
    Key("agent.log_files_buffering", WHOLE, 1, "Buffering of the daemon's log file", unused="the log is written line by line"),
    Key("agent.truncate_task_output_files", SWITCH, False, "Empty the file of a task's output after each upload", unused="what was shipped is dropped anyway"),
    Key("agent.disable_agent_update_check", SWITCH, False, "Do not ask for newer versions", unused="this agent never asks"),
    Key("agent.venv_update.enabled", SWITCH, False, "Documented for older agents", unused="no agent of today reads it"),
    Key("agent.package_manager.uv_apply_environment", SWITCH, False, "Documented only", unused="no agent reads it"),
    Key("agent.snug.enabled", SWITCH, False, "Meter a task's calls of language models", unused=_METER),
    Key("agent.snug.app_mode", TEXT, "", "Mode of the meter", unused=_METER),
    Key("agent.snug.report_usage_events", SWITCH, False, "Report usage as events", unused=_METER),
    Key("agent.snug.report_task_metrics", SWITCH, False, "Report usage as scalars of the task", unused=_METER),
    Key("agent.snug.whitelist", TREE, {}, "Hosts to meter", unused=_METER),
    Key("agent.snug.call_history", choice("off", "collect", "dump", "continuous"), "off", "Keep the calls", unused=_METER),
    Key("agent.snug.call_history_buffer", WHOLE, 50, "Calls to keep", unused=_METER),
    Key("agent.snug.call_history_cap_bytes", WHOLE, 262144, "Bytes to keep", unused=_METER),
    Key("agent.snug.poll_interval_sec", SECONDS, 10, "Pause between reports", unused=_METER),
    Key("agent.snug.default_tokenizer", TEXT, "approx", "How tokens are counted", unused=_METER),
    Key("agent.snug.debug_log", SWITCH, False, "Log what the meter does", unused=_METER),
    Key("agent.snug.aggregator_url", TEXT, None, "Where usage is sent", unused=_METER),
    Key("agent.snug.task_metrics_fields", WORDS, [], "Fields to report", unused=_METER),
)  # fmt: skip
