"""The table of environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.config import load_settings
from clearml_agent_clone.config.known import known_keys
from clearml_agent_clone.config.variables_table import (
    EXTRA_PIP_FLAGS,
    GIT_CLONE_VERBOSE,
    INITIAL_CONNECT_RETRIES,
    K8S_HOST_MOUNT,
    QUEUE_POLL_FREQ_SEC,
    TABLE,
    WORKER_TAGS,
    by_name,
)
from clearml_agent_clone.errors import UserError

ROOT = Path(__file__).parents[3]

TO_KEYS = {
    "CLEARML_API_HOST": "api.api_server",
    "CLEARML_WEB_HOST": "api.web_server",
    "CLEARML_FILES_HOST": "api.files_server",
    "CLEARML_API_ACCESS_KEY": "api.credentials.access_key",
    "CLEARML_API_SECRET_KEY": "api.credentials.secret_key",
    "CLEARML_WORKER_NAME": "agent.worker_name",
    "CLEARML_WORKER_ID": "agent.worker_id",
    "CLEARML_CUDA_VERSION": "agent.cuda_version",
    "CUDA_VERSION": "agent.cuda_version",
    "CLEARML_CUDNN_VERSION": "agent.cudnn_version",
    "CUDNN_VERSION": "agent.cudnn_version",
    "CLEARML_AGENT_CRASH_ON_EXCEPTION": "agent.crash_on_exception",
    "AWS_ACCESS_KEY_ID": "sdk.aws.s3.key",
    "AWS_SECRET_ACCESS_KEY": "sdk.aws.s3.secret",
    "AWS_DEFAULT_REGION": "sdk.aws.s3.region",
    "GOOGLE_APPLICATION_CREDENTIALS": "sdk.google.storage.credentials_json",
    "CLEARML_AGENT_GIT_USER": "agent.git_user",
    "CLEARML_AGENT_GIT_PASS": "agent.git_pass",
    "CLEARML_AGENT_GIT_HOST": "agent.git_host",
}
OTHERS = [
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_KEY",
    "CLEARML_CPU_ONLY",
    "CPU_ONLY",
    "CLEARML_AGENT_SNUG_ENABLED",
    "CLEARML_AGENT_SNUG_REPORT_USAGE_EVENTS",
    "CLEARML_AGENT_SNUG_REPORT_TASK_METRICS",
    "CLEARML_AGENT_SNUG_CALL_HISTORY",
    "CLEARML_AGENT_SNUG_APP_MODE",
    "CLEARML_CONFIG_FILE",
    "CLEARML_CONFIG_PATH",
    "TRAINS_ENV",
    "CLEARML_AGENT_CONFIG_VERBOSE",
    "CLEARML_AGENT_DISABLE_VAULT_SUPPORT",
    "CLEARML_AGENT_ENABLE_ENV_CONFIG_SECTION",
    "CLEARML_AGENT_ENABLE_FILES_CONFIG_SECTION",
    "CLEARML_AGENT_STANDALONE_CONFIG_BC",
    "CLEARML_AGENT_ALG_ENV",
    "CLEARML_AUTH_TOKEN",
    "CLEARML_API_VERBOSE",
    "CLEARML_API_HOST_VERIFY_CERT",
    "CLEARML_NO_DEFAULT_SERVER",
    "CLEARML_API_DEFAULT_REQ_METHOD",
    "CLEARML_AGENT_FORCE_MAX_API_VERSION",
    "CLEARML_AGENT_INITIAL_CONNECT_RETRY_OVERRIDE",
    "CLEARML_AGENT_URLLIB3_CONNECT_LEVEL",
    "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC",
    "CLEARML_AGENT_STATUS_REPORT_FREQ_SEC",
    "CLEARML_AGENT_TEMP_STDOUT_FILE_DIR",
    "CLEARML_WORKER_TAGS",
    "CLEARML_AGENT_DEBUG_INFO",
    "CLEARML_AGENT_DEBUG_GET_NEXT_TASK",
    "CLEARML_AGENT_PROPAGATE_EXITCODE",
    "CLEARML_AGENT_CHILD_AGENTS_COUNT_CMD",
    "CLEARML_AGENT_SERVICES_DOCKER_RESTART",
    "CLEARML_AGENT_ABORT_CALLBACK_CMD",
    "CLEARML_AGENT_ABORT_CALLBACK_TIMEOUT",
    "CLEARML_AGENT_GPU_FRACTIONS",
    "CLEARML_MULTI_NODE_SINGLE_TASK",
    "RANK",
    "SLURM_PROCID",
    "NVIDIA_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_PORT",
    "CLEARML_AGENT_K8S_HOST_MOUNT",
    "CLEARML_AGENT_DOCKER_HOST_MOUNT",
    "TRAINS_AGENT_K8S_HOST_MOUNT",
    "TRAINS_AGENT_DOCKER_HOST_MOUNT",
    "CLEARML_AGENT_USE_POWERSHELL",
    "CLEARML_AGENT_GIT_CLONE_VERBOSE",
    "CLEARML_AGENT_SSH_URL_REPLACEMENT_SCHEME",
    "CLEARML_AGENT_GIT_USE_MS_ENTRA_TOKEN",
    "CLEARML_AGENT_GIT_USE_AZURE_PAT",
    "CLEARML_AGENT_DISABLE_SSH_MOUNT",
    "SSH_AUTH_SOCK",
    "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL",
    "CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL",
    "CLEARML_AGENT_FORCE_CODE_DIR",
    "CLEARML_AGENT_FORCE_EXEC_SCRIPT",
    "CLEARML_AGENT_FORCE_TASK_INIT",
    "CLEARML_AGENT_FORCE_POETRY",
    "CLEARML_AGENT_FORCE_UV",
    "CLEARML_BOOTSTRAP_UV_EXEC",
    "CLEARML_AGENT_FORCE_SYSTEM_SITE_PACKAGES",
    "CLEARML_AGENT_CUSTOM_BUILD_SCRIPT",
    "CLEARML_AGENT_PACKAGE_PYTORCH_RESOLVE",
    "CLEARML_EXTRA_PIP_INSTALL_FLAGS",
    "CLEARML_CONDA_ENV_PACKAGE",
    "CLEARML_USE_CONDA_BASE_ENV",
    "CLEARML_AGENT_VENV_CACHE_PATH",
    "CLEARML_AGENT_EXEC_USER",
    "CLEARML_AGENT_EXTRA_PYTHON_PATH",
    "VIRTUAL_ENV",
    "ROCM_PATH",
    "CUDA_PATH",
    "UV_PYTHON_DOWNLOADS_JSON_URL",
    "UV_INDEX_STRATEGY",
    "UV_CACHE_DIR",
    "CLEARML_DOCKER_IMAGE",
    "CLEARML_DOCKER_SKIP_GPUS_FLAG",
    "CLEARML_AGENT_EXTRA_DOCKER_ARGS",
    "CLEARML_AGENT_EXTRA_DOCKER_LABELS",
    "CLEARML_AGENT_DOCKER_ARGS_FILTERS",
    "CLEARML_AGENT_DOCKER_ARGS_HIDE_ENV",
    "CLEARML_AGENT_FORCE_HOST_MACHINE_IP",
    "FORCE_CLEARML_AGENT_REPO",
    "CLEARML_AGENT_DOCKER_AGENT_REPO",
    "FORCE_LOCAL_CLEARML_AGENT_WHEEL",
    "CLEARML_SNUG_SHIM_PATH",
    "CLEARML_SNUG_PROXY_PATH",
    "CLEARML_SNUG_DEBUG_LOG",
    "CLEARML_AGENT_SNUG_TASK_METRICS_FIELDS",
    "CLEARML_K8S_GLUE_KIND",
    "CLEARML_K8S_GLUE_START_AGENT_SCRIPT_PATH",
    "K8S_GLUE_DEF_EXEC_AGENT_ARGS",
    "K8S_GLUE_POD_AGENT_INSTALL_ARGS",
    "K8S_GLUE_POD_MONITOR_LOG_BATCH_SIZE",
    "K8S_GLUE_POD_MONITOR_DISABLE_ENQUEUE_ON_PREEMPTION",
    "K8S_GLUE_POD_MONITOR_EVICTION_REASONS",
    "K8S_GLUE_POD_USE_IMAGE_ENTRYPOINT",
    "K8S_GLUE_IGNORE_KUBECTL_ERROR",
    "K8S_GLUE_DEFAULT_SCHEDULER_QUEUE_TAGS",
    "K8S_GLUE_COMPLETED_POD_DELETION_DELAY_MINUTES",
    "CLEARML_AGENT_UPDATE_VERSION",
    "PIP_UPDATE_VERSION",
    "CLEARML_AGENT_UPDATE_REPO",
    "CLEARML_AGENT_NO_UPDATE",
    "CLEARML_AGENT_DEFAULT_BASE_DOCKER",
    "CLEARML_AGENT_EXTRA_ARGS",
    "CLEARML_AGENT_DAEMON_OPTIONS",
    "CLEARML_AGENT_QUEUES",
    "CLEARML_AGENT_NO_DOCKER",
    "SHUTDOWN_IF_NO_ACCESS_KEY",
    "CLEARML_HOST_IP",
    "CLEARML_TASK_ID",
    "CLEARML_LOG_LEVEL",
    "CLEARML_LOG_TASK_TO_BACKEND",
    "CUDA_DEVICE_ORDER",
    "PYTHONPATH",
    "PYTHONIOENCODING",
    "CLEARML_AGENT_SERVICE_TASK",
    "CLEARML_AGENT_HOST_IP",
    "CLEARML_CUSTOM_BUILD_TASK_CONFIG_JSON",
    "CLEARML_TASK_SCRIPT_ENTRY",
    "CLEARML_TASK_WORKING_DIR",
    "CLEARML_VENV_PATH",
    "CLEARML_GIT_ROOT",
    "CLEARML_CUSTOM_BUILD_OUTPUT",
]


def test_every_documented_variable_is_known_with_its_twin() -> None:
    table = by_name()
    for name in (*TO_KEYS, *OTHERS):
        assert name in table, name
        assert table[name].help, name
        if name.startswith("CLEARML_"):
            assert table[name.replace("CLEARML_", "TRAINS_", 1)] is table[name]


def test_no_name_belongs_to_two_variables() -> None:
    names = [name for variable in TABLE for name in variable.names]
    assert len(names) == len(set(names))


def test_every_variable_stands_in_the_page() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    names = [name for variable in TABLE for name in (variable.name, *variable.aliases)]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_key_of_every_variable_exists() -> None:
    for variable in TABLE:
        if variable.key and not variable.key.startswith("sdk."):
            assert variable.secret == known_keys()[variable.key].secret, variable.name


NAMES_TO_KEYS = {**TO_KEYS, **{name.replace("CLEARML_", "TRAINS_", 1): key for name, key in TO_KEYS.items()}}


@pytest.mark.parametrize(("name", "key"), NAMES_TO_KEYS.items())
def test_a_variable_sets_its_key(tmp_path: Path, name: str, key: str) -> None:
    (tmp_path / "clearml.conf").write_text(f'{key}: "from the file"\n')
    value = "1" if key == "agent.crash_on_exception" else "http://from.env"
    loaded = load_settings(None, {"HOME": str(tmp_path), name: f" {value} "})
    assert str(loaded.origins[key]) == name
    expected = True if key == "agent.crash_on_exception" else value
    node: object = loaded.values
    for part in key.split("."):
        assert isinstance(node, dict)
        node = node[part]
    assert node == expected


def test_the_newer_name_wins_and_an_empty_one_does_not_count() -> None:
    assert QUEUE_POLL_FREQ_SEC.get({"TRAINS_AGENT_QUEUE_POLL_FREQ_SEC": "3"}) == 3
    both = {"CLEARML_AGENT_QUEUE_POLL_FREQ_SEC": "0.5", "TRAINS_AGENT_QUEUE_POLL_FREQ_SEC": "3"}
    assert QUEUE_POLL_FREQ_SEC.get(both) == 0.5
    assert QUEUE_POLL_FREQ_SEC.get({**both, "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC": " "}) == 3
    assert QUEUE_POLL_FREQ_SEC.get({}) is None
    assert K8S_HOST_MOUNT.get({"CLEARML_AGENT_DOCKER_HOST_MOUNT": "/a:/b"}) == "/a:/b"


@pytest.mark.parametrize("word", ["y", "yes", "t", "true", "on", "1", "YES", "True"])
def test_words_for_yes(word: str) -> None:
    assert GIT_CLONE_VERBOSE.get({"CLEARML_AGENT_GIT_CLONE_VERBOSE": word}) is True


@pytest.mark.parametrize("word", ["n", "no", "f", "false", "off", "0", "NO"])
def test_words_for_no(word: str) -> None:
    assert GIT_CLONE_VERBOSE.get({"CLEARML_AGENT_GIT_CLONE_VERBOSE": word}) is False


def test_a_bad_switch_names_variable_and_value() -> None:
    with pytest.raises(UserError, match=r"TRAINS_AGENT_GIT_CLONE_VERBOSE.*maybe") as caught:
        GIT_CLONE_VERBOSE.get({"TRAINS_AGENT_GIT_CLONE_VERBOSE": "maybe"})
    assert caught.value.code == "bad-variable"


def test_a_bad_variable_is_reported_and_the_file_counts(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text("agent.crash_on_exception: on\n")
    loaded = load_settings(None, {"HOME": str(tmp_path), "CLEARML_AGENT_CRASH_ON_EXCEPTION": "perhaps"})
    assert loaded.settings.agent.crash_on_exception is True
    (problem,) = loaded.problems
    assert str(problem).count(problem.file) == 1
    assert "CLEARML_AGENT_CRASH_ON_EXCEPTION" in str(problem)
    assert '"perhaps"' in str(problem)


def test_a_false_switch_overrides_a_true_key(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text("agent.crash_on_exception: true\n")
    loaded = load_settings(None, {"HOME": str(tmp_path), "CLEARML_AGENT_CRASH_ON_EXCEPTION": "0"})
    assert loaded.settings.agent.crash_on_exception is False


def test_lists_are_split_as_a_shell_does(tmp_path: Path) -> None:
    assert WORKER_TAGS.get({"CLEARML_WORKER_TAGS": "a 'b c'"}) == ("a", "b c")
    loaded = load_settings(None, {"HOME": str(tmp_path), "CLEARML_EXTRA_PIP_INSTALL_FLAGS": "--pre '--find-links=a b'"})
    assert loaded.settings.agent.package_manager.extra_pip_install_flags == ("--pre", "--find-links=a b")
    with pytest.raises(UserError, match="CLEARML_EXTRA_PIP_INSTALL_FLAGS"):
        EXTRA_PIP_FLAGS.get({"CLEARML_EXTRA_PIP_INSTALL_FLAGS": "'open"})


@pytest.mark.parametrize(("text", "count"), [("true", 4), ("false", 240), ("7", 7), ("1", 1), ("0", 0)])
def test_first_login_retries(text: str, count: int) -> None:
    assert INITIAL_CONNECT_RETRIES.get({"CLEARML_AGENT_INITIAL_CONNECT_RETRY_OVERRIDE": text}) == count


def test_the_secret_in_a_variable_is_not_repeated_in_a_message(tmp_path: Path) -> None:
    variable = next(row for row in TABLE if row.name == "CLEARML_API_SECRET_KEY")
    assert "letters" not in variable.shown("letters")


def test_azure_adds_a_container_to_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text(
        'sdk.azure.storage.containers: [{account_name: "a", account_key: "key-a"}]\n'
    )
    environ = {"HOME": str(tmp_path), "AZURE_STORAGE_ACCOUNT": "b", "AZURE_STORAGE_KEY": "key-b"}
    loaded = load_settings(None, environ)
    assert loaded.tree["sdk"]["azure"]["storage"]["containers"] == [
        {"account_name": "a", "account_key": "key-a"},
        {"account_name": "b", "account_key": "key-b"},
    ]
    assert {"key-a", "key-b"} <= loaded.secrets
