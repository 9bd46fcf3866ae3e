"""Why a package could not be built from its sources: what its build lacks, named."""

from __future__ import annotations

import re

from clearml_agent_clone.environment.said import Said, error_line

_NAMES = (
    re.compile(r"Failed to (?:download and )?build [`']([^`'\s@=]+)"),
    re.compile(r"Failed building wheel for (\S+)"),
    re.compile(r"generating package metadata\. (?:from )?(\S+)"),
    re.compile(r"Failed to build installable wheels for some pyproject\.toml based projects \(?([^\s,)]+)"),
    re.compile(r"Failed to build (?!installable)([A-Za-z0-9][\w.-]*)"),
    re.compile(r"(?:Getting requirements to build|Preparing metadata|Building) \S+ for (\S+) "),
)
_COMPILER = r"(?:[\w-]*-)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+|gfortran|nvcc)(?:-\d+)?"
_OTHER = "a Python that there are wheels for"
# What is lacking, in the words of compilers, build systems and backends. The first that matches is named.
_LACKS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), lack, remedy)
    for pattern, lack, remedy in (
        (
            r"fatal error: (Python\.h)\b",
            "the header {0} is missing",
            "Install the headers of this Python (python3-dev, or that of its version), or take " + _OTHER,
        ),
        (
            r"fatal error: ([\w./+-]+\.(?:h|hpp|hh|cuh))\b",
            "the header {0} is missing",
            "Install the development package that has it",
        ),
        (
            rf"(?:No such file or directory: '|unable to execute ')(?:/\S*/)?({_COMPILER})'",
            "the compiler {0} is missing",
            "Install a compiler (build-essential), or take " + _OTHER,
        ),
        (
            rf"unable to execute ({_COMPILER}):|command '(\S+)' failed: No such file",
            "the compiler {0} is missing",
            "Install a compiler (build-essential), or take " + _OTHER,
        ),
        (
            r"_execute_child[\s\S]{0,600}?No such file or directory: '([^']+)'",
            "the program {0} is missing",
            "Install the program, or take " + _OTHER,
        ),
        (r"No (CMAKE_\w+_COMPILER) could be found", "cmake finds no compiler ({0})", "Install build-essential"),
        (r"Unknown compiler\(s\): \[\[?'([^']+)'", "the compiler {0} is missing", "Install build-essential"),
        (r"(CMake) must be installed", "the program {0} is missing", "Install cmake"),
        (
            r"can't find (Rust compiler)|(cargo), the Rust package manager, is not installed",
            "the {0} is missing",
            "Install Rust (rustc and cargo), or take " + _OTHER,
        ),
        (r"(pg_config) executable not found", "the program {0} is missing", "Install libpq-dev"),
        (
            r"(?:No package '|Dependency \"|Package )([\w.+-]+)['\"]?,? (?:found\b|not found|was not found|required by)",
            "the library {0} is missing",
            "Install its development package",
        ),
        (
            r"cannot find -l([\w.+-]+)",
            "the library {0} is missing",
            "Install its development package",
        ),
        (r"(CUDA_HOME) environment variable is not set", "the CUDA toolkit is missing ({0} is not set)", "Install it"),
        (
            r"ModuleNotFoundError: No module named '([\w.]+)'",
            "its build imports {0} without asking for it",
            (
                "Name that package in agent.package_manager.priority_packages and give the flag --no-build-isolation "
                "(agent.package_manager.extra_pip_install_flags)"
            ),
        ),
    )
)


def build_failure(said: Said) -> tuple[str, str, str]:
    """Message, remedy and package."""
    name = next(
        (match[1].strip("`'").rstrip("/").rpartition("/")[2] for p in _NAMES if (match := p.search(said.text))), ""
    )
    what = f"package {name} could not be built" if name else "a package could not be built"
    for pattern, lack, remedy in _LACKS:
        match = pattern.search(said.output)
        if match:
            found = next(group for group in match.groups() if group)
            return f"{what}: {lack.format(found)}", remedy, name
    return (
        f"{what}: {error_line(said.output)}",
        "The lines above say what its build needs: often a compiler, headers, or a Python that there are wheels for",
        name,
    )
