"""Every environment variable that the agent knows.

A variable with a key is a layer of the configuration. The others are read by whoever needs them:
``QUEUE_POLL_FREQ_SEC.get(os.environ)``.
"""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.config.kinds import (
    CONNECT_RETRIES,
    NUMBER,
    PATH,
    SECONDS,
    SWITCH,
    TEXT,
    VERIFY,
    WHOLE,
    choice,
)
from clearml_agent_clone.config.variables import SHELL_WORDS, Variable

V = Variable
_A = "agent."
_PM = "agent.package_manager."
_NO_SNUG = "metering of model calls is not built in"
_IMAGE = "read by the entry points of the classic agent's own images"

# Where the configuration is
CONFIG_FILE = V("CLEARML_CONFIG_FILE", TEXT, "Configuration file to read in place of ~/clearml.conf")
CONFIG_PATH = V("CLEARML_CONFIG_PATH", TEXT, "Folder whose default/**/*.conf files are read below all others")
CONFIG_ENV = V(
    "TRAINS_ENV", choice("default", "demo", "local"), "Further folder below CLEARML_CONFIG_PATH: demo or local"
)
STATE_DIR = V("CLEARML_AGENT_STATE_DIR", PATH, "Where the agent keeps what it must remember", "agent.state_dir")
CONFIG_VERBOSE = V("CLEARML_AGENT_CONFIG_VERBOSE", TEXT, "Any text: name the configuration files that are read")
DISABLE_VAULT_SUPPORT = V("CLEARML_AGENT_DISABLE_VAULT_SUPPORT", SWITCH, "Do not ask the server for vaults")
ENABLE_ENV_SECTION = V(
    "CLEARML_AGENT_ENABLE_ENV_CONFIG_SECTION", SWITCH, "Apply the environment section", "agent.apply_environment"
)
ENABLE_FILES_SECTION = V(
    "CLEARML_AGENT_ENABLE_FILES_CONFIG_SECTION", SWITCH, "Apply the files section", "agent.apply_files"
)
STANDALONE_CONFIG_BC = V(
    "CLEARML_AGENT_STANDALONE_CONFIG_BC",
    SWITCH,
    "Leave pip_version out of containers' configuration",
    unused="containers get no configuration of the agent",
)
ALG_ENV = V("CLEARML_AGENT_ALG_ENV", SWITCH, "A switch of the classic agent", unused="the classic agent never read it")

# Server and login
API_HOST = V("CLEARML_API_HOST", TEXT, "Address of the API server", "api.api_server")
WEB_HOST = V("CLEARML_WEB_HOST", TEXT, "Address of the web application", "api.web_server")
FILES_HOST = V("CLEARML_FILES_HOST", TEXT, "Address of the file server", "api.files_server")
API_ACCESS_KEY = V("CLEARML_API_ACCESS_KEY", TEXT, "Access key", "api.credentials.access_key")
API_SECRET_KEY = V("CLEARML_API_SECRET_KEY", TEXT, "Secret key", "api.credentials.secret_key", secret=True)
AUTH_TOKEN = V("CLEARML_AUTH_TOKEN", TEXT, "Bearer token to use in place of a key pair", "api.auth_token", secret=True)
VERIFY_CERT = V(
    "CLEARML_API_HOST_VERIFY_CERT",
    VERIFY,
    "Check TLS certificates, or the path of a CA bundle",
    "api.verify_certificate",
)
API_METHOD = V(
    "CLEARML_API_DEFAULT_REQ_METHOD", choice("post", "get", "put"), "HTTP method of calls", "api.http.default_method"
)
INITIAL_CONNECT_RETRIES = V(
    "CLEARML_AGENT_INITIAL_CONNECT_RETRY_OVERRIDE",
    CONNECT_RETRIES,
    "Repetitions of the first login: a count, true for 4, false for 240",
    "api.http.initial_connect_retries",
)
API_VERBOSE = V("CLEARML_API_VERBOSE", SWITCH, "Say more about calls of the server")
NO_DEFAULT_SERVER = V(
    "CLEARML_NO_DEFAULT_SERVER",
    SWITCH,
    "Do not fall back to the public demo server",
    unused="there is no such fallback",
)
FORCE_MAX_API_VERSION = V("CLEARML_AGENT_FORCE_MAX_API_VERSION", TEXT, "Highest version of the API to use")
URLLIB3_CONNECT_LEVEL = V(
    "CLEARML_AGENT_URLLIB3_CONNECT_LEVEL",
    TEXT,
    "Log level of urllib3 during the first login",
    unused="repetitions are reported by the agent itself",
)

