"""What is released: wheel and sdist are whole, the Dockerfile builds by what README says."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

from data_prep import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("cwrnn_cli", "data_prep")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def package_files(root: Path) -> set[str]:
    """All that belongs to the packages: sources, kernels among them, pages, markers of types."""
    paths = [path for package in PACKAGES for path in (root / package).rglob("*") if path.is_file()]
    kept = [path for path in paths if "__pycache__" not in path.parts and path.name[0] != "."]
    return {path.relative_to(root).as_posix() for path in kept}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel that was made from it, without a package index."""
    pytest.importorskip("build", reason="build is in the extra 'test'")
    if tuple(map(int, version("setuptools").split(".")[:2])) < (70, 1):
        pytest.skip("setuptools before 70.1 makes no wheel by itself; the extra 'test' has a newer")
    folder = tmp_path_factory.mktemp("release")
    tree, made = folder / "tree", folder / "dist"  # setuptools writes into the tree
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tree)
    for name in (*PACKAGES, "docs", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(tree)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def site(built, tmp_path_factory) -> Path:
    """The wheel, unpacked as pip would."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(built / f"cwrnn-{__version__}-py3-none-any.whl") as wheel:
        wheel.extractall(folder)
    return folder


def test_the_wheel_has_all_of_both_packages_and_nothing_else(site):
    assert package_files(site) == package_files(ROOT)
    assert {path.name for path in site.iterdir()} == {*PACKAGES, f"cwrnn-{__version__}.dist-info"}
    for needed in (
        "cwrnn_cli/py.typed",
        "data_prep/py.typed",
        "data_prep/music.py",  # the built-in piece
        "cwrnn_cli/kernels/clockwork/triton.py",
        "cwrnn_cli/tasks/iamondb/draw.html",
        "cwrnn_cli/evidence/report/report.css",
    ):
        assert (site / needed).is_file(), needed


def test_the_wheel_says_what_it_is(site):
    (info,) = site.glob("*.dist-info")
    about = Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    assert (about["Name"], about["Version"]) == ("cwrnn", __version__)
    assert about["Requires-Python"] == ">=3.11"
    assert about["Description-Content-Type"] == "text/markdown"
    assert "In your own code" in about.get_payload()
    assert "cwrnn = cwrnn_cli.cli:main" in (info / "entry_points.txt").read_text()
    assert [path.name for path in info.rglob("LICENSE")] == ["LICENSE"]


def test_the_wheel_runs_and_plays_its_own_music(site, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import data_prep; print(data_prep.__file__)").startswith(str(site))
    run("-m", "cwrnn_cli", "prepare", "audio")
    assert (tmp_path / "data/audio.h5").is_file()


def test_the_sdist_has_what_explains_it_and_no_results(built):
    with tarfile.open(built / f"cwrnn-{__version__}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("LICENSE", "README.md", "CITATION.cff", "constraints.txt", "docs/using.md"):
        assert name in names
    assert package_files(ROOT) <= names
    assert not [name for name in names if name.startswith(("results", "tests"))]


def test_the_citation_is_of_this_version():
    yaml = pytest.importorskip("yaml", reason="PyYAML is in the extra 'docs'")
    cited = yaml.safe_load(read("CITATION.cff"))
    assert cited["version"] == __version__ and cited["license"] == "MIT"
    assert {"cff-version", "message", "title", "authors", "type"} <= set(cited)
    (paper,) = cited["references"]
    assert [author["family-names"] for author in paper["authors"]][0] == "Koutník"
    assert paper["url"] in read("README.md")


def test_the_release_notes_are_of_this_version():
    assert re.search(rf"^## {re.escape(__version__)}$", read("docs/release-notes.md"), re.M)


# Dockerfile: its steps, without Docker


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.M).replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, _, rest in lines]


def steps(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def two_commands() -> list[str]:
    block = re.search(r"^## Two commands$.*?^```bash\n(.*?)^```", read("README.md"), re.M | re.S)
    return [line.partition("#")[0].strip() for line in block[1].splitlines()]


def test_the_image_is_built_by_the_two_commands_of_the_readme():
    installs, *builds = steps("RUN")
    assert builds == two_commands() and len(builds) == 2
    assert installs.startswith("apt-get update && apt-get install ")
    assert all((ROOT / command.split()[-1]).is_file() for command in builds)


def test_the_scripts_are_told_how_many_runs_by_the_build_argument():
    (argument,) = steps("ARG")
    name, _, default = argument.partition("=")
    assert f"${{{name}:-{default}}}" in read("scripts/reproduce.sh")
    order = [word for word, _ in instructions()]
    assert order.index("COPY") < order.index("ARG") < len(order) - 1 - order[::-1].index("RUN")


def test_everything_tracked_is_copied_and_nothing_that_was_built():
    (copied,) = steps("COPY")
    assert copied == ". ."
    left_out = read(".dockerignore").split()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for path in tracked.stdout.splitlines():
        parents = [path, *map(str, Path(path).parents)]
        patterns = [pattern.removeprefix("**/") for pattern in left_out]
        hit = [p for p in patterns for parent in parents if fnmatch.fnmatch(parent, p)]
        assert not hit, f"{path} is left out of the image by {hit}"
    # what git ignores by name is no part of the image either: above all .venv, of another Python
    ignored = {line.strip("/") for line in read(".gitignore").split()}
    assert ignored <= {pattern.removeprefix("**/") for pattern in left_out}


# programs of python:3.12-slim (Debian) that are used here; and of what the image installs
IMAGE = {"bash", "python3", "cat", "cksum", "dirname", "sleep"}
INSTALLED = {"g++": {"g++"}, "gcc": {"cc", "gcc"}, "git": {"git"}, "procps": {"ps"}}
LIBRARIES = {"libc6-dev"}
# tests that want these are skipped without them, or have another way
OPTIONAL = {"clang", "clang++", "chromium", "chromium-browser", "google-chrome"}
SHELL = {"set", "cd", "if", "then", "fi", "for", "do", "done", "in", "echo", "exit", "exec"}


def programs_of_scripts() -> set[str]:
    """First words of the commands of what the image runs."""
    command = re.compile(r"(?:^|[|;]|&&|\$\(|\bif !?)\s*([a-z][\w+-]*)(?=[\s)])", re.M)
    found: set[str] = set()
    for name in ("scripts/install.sh", "scripts/reproduce.sh", "scripts/test.sh"):
        text = re.sub(r"(^|\s)#.*|^\s*echo .*", "", read(name), flags=re.M)
        found |= set(command.findall(text)) | set(re.findall(r"\$\{PYTHON:-(\w+)\}", text))
    return found - SHELL


def programs_of_tests() -> set[str]:
    """What tests start by name, or look for."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"(?:run|Popen|check_output)\(\s*\[\"([\w+-]+)\"", text))
        found |= set(re.findall(r"which\(\"([\w+-]+)\"\)", text))
    return found


def test_the_image_has_every_program_that_the_scripts_and_the_tests_start():
    (base,) = steps("FROM")
    assert base == "python:3.12-slim"
    words = steps("RUN")[0].split("&&")[1].split()[2:]
    packages = {word for word in words if not word.startswith("--")}
    assert packages == INSTALLED.keys() | LIBRARIES
    there = IMAGE.union(*INSTALLED.values())
    needed = programs_of_scripts() | programs_of_tests()
    assert {"python3", "cksum", "git", "ps", "g++"} <= needed  # they are found
    assert needed - OPTIONAL <= there
