"""Real git repositories for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Upstream:
    """A repository that somebody works in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def new(cls, path: Path) -> Upstream:
        path.mkdir(parents=True)
        repository = cls(path)
        repository.git("init", "--quiet", "--template=", "--initial-branch=main")
        return repository

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        return self.raw(*arguments, stdin=stdin).decode(errors="surrogateescape").strip()

    def raw(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        done = subprocess.run(["git", *arguments], cwd=self.path, input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def diff(self, *options: str) -> str:
        """What the SDK would record."""
        return self.raw("diff", *options, "HEAD").decode(errors="surrogateescape")
