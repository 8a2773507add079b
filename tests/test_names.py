"""Tasks and cells are named in their own folders, and where they are registered: nowhere else."""

import re
from pathlib import Path

import pytest

from cwrnn_cli.models import CELLS
from cwrnn_cli.tasks import TASKS

PACKAGE = Path(__file__).parents[1] / "cwrnn_cli"
# where tasks and cells are registered, the oracle of all cells, and the kernels' table of contents
REGISTRIES = {"tasks/__init__.py", "models/__init__.py", "paper.py"}
REGISTRIES |= {"kernels/reference.py", "kernels/__init__.py"}


def own(name: str) -> set[str]:
    """Prefixes of the files that may name a task, or a cell."""
    if name in TASKS:
        return {f"tasks/{name}/"}
    module = CELLS[name].__module__.removeprefix("cwrnn_cli.").replace(".", "/")
    return {f"{module}.py", f"kernels/{module.removeprefix('models/')}/"}


@pytest.mark.parametrize("name", [*TASKS, *CELLS])
def test_a_name_stands_in_its_own_folder_only(name):
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        if where in REGISTRIES or any(where.startswith(prefix) for prefix in own(name)):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            imports = re.match(r"\s*from \S+ import ", line)  # the path to a cell's own folder
            if re.search(rf"\b{name}\b", line) and not imports:
                found.append(f"{where}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_no_import_runs_from_right_to_left():
    """Each room knows only the rooms before it in this list, and itself."""
    rooms = ["kernels", "models", "training", "reporting", "benchmarks", "tasks", "evidence", "cli"]
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).parts
        if parts[0] not in rooms:
            continue
        later = rooms[rooms.index(parts[0]) + 1 :]
        for line in path.read_text(encoding="utf-8").splitlines():
            hit = re.match(r"\s*from (\.+)(\w+)?", line)
            if hit and len(hit[1]) == len(parts) and hit[2] in later:
                wrong.append(f"{'/'.join(parts)}: {line.strip()}")
    assert not wrong, "\n".join(wrong)
