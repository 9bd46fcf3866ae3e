from __future__ import annotations

import os
from pathlib import Path

from clearml_agent_clone.environment.engines.pip import option_lines
from clearml_agent_clone.environment.engines.uv import index_variables
from clearml_agent_clone.environment.indexes import from_pip, with_options
from clearml_agent_clone.environment.lines import split_lines
from clearml_agent_clone.environment.model import Indexes, masked


def test_pips_files_and_variables_are_read_in_pips_order(tmp_path: Path) -> None:
    user = tmp_path / ".config" / "pip"
    user.mkdir(parents=True)
    (user / "pip.conf").write_text(
        "[global]\nindex-url = https://user/simple\nextra_index_url =\n    https://one/simple\n    https://two/simple\n"
        "trusted-host = one\ncert = /ca.pem\n[install]\nfind-links = /wheels\n[list]\nformat = columns\n"
    )
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": "/nowhere", "PIP_CONFIG_FILE": str(tmp_path / "none.conf")}
    indexes, told = from_pip(environ)
    assert str(user / "pip.conf") in told
    assert indexes.main == "https://user/simple"
    assert indexes.extra == ("https://one/simple", "https://two/simple")
    assert (indexes.find_links, indexes.trusted, indexes.certificate) == (("/wheels",), ("one",), "/ca.pem")
    over, _ = from_pip({**environ, "PIP_INDEX_URL": "https://env/simple", "PIP_EXTRA_INDEX_URL": "https://three"})
    assert (over.main, over.extra) == ("https://env/simple", ("https://three",))


def test_a_machine_without_configuration_and_one_that_switched_it_off(tmp_path: Path) -> None:
    assert from_pip({"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}) == (Indexes(), [])


def test_a_broken_pip_conf_does_not_stop_a_task(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("index-url = before any section\n")
    indexes, _ = from_pip({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})
    assert indexes.main == ""


def test_options_of_requirement_files(tmp_path: Path) -> None:
    text = (
        "-i https://file/simple\n--extra-index-url https://more/simple\n--find-links wheels\n--trusted-host h\n"
        "--pre\n--prefer-binary\n--no-binary six\n--use-feature fast-deps\n"
    )
    options = with_options(
        Indexes(extra=("https://conf",)), ["https://agent"], split_lines(text, "r.txt", tmp_path), {}
    )
    assert options.indexes.main == "https://file/simple"
    assert options.indexes.extra == ("https://agent", "https://more/simple")
    assert options.indexes.find_links == (str(tmp_path / "wheels"),)
    assert options.flags == ("--pre", "--no-binary=six")
    assert options.notes == ("r.txt:8: --use-feature fast-deps: left out, the option has no meaning here",)


def test_agents_indexes_come_first() -> None:
    options = with_options(Indexes(main="https://m", extra=("https://m", "https://b")), ["https://a"], [], {})
    assert options.indexes.extra == ("https://a", "https://b")


def test_uv_takes_the_best_of_several_indexes_as_pip_does_and_one_as_it_is() -> None:
    assert index_variables(Indexes(main="https://m")) == {"UV_DEFAULT_INDEX": "https://m"}
    several = index_variables(Indexes(extra=("https://a", "https://b"), find_links=("/w",), trusted=("h",)))
    assert several["UV_INDEX"] == "https://a https://b"
    assert several["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert (several["UV_FIND_LINKS"], several["UV_INSECURE_HOST"]) == ("/w", "h")


def test_pip_gets_the_same_as_lines_of_the_file() -> None:
    assert option_lines(Indexes(main="https://m", extra=("https://a",), none=True)) == [
        "--index-url https://m",
        "--extra-index-url https://a",
        "--no-index",
    ]


def test_credentials_are_not_shown() -> None:
    indexes = Indexes(main="https://user:secret@h/simple", extra=("https://token@x/simple",))
    assert indexes.shown == "https://****@h/simple, https://****@x/simple"
    assert masked("a @ git+https://me:pw@h/a.git") == "a @ git+https://****@h/a.git"


def test_variables_in_options_are_filled_in_as_pip_does() -> None:
    text = "--index-url https://${TOKEN}@h/simple\n--extra-index-url https://${GONE}@h/${lower}\n"
    options = with_options(Indexes(), [], split_lines(text, "r.txt"), {"TOKEN": "t"})
    assert options.indexes.main == "https://t@h/simple"
    assert options.indexes.extra == ("https://${GONE}@h/${lower}",)