# Worker and daemon
WORKER_ID = V("CLEARML_WORKER_ID", TEXT, "Full id of this worker", "agent.worker_id")
WORKER_NAME = V("CLEARML_WORKER_NAME", TEXT, "Beginning of the worker's id", "agent.worker_name")
WORKER_TAGS = V("CLEARML_WORKER_TAGS", SHELL_WORDS, "Tags in the reports of this worker")
CRASH_ON_EXCEPTION = V(
    "CLEARML_AGENT_CRASH_ON_EXCEPTION", SWITCH, "End the daemon at an unexpected error", "agent.crash_on_exception"
)
QUEUE_POLL_FREQ_SEC = V(
    "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC", SECONDS, "Pause between looks at the queues; wins over --polling-interval"
)
STATUS_REPORT_FREQ_SEC = V("CLEARML_AGENT_STATUS_REPORT_FREQ_SEC", SECONDS, "Pause between status reports (30)")
TEMP_STDOUT_FILE_DIR = V("CLEARML_AGENT_TEMP_STDOUT_FILE_DIR", PATH, "Folder of logs and temporary files")
DEBUG_INFO = V("CLEARML_AGENT_DEBUG_INFO", TEXT, "Limit debug output to one subject, such as docker")
DEBUG_GET_NEXT_TASK = V(
    "CLEARML_AGENT_DEBUG_GET_NEXT_TASK", SWITCH, "Print what the server answers to each look at a queue"
)
PROPAGATE_EXITCODE = V(
    "CLEARML_AGENT_PROPAGATE_EXITCODE", SWITCH, "execute ends with the task's exit code in container mode too"
)
CHILD_AGENTS_COUNT_CMD = V(
    "CLEARML_AGENT_CHILD_AGENTS_COUNT_CMD", TEXT, "Command that counts the running service containers"
)
SERVICES_DOCKER_RESTART = V("CLEARML_AGENT_SERVICES_DOCKER_RESTART", TEXT, "Restart policy of service containers")
ABORT_CALLBACK_CMD = V("CLEARML_AGENT_ABORT_CALLBACK_CMD", TEXT, "Command to run when a task is aborted")
ABORT_CALLBACK_TIMEOUT = V("CLEARML_AGENT_ABORT_CALLBACK_TIMEOUT", SECONDS, "Longest time for that command (180)")
GPU_FRACTIONS = V("CLEARML_AGENT_GPU_FRACTIONS", TEXT, "Fractions of GPUs to report")
MULTI_NODE_SINGLE_TASK = V(
    "CLEARML_MULTI_NODE_SINGLE_TASK",
    WHOLE,
    "One task on several nodes: -1 rank 0 alone reports, 1 a graph per node, 2 a series per node",
)
RANK = V("RANK", WHOLE, "Rank of this node; only rank 0 changes the task's status", aliases=("SLURM_PROCID",))
NVIDIA_VISIBLE_DEVICES = V(
    "NVIDIA_VISIBLE_DEVICES", TEXT, "GPUs that this worker may use", aliases=("CUDA_VISIBLE_DEVICES",)
)
IN_KUBERNETES = V(
    "KUBERNETES_SERVICE_HOST",
    TEXT,
    "Set inside a Kubernetes pod; --gpus is then left to Kubernetes",
    aliases=("KUBERNETES_PORT",),
)
K8S_HOST_MOUNT = V(
    "CLEARML_AGENT_K8S_HOST_MOUNT",
    TEXT,
    "host:container folder that containers started beside this one share",
    aliases=("CLEARML_AGENT_DOCKER_HOST_MOUNT",),
)
USE_POWERSHELL = V("CLEARML_AGENT_USE_POWERSHELL", TEXT, "Shell on Windows", unused="the agent uses no shell")

