"""Little worlds in which pip and our call of uv must choose the same versions, or differ as documented."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.environment import EnvironmentSettings
from clearml_agent_clone.environment.install_settings import InstallSettings
from tests.helpers.package_index import PackageIndex, serve
from tests.helpers.sources import make_sdist

from .conftest import Build, make_wheel

pytestmark = pytest.mark.slow


@attrs.frozen
class World:
    """What is asked for, and what comes of it: by uv; and by pip where that differs for the reason ``why``.

    ``{public}`` and ``{private}`` stand for the two indexes, ``{links}`` for a folder.
    """

    pip: str
    chosen: str
    extra: bool = False
    flags: str = ""
    by_pip: str = ""
    why: str = ""
    constraints: str = ""


WORLDS = {
    "newest": World("alpha", "alpha==2.0"),
    "range": World("alpha<2", "alpha==1.5"),
    "compatible": World("alpha~=1.0", "alpha==1.5"),
    "wildcard": World("alpha==1.*", "alpha==1.5"),
    "not equal": World("alpha!=2.0", "alpha==1.5"),
    "a dependency bounds it": World("alpha\nneeds_old", "alpha==1.5 needs_old==1.0"),
    "backtracking": World("picky\nalpha<2", "alpha==1.5 picky==1.0"),
    "pre-release beside finals": World("pre", "pre==1.0"),
    "pre-release asked for": World("pre>=2.0b1", "pre==2.0b1"),
    "pre-release alone fits": World("pre>=1.5", "pre==2.0b1"),
    "nothing but pre-releases": World("betas", "betas==0.2b1"),
    "pre-release for a dependency": World("needs_pre", "needs_pre==1.0 pre==2.0b1"),
    "--pre": World("--pre\npre", "pre==2.0b1"),
    "development release": World("dev", "dev==1.0"),
    "post release": World("post==1.0", "post==1.0"),
    "newest is a post release": World("post", "post==1.0.post1"),
    "yanked": World("withdrawn", "withdrawn==1.0"),
    "yanked and pinned": World("withdrawn==2.0", "withdrawn==2.0"),
    "needs a newer Python": World("newer", "newer==1.0"),
    "local version of a pin": World("built==1.0", "built==1.0+cu118"),
    "local version named": World("built==1.0+cpu", "built==1.0+cpu"),
    "extras": World("extras[fast]", "alpha==2.0 extras==1.0"),
    "extra that is not there": World("extras[slow]", "extras==1.0"),
    "marker": World("alpha ; python_version < '3'\npre", "pre==1.0"),
    "constraint": World("needs_any", "alpha==1.0 needs_any==1.0", constraints="alpha==1.0"),
    "no binary": World("--no-binary both\nboth", "both==1.0"),
    "only binary": World("--only-binary :all:\nboth", "both==2.0"),
    "wheel before sdist": World("sdisted", "sdisted==1.0"),
    "newer sdist beats older wheel": World("mixed", "mixed==2.0"),
    "prefer binary": World(
        "mixed", "mixed==2.0", flags="--prefer-binary", by_pip="mixed==1.0",
        why="the flag saves time, and here it would change versions",
    ),
    "hash": World("alpha==1.0 --hash=sha256:{alpha}", "alpha==1.0"),
    "no deps": World("needs_any", "needs_any==1.0", flags="--no-deps"),
    "best of two indexes": World("shared", "shared==3.0", extra=True),
    "pin that only the second index has": World("shared==3.0", "shared==3.0", extra=True),
    "pin that only the first index has": World("shared==1.0", "shared==1.0", extra=True),
    "only in the second index": World("inner", "inner==1.0", extra=True),
    "links beside an index": World("--find-links {links}\nlinked", "linked==1.0"),
    "links alone": World("--no-index\n--find-links {links}\nlinked", "linked==1.0"),
    "name in another spelling": World("Needs.Old", "alpha==1.5 needs_old==1.0"),
    "the same twice": World("alpha>=1\nalpha<2", "alpha==1.5"),
    "pinned against a dependency": World(
        "alpha==2.0\nneeds_old==1.0", "alpha==2.0 needs_old==1.0", by_pip="conflict",
        why="recorded versions ran together where they were recorded",
    ),
}  # fmt: skip


def fill_public(folder: Path) -> None:
    for name, version, *needs in (
        ("alpha", "1.0"), ("alpha", "1.5"), ("alpha", "2.0"),
        ("needs_old", "1.0", "alpha<2"), ("needs_any", "1.0", "alpha"),
        ("picky", "1.0", "alpha"), ("picky", "2.0", "alpha>=2"),
        ("pre", "1.0"), ("pre", "2.0b1"), ("needs_pre", "1.0", "pre>=2.0b1"),
        ("betas", "0.1b1"), ("betas", "0.2b1"),
        ("dev", "1.0"), ("dev", "1.1.dev3"), ("post", "1.0"), ("post", "1.0.post1"),
        ("withdrawn", "1.0"), ("withdrawn", "2.0"), ("newer", "1.0"), ("newer", "2.0"),
        ("built", "1.0"), ("built", "1.0+cpu"), ("built", "1.0+cu118"),
        ("extras", "1.0", "alpha; extra == 'fast'\nProvides-Extra: fast"),
        ("both", "2.0"), ("sdisted", "1.0"), ("mixed", "1.0"), ("shared", "1.0"), ("shared", "2.0"),
    ):  # fmt: skip
        make_wheel(folder, name, version, *needs)
    make_sdist(folder, "both", "1.0")
    make_sdist(folder, "sdisted", "1.0", "raise SystemExit('the wheel was to be taken')")
    make_sdist(folder, "mixed", "2.0")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    root = tmp_path_factory.mktemp("world")
    public, private, links = (root / name for name in ("public", "private", "links"))
    for folder in (public, private, links):
        folder.mkdir()
    fill_public(public)
    make_wheel(private, "shared", "3.0")
    make_wheel(private, "inner", "1.0")
    make_wheel(links, "linked", "1.0")
    with serve(PackageIndex(public)) as first, serve(PackageIndex(private)) as second:
        first.yanked.add("withdrawn-2.0-py3-none-any.whl")
        first.requires_python["newer-2.0-py3-none-any.whl"] = ">=3.99"
        digest = hashlib.sha256((public / "alpha-1.0-py3-none-any.whl").read_bytes()).hexdigest()
        yield {"public": first.url, "private": second.url, "links": str(links), "alpha": digest, "root": str(root)}


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the pip that ours have."""
    env = tmp_path_factory.mktemp("pip") / "env"
    argv = [sys.executable, "-m", "virtualenv", "--no-download", "--no-periodic-update", "-q", str(env)]
    subprocess.run(argv, check=True)
    return env / "bin" / "python"


