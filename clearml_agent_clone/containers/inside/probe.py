"""Runs in a container: which interpreters there are, what they are, and what they bring. Prints one line of JSON.

For Python 3.6 and later, standard library only. The program is read from standard input, so nothing has to be mounted.
"""
# ruff: noqa: UP006, UP035, UP045, PTH110, PTH111, PTH118, PTH120, PTH207, PTH208 - Python 3.6 writes types in no other way; os is faster

import glob
import json
import os
import platform
import re
import subprocess
import sys
from typing import Any, Dict, Iterator, List, Optional, Tuple

MARK = "clearml-probe:"
USUAL = (
    *("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"),
    *("/opt/conda/bin", "/opt/miniconda3/bin", "/opt/anaconda3/bin", "/root/miniconda3/bin", "/databricks/python/bin"),
    *("/opt/venv/bin", "/venv/bin", "/app/.venv/bin", "/usr/libexec"),
)
NAMES = re.compile(r"(python3(\.\d+)?|python|platform-python)$")
PATIENCE = 60.0
QUESTION = r"""
import json, os, platform, sys, sysconfig
places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
places += [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
places = [path for number, path in enumerate(places) if path and path not in places[:number]]
base = sys.executable
if sys.prefix != sys.base_prefix:
    names = ["python%d.%d" % sys.version_info[:2], "python3", "python"]
    there = [os.path.join(sys.base_prefix, "bin", name) for name in names]
    base = next((place for place in there if os.path.exists(place)), os.path.realpath(sys.executable))
def package(folder, name):
    for file in (name + "/METADATA", name + "/PKG-INFO", name):
        try:
            with open(os.path.join(folder, file), encoding="utf-8", errors="replace") as lines:
                found = {}
                for line in lines:
                    key, _, value = line.partition(":")
                    if key.lower() in ("name", "version"):
                        found.setdefault(key.lower(), value.strip())
                    if len(found) == 2 or not line.strip():
                        break
                return found.get("name", ""), found.get("version", "")
        except (OSError, ValueError):
            continue
    return "", ""
listed = {}
for folder in places:
    try:
        names = os.listdir(folder)
    except OSError:
        continue
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            called, version = package(folder, name)
            if called:
                listed.setdefault(called, version)
library = os.path.dirname(os.__file__)
print(json.dumps({
    "executable": sys.executable,
    "real": os.path.realpath(sys.executable),
    "version": platform.python_version(),
    "build": " ".join([sys.implementation.cache_tag or "", " ".join(platform.python_build()), platform.python_compiler()]),
    "system": sysconfig.get_platform(),
    "abi": sysconfig.get_config_var("EXT_SUFFIX") or "",
    "base": base,
    "virtual": sys.prefix != sys.base_prefix,
    "conda": os.path.isdir(os.path.join(sys.prefix, "conda-meta")),
    "packages": places,
    "writable": bool(places) and os.access(places[0], os.W_OK),
    "listed": listed,
    "venv": all(os.path.isdir(os.path.join(library, name)) for name in ("venv", "ensurepip")),
    "pip": any(os.path.isdir(os.path.join(folder, "pip")) for folder in places),
}))
"""


def main() -> None:
    """Look, ask, tell."""
    found: List[Dict[str, Any]] = []
    seen, asked = set(), set()
    for path, how in candidates():
        if not os.access(path, os.X_OK) or place(path) in asked:
            continue
        asked.add(place(path))
        said = ask(path)
        if said is None:
            continue
        key = said["executable"] if said["virtual"] else said["real"]
        if key not in seen:
            seen.add(key)
            said["path"], said["found"] = path, how
            found.append(said)
    told = {
        "machine": platform.machine(),
        "libc": libc(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "home": os.path.expanduser("~"),
        "interpreters": found,
        "activated": os.environ.get("VIRTUAL_ENV", ""),
    }
    sys.stdout.write("\n" + MARK + json.dumps(told) + "\n")


def candidates() -> Iterator[Tuple[str, str]]:
    """Paths of interpreters, the one that should be taken first in front, each with how it was found."""
    prepared = (("VIRTUAL_ENV", "activated in the image"), ("CONDA_PREFIX", "the image's conda environment"))
    for name, how in prepared:
        folder = os.environ.get(name)
        if folder:
            yield os.path.join(folder, "bin", "python"), how
    folders = [folder for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]
    for name in ("python3", "python"):
        for folder in folders:
            yield os.path.join(folder, name), "the image's"
    if sys.executable:
        yield sys.executable, "the image's"
    usual = [place for pattern in USUAL for place in glob.glob(pattern)]
    for folder in folders + [place for place in usual if place not in folders]:
        try:
            names = sorted(os.listdir(folder), key=newest_first)
        except OSError:
            continue
        for name in names:
            if NAMES.match(name):
                yield os.path.join(folder, name), "in the image"


def place(path: str) -> str:
    """The same for all names of one interpreter. In a virtual environment its links lead out of it."""
    folder = os.path.realpath(os.path.dirname(path))
    virtual = os.path.exists(os.path.join(os.path.dirname(folder), "pyvenv.cfg"))
    return folder if virtual else os.path.realpath(path)


def newest_first(name: str) -> Tuple[int, ...]:
    """Sorts ``python3.12`` before ``python3.9``."""
    return tuple(-int(part) for part in re.findall(r"\d+", name))


def ask(path: str) -> Optional[Dict[str, Any]]:
    """What the interpreter at ``path`` says about itself; None when it is none, or too old."""
    try:
        asked = subprocess.Popen(
            [path, "-I", "-c", QUESTION], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        output = asked.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        asked.kill()
        asked.communicate()
        return None
    try:
        said = json.loads(output.decode("utf-8", "replace"))
    except ValueError:
        return None
    return said if isinstance(said, dict) and str(said.get("version", "")).startswith("3.") else None


def libc() -> str:
    """``glibc-2.36`` or ``musl-1.2``."""
    name, version = platform.libc_ver()
    if name == "glibc":
        return name + "-" + version
    for loader in sorted(glob.glob("/lib/ld-musl-*.so.1")):
        try:
            asked = subprocess.Popen(
                [loader], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            said = re.search(r"Version (\d+\.\d+)", asked.communicate()[0].decode("utf-8", "replace"))
        except OSError:
            said = None
        return "musl-" + (said.group(1) if said else "1.1")
    return "-".join(part for part in (name, version) if part)


if __name__ == "__main__":
    main()