# Code
GIT_USER = V("CLEARML_AGENT_GIT_USER", TEXT, "User name for git over https", "agent.git_user")
GIT_PASS = V("CLEARML_AGENT_GIT_PASS", TEXT, "Password or token for git over https", "agent.git_pass", secret=True)
GIT_HOST = V("CLEARML_AGENT_GIT_HOST", TEXT, "The only host that these are sent to", "agent.git_host")
GIT_CLONE_VERBOSE = V("CLEARML_AGENT_GIT_CLONE_VERBOSE", SWITCH, "Show the output of git")
SSH_URL_SCHEME = V(
    "CLEARML_AGENT_SSH_URL_REPLACEMENT_SCHEME",
    TEXT,
    "Scheme of remotes that were turned from ssh",
    "agent.translate_ssl_replacement_scheme",
)
GIT_USE_MS_ENTRA_TOKEN = V(
    "CLEARML_AGENT_GIT_USE_MS_ENTRA_TOKEN",
    SWITCH,
    "Send the git password as bearer token",
    "agent.git_use_ms_entra_token",
)
GIT_USE_AZURE_PAT = V(
    "CLEARML_AGENT_GIT_USE_AZURE_PAT", SWITCH, "Send the git password as Azure DevOps token", "agent.git_use_azure_pat"
)
SSH_AUTH_SOCK = V("SSH_AUTH_SOCK", TEXT, "Socket of the ssh agent; containers get it too")
FORCE_CODE_DIR = V("CLEARML_AGENT_FORCE_CODE_DIR", PATH, "Folder with the code, in place of the task's repository")
FORCE_EXEC_SCRIPT = V("CLEARML_AGENT_FORCE_EXEC_SCRIPT", TEXT, "[workdir:]script to run in place of the task's")
FORCE_TASK_INIT = V("CLEARML_AGENT_FORCE_TASK_INIT", SWITCH, "Call Task.init() before code that does not do so")

# Environment of the task
CUDA_VERSION = V(
    "CLEARML_CUDA_VERSION",
    TEXT,
    "CUDA version in place of the detected one",
    "agent.cuda_version",
    aliases=("CUDA_VERSION",),
)
CUDNN_VERSION = V(
    "CLEARML_CUDNN_VERSION",
    TEXT,
    "cuDNN version in place of the detected one",
    "agent.cudnn_version",
    aliases=("CUDNN_VERSION",),
)
CPU_ONLY = V(
    "CLEARML_CPU_ONLY", SWITCH, "Choose packages for a machine without GPU", "agent.cpu_only", aliases=("CPU_ONLY",)
)
SKIP_PIP_VENV_INSTALL = V(
    "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL", TEXT, "Make no environment: a true word, or the interpreter to use"
)
SKIP_PYTHON_ENV_INSTALL = V("CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL", SWITCH, "Install no packages at all")
FORCE_POETRY = V("CLEARML_AGENT_FORCE_POETRY", SWITCH, "Use poetry for this machine's tasks")
FORCE_UV = V("CLEARML_AGENT_FORCE_UV", SWITCH, "Use uv for this machine's tasks")
UV_EXEC = V("CLEARML_BOOTSTRAP_UV_EXEC", TEXT, "The uv program to use")
FORCE_SYSTEM_SITE_PACKAGES = V(
    "CLEARML_AGENT_FORCE_SYSTEM_SITE_PACKAGES",
    SWITCH,
    "Let environments see the packages of their interpreter",
    _PM + "system_site_packages",
)
CUSTOM_BUILD_SCRIPT = V(
    "CLEARML_AGENT_CUSTOM_BUILD_SCRIPT", TEXT, "Program that builds the environment", "agent.custom_build_script"
)
PACKAGE_ENGINE = V(
    "CLEARML_AGENT_PACKAGE_ENGINE",
    choice("auto", "uv", "pip"),
    "What installs requirement lines",
    _PM + "pip_engine",
)
PYTORCH_RESOLVE = V(
    "CLEARML_AGENT_PACKAGE_PYTORCH_RESOLVE",
    choice("pip", "direct", "none"),
    "How torch builds are found",
    _PM + "pytorch_resolve",
)
EXTRA_PIP_FLAGS = V(
    "CLEARML_EXTRA_PIP_INSTALL_FLAGS", SHELL_WORDS, "Further flags of pip install", _PM + "extra_pip_install_flags"
)
CONDA_ENV_PACKAGE = V("CLEARML_CONDA_ENV_PACKAGE", TEXT, "Prepared conda environment to start from")
USE_CONDA_BASE_ENV = V(
    "CLEARML_USE_CONDA_BASE_ENV", SWITCH, "Install into the base environment of conda", _PM + "use_conda_base_env"
)
VENV_CACHE_PATH = V(
    "CLEARML_AGENT_VENV_CACHE_PATH", PATH, "Where environments are kept for later tasks", "agent.venvs_cache.path"
)
EXEC_USER = V("CLEARML_AGENT_EXEC_USER", TEXT, "User that tasks run as")
EXTRA_PYTHON_PATH = V("CLEARML_AGENT_EXTRA_PYTHON_PATH", TEXT, "Further folders for the task's PYTHONPATH")
VIRTUAL_ENV = V("VIRTUAL_ENV", TEXT, "The activated virtual environment")
ROCM_PATH = V("ROCM_PATH", TEXT, "Where ROCm is installed")
CUDA_PATH = V("CUDA_PATH", TEXT, "Where CUDA is installed")
UV_PYTHON_DOWNLOADS = V("UV_PYTHON_DOWNLOADS_JSON_URL", TEXT, "uv's list of Python downloads")
UV_INDEX_STRATEGY = V("UV_INDEX_STRATEGY", TEXT, "How uv chooses between indexes")
UV_CACHE_DIR = V("UV_CACHE_DIR", TEXT, "Where uv keeps downloads and builds")

