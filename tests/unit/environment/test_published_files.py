"""Requirement files of the kinds that public projects have, and what becomes of each line."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.environment import EnvironmentSettings
from tests.helpers.requirement_cases import SHA, Case, check

_HASH = "--hash=sha256:" + 64 * "a"

CASES = [
    Case("a flask application: pins alone", "Flask==2.3.3\nJinja2==3.1.2\nWerkzeug==2.3.7\n"),
    Case("a script: names alone", "numpy\npandas\nscikit-learn\n"),
    Case(
        "a detector, with sections and ranges",
        "# Base ------------------------\ngitpython>=3.1.30\nmatplotlib>=3.3\nopencv-python>=4.1.1\nPillow>=9.4.0\n"
        "thop>=0.1.1  # FLOPs computation\ntorch>=1.8.0\n# protobuf<=3.20.1  # see the issue\n"
        "setuptools>=65.5.1 # Snyk vulnerability fix\n",
        (
            *("gitpython>=3.1.30", "matplotlib>=3.3", "opencv-python>=4.1.1", "Pillow>=9.4.0", "thop>=0.1.1"),
            *("torch>=1.8.0", "setuptools>=65.5.1"),
        ),
    ),
    Case(
        "a web interface of a generator: pins without markers, git at a commit",
        f"accelerate==0.21.0\nblendmodes==2022\nclip @ git+https://github.com/openai/CLIP.git@{SHA}\ntorch\n",
    ),
    Case(
        "a diffusion model: editable git at a branch",
        "albumentations==0.4.3\n-e git+https://github.com/CompVis/taming-transformers.git@master#egg=taming-transformers\n"
        "-e git+https://github.com/openai/CLIP.git@main#egg=clip\n-e .\n",
        (
            "albumentations==0.4.3",
            "taming-transformers @ git+https://github.com/CompVis/taming-transformers.git@master",
            "clip @ git+https://github.com/openai/CLIP.git@main",
            "-e ROOT",
        ),
        ("taming-transformers: installed, not linked", "egg=clip: installed, not linked"),
        kept=False,
        files={"setup.py": ""},
    ),
    Case(
        "an OpenMMLab project: files per purpose",
        "-r requirements/build.txt\n-r requirements/optional.txt\n-r requirements/runtime.txt\n",
        ("cython", "numpy", "cityscapesscripts", "fairscale", "matplotlib", "pycocotools", "six"),
        files={
            "requirements/build.txt": "# These must be installed before building\ncython\nnumpy\n",
            "requirements/optional.txt": "cityscapesscripts\nfairscale\n",
            "requirements/runtime.txt": "matplotlib\nnumpy\npycocotools\nsix\n",
        },
    ),
    Case(
        "one that reads its own requirements from below",
        "-r a/one.txt\n",
        ("one", "two"),
        files={"a/one.txt": "one\n-r two.txt\n", "a/two.txt": "two\n-r one.txt\n"},
        notes=("left out, the file includes itself",),
    ),
    Case(
        "a sequence toolkit: markers for old interpreters",
        'cffi\ncython\ndataclasses; python_version<"3.7"\nhydra-core>=1.0.7,<1.1\nomegaconf<2.1\n'
        'numpy>=1.21.3; python_version>="3.10"\nbitarray\n',
    ),
    Case(
        "a speech model",
        "numba\nnumpy\ntorch\ntqdm\nmore-itertools\ntiktoken\ntriton>=2.0.0;platform_machine=='x86_64'\n",
    ),
    Case(
        "a chain of language models: extras and upper bounds",
        "langchain-core>=0.3.1,<0.4\nuvicorn[standard]>=0.23.2,<1.0.0\nSQLAlchemy[asyncio]>=1.4,<3\nPyYAML>=5.3\n",
    ),
    Case(
        "a workflow engine: constraints from its site",
        "-c https://raw.githubusercontent.com/apache/airflow/constraints-2.8.0/constraints-3.11.txt\napache-airflow==2.8.0\n",
        kept=False,
    ),
    Case(
        "constraints beside it",
        "--constraint constraints.txt\ntensorflow-datasets\n",
        ("tensorflow-datasets",),
        constraints=("numpy<2", "protobuf==3.20.3"),
        files={"constraints.txt": "# kept back\nnumpy<2\nprotobuf==3.20.3\n"},
    ),
    Case(
        "CUDA builds from an index of their own",
        "--extra-index-url https://download.pytorch.org/whl/cu113\ntorch==1.12.1+cu113\ntorchvision==0.13.1+cu113\n",
        ("torch==1.12.1+cu113", "torchvision==0.13.1+cu113"),
        indexes="PyPI, https://download.pytorch.org/whl/cu113",
    ),
    Case(
        "CUDA builds from a page, named behind the package",
        "torch==1.9.0+cu111 -f https://download.pytorch.org/whl/torch_stable.html\nscipy\n",
        ("torch==1.9.0+cu111", "scipy", "setuptools<59"),
        ("-f https://download.pytorch.org/whl/torch_stable.html is read as a line", "setuptools<59: added"),
        indexes="PyPI, https://download.pytorch.org/whl/torch_stable.html",
    ),
    Case(
        "graph networks: pages for each version",
        "--find-links https://data.pyg.org/whl/torch-1.13.0+cu117.html\ntorch-scatter\ntorch-sparse\n",
        ("torch-scatter", "torch-sparse"),
        indexes="PyPI, https://data.pyg.org/whl/torch-1.13.0+cu117.html",
    ),
    Case(
        "an old torch with tensorboard",
        "torch==1.7.1\ntensorboard\n",
        ("torch==1.7.1", "tensorboard", "setuptools<59"),
        ("setuptools<59: added, the tensorboard part of torch==1.7.1",),
    ),
    Case("an old torch and a setuptools of its own", "torch==1.10.0\nsetuptools==58.2.0\n"),
    Case("a newer torch", "torch==1.13.0\n"),
    Case(
        "one private index",
        "--index-url https://nexus.example.com/repository/pypi/simple\nourlib==3.1\n",
        ("ourlib==3.1",),
        indexes="https://nexus.example.com/repository/pypi/simple",
    ),
    Case(
        "a private index with a password, beside the public one",
        "--extra-index-url https://reader:hunter22@pypi.example.com/simple/\n--trusted-host pypi.example.com\nourlib\n",
        ("ourlib",),
        indexes="PyPI, https://****@pypi.example.com/simple/",
    ),
    Case(
        "two options on one line",
        "-i https://a.example/simple --trusted-host a.example\nourlib\n",
        ("ourlib",),
        indexes="https://a.example/simple",
    ),
    Case(
        "a token in the address of the index",
        "--extra-index-url https://pypi.fury.io/${FURY_AUTH}/me/\nourlib\n",
        ("ourlib",),
        indexes="PyPI, https://pypi.fury.io/${FURY_AUTH}/me/",
        environ={"FURY_AUTH": "t0psecret"},
    ),
    Case(
        "a token that is not there",
        "git+https://${GITHUB_TOKEN}@github.com/org/lib.git@v1\n",
        notes=("GITHUB_TOKEN is not set on this machine",),
        kept=False,
    ),
    Case(
        "a token that is there",
        f"lib @ git+https://${{GITHUB_TOKEN}}@github.com/org/lib.git@{SHA}\n",
        environ={"GITHUB_TOKEN": "t0psecret"},
    ),
    Case("a version from a variable", "six==${SIX_VERSION}\n", ("six==1.16.0",), environ={"SIX_VERSION": "1.16.0"}),
    Case(
        "wheels in the repository",
        "--no-index\n--find-links ./wheelhouse\nourlib\n",
        ("ourlib",),
        indexes="ROOT/wheelhouse",
        files={"wheelhouse/ourlib-1.0-py3-none-any.whl": "x"},
    ),
    Case(
        "a monorepo: packages beside each other",
        "./libs/core\n-e ./libs/app[dev]\nlibs/tools\n",
        ("ROOT/libs/core", "-e ROOT/libs/app[dev]", "ROOT/libs/tools"),
        kept=False,
        files={f"libs/{name}/pyproject.toml": "" for name in ("core", "app", "tools")},
    ),
    Case(
        "a monorepo with a folder that is not in this branch",
        "./libs/gone\nsix\n",
        ("six",),
        ("./libs/gone: left out, there is no ROOT/libs/gone",),
    ),
    Case(
        "one wheel in the repository",
        "dist/a-1.0-py3-none-any.whl\n",
        ("ROOT/dist/a-1.0-py3-none-any.whl",),
        kept=False,
        files={"dist/a-1.0-py3-none-any.whl": "x"},
    ),
    Case("a wheel on a web server", "https://example.com/dist/a-1.0-py3-none-any.whl\n"),
    Case("a wheel with its sum", f"a @ https://example.com/a-1.0-py3-none-any.whl#sha256={64 * 'a'}\n"),
    Case("a release archive", "https://github.com/explosion/m/releases/download/m-3.7.1/m-3.7.1.tar.gz\n"),
    Case("an archive of a tag", "https://github.com/org/lib/archive/refs/tags/v1.2.zip\n"),
    Case("an archive of a commit", f"https://github.com/org/lib/archive/{SHA}.zip\n"),
    Case("an archive of a branch", "https://github.com/org/lib/archive/master.zip\n", kept=False),
    Case("git without a revision", "git+https://github.com/facebookresearch/detectron2.git\n", kept=False),
    Case("git by ssh", f"private @ git+ssh://git@github.com/org/private.git@{SHA}\n"),
    Case("git of a subfolder", f"git+https://github.com/org/mono.git@{SHA}#egg=part&subdirectory=part\n"),
    Case(
        "git's short form",
        "git+ssh://git@github.com:org/private.git@main\ngit@github.com:org/other.git\n",
        ("git+ssh://git@github.com/org/private.git@main", "git+ssh://git@github.com/org/other.git"),
        ("git's short form of an address", "git's short form of an address"),
        kept=False,
    ),
    Case(
        "the address of a repository as the browser shows it",
        "https://github.com/org/lib.git\nlib2 @ https://github.com/org/lib2.git@v1\n",
        ("git+https://github.com/org/lib.git", "lib2 @ git+https://github.com/org/lib2.git@v1"),
        ("it is a git repository", "it is a git repository"),
        kept=False,
    ),
    Case(
        "a protocol that GitHub dropped",
        f"-e git+git://github.com/org/lib.git@{SHA}#egg=lib\n",
        (f"lib @ git+https://github.com/org/lib.git@{SHA}",),
        ("GitHub no longer speaks git://; installed, not linked",),
    ),
    Case("mercurial", "hg+https://hg.example.com/lib@1.0#egg=lib\n", engine="pip", kept=False),
    Case("options of the build", 'pyyaml==5.4 --global-option="--with-libyaml"\n', engine="pip"),
    Case("a build setting", 'lib==1.0 --config-settings="--build-option=--x"\n', engine="pip"),
    Case(
        "pre-releases, and no wheels of one",
        "--pre\n--no-binary av,opencv-python\n--only-binary=:all:\n--prefer-binary\nav\n",
        ("av",),
        flags=("--pre", "--no-binary=av", "--no-binary=opencv-python", "--only-binary=:all:"),
    ),
    Case(
        "options that are none of pip's files",
        "--use-wheel\n--no-deps\nsix\n",
        ("six",),
        ("--use-wheel: left out, the option has no meaning", "--no-deps: left out"),
    ),
    Case(
        "hashes of pip-tools",
        "#\n# This file is autogenerated by pip-compile with Python 3.11\n#\n"
        f"certifi==2023.7.22 \\\n    {_HASH} \\\n    {_HASH}\n    # via requests\n"
        f"requests==2.31.0 \\\n    {_HASH}\n    # via -r requirements.in\n",
        (f"certifi==2023.7.22     {_HASH}     {_HASH}", f"requests==2.31.0     {_HASH}"),
        flags=("--require-hashes",),
    ),
    Case(
        "hashes of poetry export",
        f'colorama==0.4.6 ; python_version >= "3.8" and sys_platform == "win32" \\\n    {_HASH}\n'
        f'idna==3.4 ; python_version >= "3.8" and python_version < "4.0" \\\n    {_HASH}\n',
        (
            f'colorama==0.4.6 ; python_version >= "3.8" and sys_platform == "win32"     {_HASH}',
            f'idna==3.4 ; python_version >= "3.8" and python_version < "4.0"     {_HASH}',
        ),
        flags=("--require-hashes",),
    ),
    Case(
        "what old pips took for versions",
        "torchvision>=0.8.*\ntqdm~=4\nscipy>1.*,<2.*\nnumpy==1.*\n",
        ("torchvision>=0.8", "tqdm~=4.0", "scipy>1,<2", "numpy==1.*"),
        ("used as torchvision>=0.8, the standard", "used as tqdm~=4.0", "used as scipy>1,<2"),
    ),
    Case("blanks, brackets and epochs", "six (>=1.10)\nlib == 1!2.0\nurllib3 [ secure ] >= 1.26 , != 1.27\n"),
    Case("arbitrary equality", "lib===1.0-special\n"),
    Case("the same version twice", "numpy==1.26.4\nNumPy == 1.26.4\n", ("numpy==1.26.4",)),
    Case("two versions: the engine shall say it", "numpy==1.21\nnumpy==1.22\n"),
    Case(
        "the SDK twice",
        "clearml==1.9.0\nsix\nclearml\n",
        ("six", "clearml"),
        ("clearml==1.9.0: left out, a later line asks for clearml",),
    ),
    Case("the old SDK", "trains==0.16.4\n"),
    Case("a package per interpreter", 'numpy==1.21.6; python_version<"3.8"\nnumpy==1.26.4; python_version>="3.8"\n'),
    Case("something nobody understands", "google google_api_core\n", notes=("not understood, passed on as it is",)),
    Case(
        "distributed training",
        "tensorflow==2.15.0\nhorovod[tensorflow]==0.28.1\n",
        notes=("Last, by agent.package_manager.post_packages: horovod",),
        stages=(("tensorflow==2.15.0",), ("horovod[tensorflow]==0.28.1",)),
    ),
    Case(
        "a desktop toolkit",
        "pygobject\nsix\n",
        notes=("First and if possible, by agent.package_manager.priority_optional_packages: pygobject",),
        stages=(("pygobject",), ("six",)),
    ),
    Case("an empty file", "", ()),
    Case("comments alone", "# nothing is needed\n", ()),
    Case(
        "a lock file that is not asked for",
        "six\n",
        notes=("uv.lock of the repository is not read: agent.package_manager.type: uv would",),
        files={"uv.lock": "", "pyproject.toml": ""},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_published_file(case: Case, tmp_path: Path, settings: EnvironmentSettings, memory: Path) -> None:
    told = check(case, tmp_path / "checkout", settings, memory)
    assert "hunter22" not in told
    assert "t0psecret" not in told
