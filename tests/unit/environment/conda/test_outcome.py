"""What micromamba, mamba and conda print when packages cannot be had, and what that is taken to mean.

The texts are shaped like those of conda 4.9 (classic solver), conda 24 (libmamba), mamba 1.5 and micromamba 2.
"""

from __future__ import annotations

import pytest

from clearml_agent_clone.environment.conda.outcome import read_output, read_report
from clearml_agent_clone.environment.conda.specs import Spec

SPECS = (Spec("python", "3.11.*"), Spec("numpy", "==9.9"), Spec("foo"), Spec("bar", "~=1.0"))

CONDA_CLASSIC = """Collecting package metadata (repodata.json): ...working... done
Solving environment: ...working... failed

ResolvePackageNotFound:
  - foo
  - numpy==9.9
"""
CONDA_NOT_FOUND = """Channels:
 - conda-forge
Solving environment: failed

PackagesNotFoundError: The following packages are not available from current channels:

  - foo

Current channels:

  - https://conda.anaconda.org/conda-forge
"""
LIBMAMBA = """LibMambaUnsatisfiableError: Encountered problems while solving:
  - nothing provides requested numpy 9.9

Could not solve for environment specs
The following package could not be installed
\u2514\u2500 numpy 9.9  does not exist (perhaps a typo or a missing channel).
"""
MICROMAMBA = """error    libmamba Could not solve for environment specs
    The following packages are incompatible
    \u251c\u2500 foo   does not exist (perhaps a typo or a missing channel);
    \u2514\u2500 numpy ==9.9 * does not exist (perhaps a typo or a missing channel).
critical libmamba Could not solve for environment specs
"""
NESTED = """error    libmamba Could not solve for environment specs
    The following package could not be installed
    \u2514\u2500 bar ~=1.0 * is not installable because it requires
       \u2514\u2500 python >=3.12 *, which does not exist (perhaps a missing channel).
critical libmamba Could not solve for environment specs
"""
CONFLICT = """error    libmamba Could not solve for environment specs
    The following packages are incompatible
    \u251c\u2500 bar ~=1.0 * is installable with the potential options
    \u2502  \u2514\u2500 bar 1.0 would require
    \u2502     \u2514\u2500 python >=3.12 *, which can be installed;
    \u2514\u2500 python 3.11.*  is not installable because it conflicts with any installable versions.
critical libmamba Could not solve for environment specs
"""
UNSATISFIABLE = """UnsatisfiableError: The following specifications were found to be incompatible with each other:

Package python conflicts for:
python=3.11
bar -> python[version='>=3.12']
"""


@pytest.mark.parametrize(
    ("output", "absent", "unmatched"),
    [
        (CONDA_CLASSIC, ("foo",), {"numpy"}),
        (CONDA_NOT_FOUND, ("foo",), set()),
        (LIBMAMBA, (), {"numpy"}),
        (MICROMAMBA, ("foo",), {"numpy"}),
    ],
)
def test_packages_that_are_not_there(output: str, absent: tuple[str, ...], unmatched: set[str]) -> None:
    outcome = read_output(output, SPECS)
    assert (outcome.absent, set(outcome.unmatched), outcome.error) == (absent, unmatched, None)


@pytest.mark.parametrize("output", [CONFLICT, NESTED, UNSATISFIABLE])
def test_packages_that_do_not_go_together(output: str) -> None:
    outcome = read_output(output, SPECS)
    assert (outcome.absent, outcome.unmatched, outcome.error) == ((), {}, None)
    assert "python" in outcome.reason
    assert "\n" not in outcome.reason


@pytest.mark.parametrize(
    "output",
    [
        "CondaHTTPError: HTTP 000 CONNECTION FAILED for url <https://u:secret@host.invalid/x/noarch/repodata.json>\n",
        "critical libmamba Download error (6) Could not resolve hostname [https://host.invalid/x/repodata.json.zst]\n",
        "UnavailableInvalidChannel: HTTP 404 NOT FOUND for channel x <https://host.invalid/x>\n",
        "error    libmamba Failed to retrieve https://host.invalid/x/noarch/repodata.json\n",
    ],
)
def test_a_channel_that_cannot_be_reached(output: str) -> None:
    outcome = read_output(output, SPECS)
    assert outcome.error is not None
    assert outcome.error.message.startswith("a conda channel cannot be reached (https://")
    assert "host.invalid/x" in outcome.error.message
    assert "secret" not in str(outcome.error)


def test_a_full_disk() -> None:
    outcome = read_output("OSError: [Errno 28] No space left on device\n", SPECS)
    assert outcome.error is not None
    assert "disk is full" in outcome.error.message


def test_anything_else_is_told_with_its_last_words() -> None:
    outcome = read_output("Traceback\nValueError: very odd\n", SPECS)
    assert outcome.error is not None
    assert "very odd" in outcome.error.message
    assert outcome.error.code == "packages-failed"
    silent = read_output("", SPECS)
    assert silent.error is not None
    assert "gave no reason" in silent.error.message


def test_an_installer_that_broke_says_what_it_said_last() -> None:
    outcome = read_report("", "Segmentation fault")
    assert outcome.error is not None
    assert "Segmentation fault" in outcome.error.message