# Containers
DOCKER_IMAGE = V("CLEARML_DOCKER_IMAGE", TEXT, "Image for tasks that name none", "agent.default_docker.image")
DOCKER_SKIP_GPUS_FLAG = V("CLEARML_DOCKER_SKIP_GPUS_FLAG", SWITCH, "Do not pass --gpus to docker run")
EXTRA_DOCKER_ARGS = V(
    "CLEARML_AGENT_EXTRA_DOCKER_ARGS",
    SHELL_WORDS,
    "Arguments of docker run for every task",
    "agent.extra_docker_arguments",
)
EXTRA_DOCKER_LABELS = V("CLEARML_AGENT_EXTRA_DOCKER_LABELS", SHELL_WORDS, "Further labels of containers")
DOCKER_ARGS_FILTERS = V(
    "CLEARML_AGENT_DOCKER_ARGS_FILTERS", SHELL_WORDS, "What a task's own arguments may be", "agent.docker_args_filters"
)
DOCKER_ARGS_HIDE_ENV = V(
    "CLEARML_AGENT_DOCKER_ARGS_HIDE_ENV",
    SHELL_WORDS,
    "Further variables to mask in printed docker commands",
    "agent.hide_docker_command_env_vars.extra_keys",
)
DISABLE_SSH_MOUNT = V(
    "CLEARML_AGENT_DISABLE_SSH_MOUNT",
    SWITCH,
    "Do not give the host's ssh keys to containers",
    "agent.disable_ssh_mount",
)
FORCE_HOST_MACHINE_IP = V("CLEARML_AGENT_FORCE_HOST_MACHINE_IP", TEXT, "Address of this machine to tell containers")
SKIP_CONTAINER_APT = V("CLEARML_AGENT_SKIP_CONTAINER_APT", SWITCH, "Install nothing by apt in containers")
APT_INSTALL = V("CLEARML_APT_INSTALL", TEXT, "Packages to install by apt in containers")
AGENT_REPO = V(
    "FORCE_CLEARML_AGENT_REPO",
    TEXT,
    "Where containers install the classic agent from",
    aliases=("CLEARML_AGENT_DOCKER_AGENT_REPO",),
    unused="containers need no agent of their own",
)
AGENT_WHEEL = V(
    "FORCE_LOCAL_CLEARML_AGENT_WHEEL",
    TEXT,
    "Wheel of the classic agent for containers",
    unused="containers need no agent of their own",
)

