"""What uv (now and at its lowest version) and pip really print, shortened, and what is made of it."""

from __future__ import annotations

import pytest

from clearml_agent_clone.environment.failures import Failure, diagnose

_OLD_CONFLICT = """Using Python 3.11.7 environment at t1
  \u00d7 No solution found when resolving dependencies:
  \u2570\u2500\u25b6 Because requests==2.28.0 depends on urllib3>=1.21.1,<1.27 and
      you require requests==2.28.0, we can conclude that you require
      urllib3>=1.21.1,<1.27.
      And because you require urllib3==2.2.0, we can conclude that your
      requirements are unsatisfiable.
"""
_PIP_CONFLICT = """The conflict is caused by:
    The user requested numpy==1.20.0
    pandas 2.1.0 depends on numpy>=1.23.2

To fix this you could try to:
1. loosen the range of package versions you've specified
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/
"""
_BUILD = """error: Failed to build `bad @ file:///x/bad`
  cause: The build backend returned an error
  cause: Call to `nope.get_requires_for_build_wheel` failed (exit status: 1)

         [stderr]
         Traceback (most recent call last):
           File "<string>", line 8, in <module>
         ModuleNotFoundError: No module named 'nope'

hint: This error likely indicates that `bad@1` depends on `nope`
"""
_PYTHON = """error: No solution found when resolving dependencies
  cause: Because the current Python version (3.11.7) does not satisfy Python>=3.12 and numpy==2.5.0 depends on Python>=3.12, we can conclude that numpy==2.5.0 cannot be used.
         And because you require numpy==2.5.0, we can conclude that your requirements are unsatisfiable.
"""


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            (
                "error: No solution found when resolving dependencies\n  cause: Because nope was not found in the package "
                "registry and you require nope, we can conclude that your requirements are unsatisfiable.\n"
            ),
            'package "nope" does not exist in PyPI',
        ),
        (
            "  \u2570\u2500\u25b6 Because nope was not found in the package registry and you\n      require nope, we can\n",
            'package "nope" does not exist in PyPI',
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement nope (from versions: none)\n",
            'package "nope" does not exist in PyPI',
        ),
        (
            "  cause: Because there is no version of six==99.0 and you require six==99.0, we can conclude",
            "package six has no version ==99.0 for this machine in PyPI",
        ),
        (
            "  cause: Because only six<=1.17.0 is available and you require six>=99, we can conclude",
            "package six has no version >=99 for this machine in PyPI; it has only six<=1.17.0",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement six==99.0 (from versions: 1.15.0, 1.16.0)",
            "package six has no version ==99.0 for this machine in PyPI; the last ones are 1.15.0, 1.16.0",
        ),
        (
            _PYTHON,
            "package numpy==2.5.0 does not support this Python: 3.11.7 does not satisfy Python>=3.12",
        ),
        (
            _OLD_CONFLICT,
            (
                "the packages contradict each other: requests==2.28.0 needs urllib3>=1.21.1,<1.27 and the task asks for "
                "urllib3==2.2.0"
            ),
        ),
        (
            _PIP_CONFLICT,
            "the packages contradict each other: the task asks for numpy==1.20.0 and pandas 2.1.0 needs numpy>=1.23.2",
        ),
        (_BUILD, "package bad could not be built: its build imports nope without asking for it"),
        (
            (
                "error: Request failed after 3 retries in 5.7s\n  cause: Failed to fetch: http://h:9/simple/six/\n"
                "  cause: tcp connect error\n  cause: Connection refused (os error 111)\n"
            ),
            "an index cannot be reached (http://h:9/simple/six/): Connection refused (os error 111)",
        ),
        (
            (
                "  cause: Because six was not found in the package registry\n\nhint: An index URL (http://h/simple) could not "
                "be queried due to a lack of valid authentication credentials (401 Unauthorized)\n"
            ),
            "an index refuses the credentials (http://h/simple)",
        ),
        (
            "error: Failed to fetch: https://h/simple/six/\n  cause: invalid peer certificate: UnknownIssuer\n",
            "the certificate of an index is not trusted (https://h/simple/six/)",
        ),
        (
            (
                "error: Failed to download and build `x @ git+https://h/x.git`\n  cause: Git operation failed\n"
                "         fatal: unable to access 'https://h/x.git/': no route\n"
            ),
            "a git repository cannot be fetched: unable to access 'https://h/x.git/': no route",
        ),
        ("  cause: No space left on device (os error 28)", "the disk is full: No space left on device (os error 28)"),
        ("something new\n", "packages could not be installed: something new"),
        ("", "packages could not be installed: it gave no reason"),
    ],
)
def test_the_cause_is_named(output: str, message: str) -> None:
    assert diagnose(output, "PyPI").message == message


def test_what_the_next_step_depends_on() -> None:
    assert diagnose(_OLD_CONFLICT, "PyPI").conflict
    assert diagnose("Because there is no version of six==99.0 and", "PyPI").package == "six"
    assert diagnose("error: Couldn't parse requirement in `r.txt` at position 0\n  cause: no", "PyPI").engine_only
    assert not diagnose(_BUILD, "PyPI").engine_only


def test_the_error_carries_no_password_and_the_newest_version() -> None:
    error = Failure("x is not in https://me:pw@h/simple", "Do this", package="x").error("1.0")
    assert str(error) == "x is not in https://****@h/simple; the newest one there is 1.0. Do this"
    assert error.code == "packages-failed"
