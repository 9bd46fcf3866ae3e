from __future__ import annotations

import argparse
import importlib
import subprocess
import sys

import pytest

from clearml_agent_clone import __version__
from clearml_agent_clone.__main__ import COMMANDS, build_parser, main

HEAVY = ("attrs", "requests", "urllib3", "psutil", "pyhocon", "git", "starlette", "uvicorn", "subprocess", "logging")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_says_of_each_command_what_the_command_says(name: str) -> None:
    subparsers = argparse.ArgumentParser().add_subparsers()
    importlib.import_module(f"clearml_agent_clone.cli.{name}").add_parser(subparsers)
    assert [(action.dest, action.help) for action in subparsers._choices_actions] == [(name, COMMANDS[name])]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: clearml-agent {name}" in capsys.readouterr().out


def test_no_command_prints_help_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert all(name in capsys.readouterr().out for name in ["daemon"])


def test_version_has_the_words_that_others_parse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"CLEARML-AGENT version {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["daemon", "--help"], ["execute", "--help"]])
def test_help_imports_little(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom clearml_agent_clone.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(sorted(sys.modules), file=sys.stderr)\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert [name for name in HEAVY if f"'{name}'" in loaded] == []


def test_arguments_may_come_from_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("arguments") / "args"
    file.write_text("execute\n--id\nabc\n")
    assert build_parser([f"@{file}"]).parse_args([f"@{file}"]).id == "abc"