# Kubernetes and Slurm
K8S_KIND = V("CLEARML_K8S_GLUE_KIND", TEXT, "Kind of the objects to create (pod)")
K8S_START_SCRIPT = V(
    "CLEARML_K8S_GLUE_START_AGENT_SCRIPT_PATH", TEXT, "Where a pod's start script is (~/__start_agent__.sh)"
)
K8S_EXEC_ARGS = V("K8S_GLUE_DEF_EXEC_AGENT_ARGS", TEXT, "Arguments of execute in a pod")
K8S_INSTALL_ARGS = V("K8S_GLUE_POD_AGENT_INSTALL_ARGS", TEXT, "Arguments of pip when a pod installs the agent")
K8S_LOG_BATCH_SIZE = V("K8S_GLUE_POD_MONITOR_LOG_BATCH_SIZE", WHOLE, "Lines of a pod's log sent at once (5)")
K8S_NO_REQUEUE = V(
    "K8S_GLUE_POD_MONITOR_DISABLE_ENQUEUE_ON_PREEMPTION", SWITCH, "Do not enqueue the task of a preempted pod again"
)
K8S_EVICTION_REASONS = V(
    "K8S_GLUE_POD_MONITOR_EVICTION_REASONS",
    SHELL_WORDS,
    "Reasons for which a waiting pod is given up (ImagePullBackOff InvalidImageName)",
)
K8S_IMAGE_ENTRYPOINT = V("K8S_GLUE_POD_USE_IMAGE_ENTRYPOINT", SWITCH, "Keep the image's entry point")
K8S_IGNORE_KUBECTL = V("K8S_GLUE_IGNORE_KUBECTL_ERROR", TEXT, "Errors of kubectl to pass over")
K8S_QUEUE_TAGS = V(
    "K8S_GLUE_DEFAULT_SCHEDULER_QUEUE_TAGS", SHELL_WORDS, "Tags of the queues that are served (k8s-glue)"
)
K8S_DELETION_DELAY = V(
    "K8S_GLUE_COMPLETED_POD_DELETION_DELAY_MINUTES", NUMBER, "Minutes after which a completed pod is deleted (0)"
)
SLURM_GLUE_DEBUG = V("CLEARML_SLURM_GLUE_DEBUG", SWITCH, "Say more about jobs")

# SDK storage, handed on to tasks
AWS_KEY = V("AWS_ACCESS_KEY_ID", TEXT, "S3 access key", "sdk.aws.s3.key")
AWS_SECRET = V("AWS_SECRET_ACCESS_KEY", TEXT, "S3 secret key", "sdk.aws.s3.secret", secret=True)
AWS_REGION = V("AWS_DEFAULT_REGION", TEXT, "S3 region", "sdk.aws.s3.region")
AZURE_ACCOUNT = V(
    "AZURE_STORAGE_ACCOUNT",
    TEXT,
    "Azure storage account; with AZURE_STORAGE_KEY one more of sdk.azure.storage.containers",
)
AZURE_KEY = V("AZURE_STORAGE_KEY", TEXT, "Key of that account", secret=True)
GOOGLE_CREDENTIALS = V(
    "GOOGLE_APPLICATION_CREDENTIALS", TEXT, "File with Google credentials", "sdk.google.storage.credentials_json"
)

