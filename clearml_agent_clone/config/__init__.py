"""clearml.conf and its friends → ``Settings``, with the origin of each value.

    loaded = load_settings(config_file)
    loaded.settings.api.api_server
    loaded.origins["api.api_server"]        # ~/clearml.conf:3

Importing this loads neither pyhocon nor anything else that is only needed to parse a file that changed.
"""

from __future__ import annotations

from clearml_agent_clone.config.kinds import Credential
from clearml_agent_clone.config.load import load_settings, reload, require_server
from clearml_agent_clone.config.loaded import Loaded
from clearml_agent_clone.config.problems import Problem
from clearml_agent_clone.config.sections import (
    EnvironmentSection,
    FileEntry,
    FileResult,
    FilesSection,
    apply_environment,
    apply_files,
)
from clearml_agent_clone.config.settings import Settings
from clearml_agent_clone.config.settings_agent import AgentSettings, ResourceMonitoringSettings
from clearml_agent_clone.config.settings_api import ApiSettings, RetrySettings
from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.config.settings_git import GitSettings, VcsCacheSettings
from clearml_agent_clone.config.settings_packages import (
    PackageManagerSettings,
    PipDownloadCacheSettings,
    VenvsCacheSettings,
)
from clearml_agent_clone.config.trees import Origin

__all__ = [
    "AgentSettings",
    "ApiSettings",
    "Credential",
    "DockerSettings",
    "EnvironmentSection",
    "FileEntry",
    "FileResult",
    "FilesSection",
    "GitSettings",
    "Loaded",
    "Origin",
    "PackageManagerSettings",
    "PipDownloadCacheSettings",
    "Problem",
    "ResourceMonitoringSettings",
    "RetrySettings",
    "Settings",
    "VcsCacheSettings",
    "VenvsCacheSettings",
    "apply_environment",
    "apply_files",
    "load_settings",
    "reload",
    "require_server",
]
