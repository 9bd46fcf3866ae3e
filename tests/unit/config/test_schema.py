"""The table of keys: complete, documented, and true to its own defaults."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from clearml_agent_clone.config import AgentSettings, ApiSettings, load_settings
from clearml_agent_clone.config.hocon import parse_text
from clearml_agent_clone.config.known import known_keys
from clearml_agent_clone.config.reference import example_conf, with_tables
from clearml_agent_clone.config.schema import plain, typed_default
from clearml_agent_clone.config.trees import find

ROOT = Path(__file__).parents[3]

DOCUMENTED = [
    "worker_id",
    "worker_name",
    "uptime",
    "downtime",
    "reload_config",
    "crash_on_exception",
    "debug",
    "log_files_buffering",
    "disable_agent_update_check",
    "task_ping_interval_sec",
    "suppress_carriage_return",
    "truncate_task_output_files",
    "abort_callback_max_timeout",
    "dynamic_gpus_reservation_timeout_sec",
    "cpu_only",
    "standalone_mode",
    "resource_monitoring.cluster_report_interval_sec",
    "resource_monitoring.default_gpu_utilization",
    "resource_monitoring.disk_use_path",
    "resource_dashboard.default_cluster_name",
    "git_user",
    "git_pass",
    "git_host",
    "git_host_match_prefix",
    "git.extra_credentials",
    "hg_user",
    "hg_pass",
    "hg_host",
    "hg.extra_credentials",
    "git_use_ms_entra_token",
    "git_use_azure_pat",
    "force_git_ssh_protocol",
    "force_git_ssh_port",
    "force_git_ssh_user",
    "git_fetch_args",
    "enable_git_ask_pass",
    "translate_ssh",
    "translate_ssl_replacement_scheme",
    "force_git_root_python_path",
    "vcs_cache.enabled",
    "vcs_cache.path",
    "vcs_cache.clone_on_pull_fail",
    "python_binary",
    "default_python",
    "ignore_requested_python_version",
    "cuda_version",
    "cudnn_version",
    "package_manager.type",
    "package_manager.pip_version",
    "package_manager.poetry_version",
    "package_manager.poetry_install_extra_args",
    "package_manager.uv_version",
    "package_manager.uv_sync_extra_args",
    "package_manager.uv_run_extra_args",
    "package_manager.uv_replace_pip",
    "package_manager.uv_sync_locked_if_lock_file",
    "package_manager.uv_unsafe_best_match",
    "package_manager.system_site_packages",
    "package_manager.force_upgrade",
    "package_manager.extra_index_url",
    "package_manager.extra_pip_install_flags",
    "package_manager.pip_legacy_resolver",
    "package_manager.pytorch_resolve",
    "package_manager.torch_nightly",
    "package_manager.torch_page",
    "package_manager.torch_nightly_page",
    "package_manager.torch_url_template",
    "package_manager.torch_url_template_prefix",
    "package_manager.extra_index_url_template",
    "package_manager.nightly_extra_index_url_template",
    "package_manager.rocm_extra_index_url_template",
    "package_manager.nightly_rocm_extra_index_url_template",
    "package_manager.conda_channels",
    "package_manager.conda_full_env_update",
    "package_manager.conda_env_as_base_docker",
    "package_manager.use_conda_base_env",
    "package_manager.force_repo_requirements_txt",
    "package_manager.force_original_requirements",
    "package_manager.priority_packages",
    "package_manager.priority_optional_packages",
    "package_manager.post_packages",
    "package_manager.post_optional_packages",
    "package_manager.poetry_files_from_repo_working_dir",
    "package_manager.uv_files_from_repo_working_dir",
    "package_manager.uv_apply_environment",
    "venvs_dir",
    "venvs_cache.path",
    "venvs_cache.max_entries",
    "venvs_cache.free_space_threshold_gb",
    "venvs_cache.lock_timeout",
    "pip_download_cache.enabled",
    "pip_download_cache.path",
    "venv_update.enabled",
    "custom_build_script",
    "enable_task_env",
    "default_docker.image",
    "default_docker.arguments",
    "default_docker.update_back_task",
    "default_docker.match_rules",
    "disable_task_docker_override",
    "docker_force_pull",
    "extra_docker_arguments",
    "docker_args_extra_precedes_task",
    "protected_docker_extra_args",
    "docker_args_filters",
    "forbidden_docker_args",
    "docker_args_allowed_port_range",
    "docker_allow_host_environ",
    "extra_docker_shell_script",
    "docker_init_bash_script",
    "docker_preprocess_bash_script",
    "docker_install_opencv_libs",
    "docker_use_activated_venv",
    "docker_internal_mounts.bootstrap_folder",
    "docker_internal_mounts.bootstrap_cache",
    "docker_internal_mounts.sdk_cache",
    "docker_internal_mounts.apt_cache",
    "docker_internal_mounts.ssh_folder",
    "docker_internal_mounts.ssh_ro_folder",
    "docker_internal_mounts.pip_cache",
    "docker_internal_mounts.poetry_cache",
    "docker_internal_mounts.vcs_cache",
    "docker_internal_mounts.venvs_cache",
    "docker_internal_mounts.venv_build",
    "docker_internal_mounts.pip_download",
    "docker_pip_cache",
    "docker_apt_cache",
    "docker_poetry_cache",
    "disable_ssh_mount",
    "docker_container_name_format",
    "docker_container_name_format_fields",
    "hide_docker_command_env_vars.enabled",
    "hide_docker_command_env_vars.extra_keys",
    "hide_docker_command_env_vars.parse_embedded_urls",
    "docker_apply_environment_from_vault",
    "bootstrap.use_bootstrap",
    "bootstrap.check_for_latest",
    "bootstrap.check_for_latest_timeout",
    "bootstrap.host_bootstrap_dir",
    "bootstrap.host_bootstrap_cache_dir",
    "bootstrap.skip_git_installation",
    "bootstrap.always_use_static_git",
    "bootstrap.always_install_ca_cert",
    "bootstrap.map_external_ssl_cert",
    "bootstrap.uv_python_meta_file",
    "bootstrap.uv_default_index_url",
    "bootstrap.uv_index_url",
    "bootstrap.uv_use_builtin_tls",
    "bootstrap.uv_insecure",
    "bootstrap.git_insecure",
    "bootstrap.always_update",
    "bootstrap.uv_def_python_ver",
    "bootstrap.auto_update_uv_bin",
    "bootstrap.auto_update_uv_url_gh",
    "bootstrap.auto_update_uv_url_ghe",
    "apply_environment",
    "apply_files",
    "sanitize_config_printout.hide_secrets",
    "sanitize_config_printout.hide_secrets_recursive",
    "sanitize_config_printout.dont_hide_secrets",
    "sanitize_config_printout.docker_commands",
    "sanitize_config_printout.urls",
    "snug.enabled",
    "snug.app_mode",
    "snug.report_usage_events",
    "snug.report_task_metrics",
    "snug.whitelist",
    "snug.call_history",
    "snug.call_history_buffer",
    "snug.call_history_cap_bytes",
    "snug.poll_interval_sec",
    "snug.default_tokenizer",
    "snug.debug_log",
    "snug.aggregator_url",
    "snug.task_metrics_fields",
    "slurm.use_pbs",
    "slurm.binaries.batch_binary",
    "slurm.binaries.run_binary",
    "slurm.binaries.monitor_binary",
    "slurm.user_map",
    "state_dir",
    "abort_grace_sec",
    "abort_signal",
    "max_task_seconds",
    "on_runner_loss",
    "on_node_loss",
    "on_shutdown",
    "on_start_failure",
    "metrics_port",
    "metrics_host",
    "log_format",
    "log_max_bytes",
    "log_backups",
    "console_max_bytes",
    "python_install",
    "package_manager.pip_engine",
    "venvs_cache.max_age_days",
    "venvs_cache.max_size_gb",
    "docker_task_args_policy",
    "docker_task_args_allowed",
    "docker_task_mounts_allowed",
]
DOCUMENTED_API = [
    "api_server",
    "host",
    "web_server",
    "files_server",
    "credentials.access_key",
    "credentials.secret_key",
    "verify_certificate",
    "version",
    "default_version",
    "http.max_req_size",
    "http.retries.total",
    "http.retries.connect",
    "http.retries.read",
    "http.retries.redirect",
    "http.retries.status",
    "http.retries.backoff_factor",
    "http.retries.backoff_max",
    "http.wait_on_maintenance_forever",
    "http.pool_maxsize",
    "http.pool_connections",
    "http.default_method",
    "auth.token_expiration_threshold_sec",
    "auth.request_token_expiration_sec",
    "public_ip_ping",
    "public_ip_service_urls",
]


def test_every_documented_key_is_known() -> None:
    documented = [f"agent.{name}" for name in DOCUMENTED] + [f"api.{name}" for name in DOCUMENTED_API]
    assert set(documented) - set(known_keys()) == set()


def test_every_key_has_a_kind_a_valid_default_and_a_line_of_help() -> None:
    for row in known_keys().values():
        typed_default(row, {"HOME": "/home/somebody"})
        assert row.kind.name, row.path
        assert row.help.strip() == row.help, row.path
        assert "\n" not in row.help, row.path
        assert not row.help.endswith("."), row.path


def test_no_key_is_declared_twice() -> None:
    parts = (attrs.fields(ApiSettings), attrs.fields(AgentSettings))
    assert all(parts)
    assert len({row.path for row in known_keys().values()}) == len(known_keys())


def test_the_example_and_the_page_are_what_the_tables_say() -> None:
    assert (ROOT / "examples/clearml.conf").read_text() == example_conf(), (
        "run python -m clearml_agent_clone.config.reference ."
    )
    page = (ROOT / "docs/configuration.md").read_text()
    assert page == with_tables(page), "run python -m clearml_agent_clone.config.reference ."


def test_every_key_stands_in_the_page() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert [path for path in known_keys() if f"`{path}`" not in page] == []


def test_the_example_loads_without_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "clearml.conf"
    file.write_text(example_conf())
    assert load_settings(file, {"HOME": str(tmp_path)}).problems == ()


def test_the_example_says_what_the_defaults_are(tmp_path: Path) -> None:
    """With every comment mark taken away, each key has the value that it has without the file."""
    lines = []
    for line in example_conf().partition("# Variables to set")[0].splitlines():
        body = line.strip()
        comment = body.startswith("# ") and body.endswith(")")  # a line of help ends with its kind
        lines.append("" if comment or not line.startswith(" ") else line.replace("# ", "", 1))
        if line and line[0] not in "# ":
            lines[-1] = line
    tree = parse_text("\n".join(lines), "example", environ={}).tree
    missing = object()
    for path, row in known_keys().items():
        if row.unused or path.startswith(("api.api_", "api.web_", "api.files_")):
            continue
        value = find(tree, path, missing)
        assert value is not missing, path
        environ = {"HOME": "/home/somebody"}
        assert row.kind.parse(value, environ) == typed_default(row, environ), path


def test_defaults_survive_being_written_as_json() -> None:
    for row in known_keys().values():
        environ = {"HOME": "/home/somebody"}
        value = json.loads(json.dumps(plain(typed_default(row, environ))))
        assert row.kind.parse(value, environ) == typed_default(row, environ), row.path


def test_settings_show_no_secret_and_compare_by_value() -> None:
    first = ApiSettings(api_server="http://h:8008", secret_key="hidden-value")
    assert "hidden-value" not in repr(first)
    assert "http://h:8008" in repr(first)
    assert first == attrs.evolve(first)
    assert first != attrs.evolve(first, secret_key="other")
    assert hash(first) == hash(attrs.evolve(first))