# Known, without effect
SNUG = (
    V("CLEARML_AGENT_SNUG_ENABLED", SWITCH, "Meter calls of language models", "agent.snug.enabled", unused=_NO_SNUG),
    V(
        "CLEARML_AGENT_SNUG_REPORT_USAGE_EVENTS",
        SWITCH,
        "Report usage as events",
        "agent.snug.report_usage_events",
        unused=_NO_SNUG,
    ),
    V(
        "CLEARML_AGENT_SNUG_REPORT_TASK_METRICS",
        SWITCH,
        "Report usage as scalars",
        "agent.snug.report_task_metrics",
        unused=_NO_SNUG,
    ),
    V("CLEARML_AGENT_SNUG_CALL_HISTORY", TEXT, "Keep the calls", "agent.snug.call_history", unused=_NO_SNUG),
    V("CLEARML_AGENT_SNUG_APP_MODE", TEXT, "Mode of the meter", "agent.snug.app_mode", unused=_NO_SNUG),
    V("CLEARML_AGENT_SNUG_TASK_METRICS_FIELDS", TEXT, "Fields to report", unused=_NO_SNUG),
    V("CLEARML_SNUG_SHIM_PATH", TEXT, "Library of the meter", unused=_NO_SNUG),
    V("CLEARML_SNUG_PROXY_PATH", TEXT, "Proxy of the meter", unused=_NO_SNUG),
    V("CLEARML_SNUG_DEBUG_LOG", TEXT, "Log of the meter", unused=_NO_SNUG),
)
IMAGE_ENTRY_POINTS = tuple(
    V(name, TEXT, help_, unused=_IMAGE)
    for name, help_ in (
        ("CLEARML_AGENT_UPDATE_VERSION", "Version of the agent to install"),
        ("PIP_UPDATE_VERSION", "Version of pip to install"),
        ("CLEARML_AGENT_UPDATE_REPO", "Repository of the agent to install"),
        ("CLEARML_AGENT_NO_UPDATE", "Do not install another agent"),
        ("CLEARML_AGENT_DEFAULT_BASE_DOCKER", "Image for tasks that name none"),
        ("CLEARML_AGENT_EXTRA_ARGS", "Arguments of the agent"),
        ("CLEARML_AGENT_DAEMON_OPTIONS", "Arguments of daemon"),
        ("CLEARML_AGENT_QUEUES", "Queues to serve"),
        ("CLEARML_AGENT_NO_DOCKER", "Do not use containers"),
        ("SHUTDOWN_IF_NO_ACCESS_KEY", "End when there are no credentials"),
        ("CLEARML_HOST_IP", "Address of the server"),
    )
)
WRITTEN = tuple(
    V(name, TEXT, help_, written=True, secret=secret)
    for name, help_, secret in (
        ("CLEARML_TASK_ID", "Id of the task", False),
        ("CLEARML_LOG_LEVEL", "Level of --log-level", False),
        ("CLEARML_LOG_TASK_TO_BACKEND", "The agent ships the console, so that the SDK need not", False),
        ("CLEARML_PROC_MASTER_ID", "Process that the SDK belongs to", False),
        ("CUDA_DEVICE_ORDER", "PCI_BUS_ID, so that GPU numbers mean the same everywhere", False),
        ("PYTHONPATH", "The code's folders", False),
        ("PYTHONIOENCODING", "utf-8", False),
        ("CLEARML_AGENT_SERVICE_TASK", "The task runs in services mode", False),
        ("CLEARML_AGENT_HOST_IP", "Address of the host, inside a container", False),
        ("CLEARML_CUSTOM_BUILD_TASK_CONFIG_JSON", "Task, for agent.custom_build_script", False),
        ("CLEARML_CUSTOM_BUILD_TASK_CONFIG_FILE", "File with the same, which large diffs do not fit into", False),
        ("CLEARML_TASK_SCRIPT_ENTRY", "Entry point, for agent.custom_build_script", False),
        ("CLEARML_TASK_WORKING_DIR", "Working directory, for agent.custom_build_script", False),
        ("CLEARML_VENV_PATH", "Environment, for agent.custom_build_script", False),
        ("CLEARML_GIT_ROOT", "Checkout, for agent.custom_build_script", False),
        ("CLEARML_CUSTOM_BUILD_OUTPUT", "Where agent.custom_build_script writes its result", False),
    )
)


def _all() -> tuple[Variable[Any], ...]:
    rows: list[Variable[Any]] = []
    for value in list(globals().values()):
        if isinstance(value, Variable):
            rows.append(value)
        elif isinstance(value, tuple):
            rows.extend(item for item in value if isinstance(item, Variable))
    return tuple(rows)


TABLE = _all()
"""Every variable, in the order of this file."""


def by_name() -> dict[str, Variable[Any]]:
    """The table by every name that its rows may have."""
    return {name: variable for variable in TABLE for name in variable.names}