def by_pip(pip: Path, case: World, text: str, environ: dict[str, str], folder: Path) -> str:
    """What pip would install, without doing so."""
    file = folder / "requirements.txt"
    file.write_text(text)
    report = folder / "report.json"
    argv = [str(pip), "-m", "pip", "install", "-q", "--dry-run", "--report", str(report), "-r", str(file)]
    done = subprocess.run([*argv, *case.flags.split()], env=environ, check=False, capture_output=True, text=True)
    if done.returncode:
        return "conflict" if "ResolutionImpossible" in done.stderr else done.stderr
    found = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    return " ".join(sorted(f"{entry['name']}=={entry['version']}" for entry in found))


@pytest.mark.parametrize("name", WORLDS)
def test_uv_chooses_what_pip_chooses(  # noqa: PLR0917 - fixtures
    build: Build, settings: EnvironmentSettings, world: dict[str, str], pip: Path, tmp_path: Path, name: str
) -> None:
    case = WORLDS[name]
    bare = {key: value for key, value in settings.environ.items() if key not in {"PIP_NO_INDEX", "PIP_FIND_LINKS"}}
    environ = {**bare, "PIP_INDEX_URL": world["public"], "PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if case.extra:
        environ["PIP_EXTRA_INDEX_URL"] = world["private"]
    text = case.pip.format(**world)
    if case.constraints:
        (tmp_path / "constraints.txt").write_text(case.constraints)
        text = f"-c {tmp_path / 'constraints.txt'}\n{text}"
    result = build(
        text,
        environ=environ,
        extra_pip_install_flags=tuple(case.flags.split()),
        installing=InstallSettings("uv"),
        uv_cache_dir=Path(world["root"]) / "cache",
    )
    assert " ".join(line for line in result.installed if not line.startswith("--")) == case.chosen
    assert by_pip(pip, case, text, environ, tmp_path) == (case.by_pip or case.chosen)
    assert bool(case.by_pip) == bool(case.why)
