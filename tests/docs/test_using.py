"""docs/using.md: every block of code runs as it stands there, and what it asserts holds."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "using.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
# heading and blocks of code of each part that has any; a comment in Python has one #
PARTS = [
    (part.partition("\n")[0], blocks)
    for part in re.split(r"^##+ ", PAGE, flags=re.M)
    if (blocks := BLOCK.findall(part))
]
# of the extra `recipes`: what is needed for what the page imports
NEEDED = {
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "pytorch_lightning": ("pytorch_lightning",),
    "safetensors": ("safetensors",),
    "sklearn": ("sklearn",),
    "skorch": ("skorch",),
}


def test_the_first_paragraph_says_where_a_call_begins():
    first = PAGE.split("\n\n")[1]
    assert first.startswith("The first step of a call has number 0 unless `start` is given.")
    assert "needs `start` as well as the state" in first and "`Stream`" in first


def test_no_block_is_left_out():
    assert sum(len(blocks) for _, blocks in PARTS) * 2 == PAGE.count("```")
    assert {kind for _, blocks in PARTS for kind, _ in blocks} <= {"python", "bash"}


# torch's and Lightning's own, about themselves
@pytest.mark.filterwarnings("ignore:::torch", "ignore:::copyreg", "ignore:::pytorch_lightning")
@pytest.mark.parametrize("heading, blocks", PARTS, ids=[heading for heading, _ in PARTS])
def test_it_runs_as_it_stands_there(heading, blocks, tmp_path, monkeypatch):
    code = "\n\n".join(text for kind, text in blocks if kind == "python")
    for name in re.findall(r"^(?:from|import) (\w+)", code, re.M):
        for package in NEEDED.get(name, ()):
            pytest.importorskip(package, reason=f"{package} is in the extra 'recipes'")
    if "torch.compile(" in code and not shutil.which(os.environ.get("CXX", "g++")):
        pytest.skip("torch.compile needs a C++ compiler")
    monkeypatch.chdir(tmp_path)
    commands = [line for kind, text in blocks if kind == "bash" for line in text.splitlines()]
    if commands:
        Path(re.match(r"# (\w+\.py)\n", code)[1]).write_text(code)
        for command in commands:
            torchrun(command)
        return
    # a module with a name, by which pickle finds its classes
    name = "part_" + re.sub(r"\W+", "_", heading.lower())
    Path(f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        importlib.import_module(name)
    finally:
        sys.modules.pop(name, None)


def torchrun(command: str) -> None:
    """A command line of the page, in processes of its own."""
    program, *arguments = shlex.split(command)
    assert program == "torchrun"
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    for rank in range(2):
        assert f"process {rank} of 2: the gradients are those of the whole batch" in result.stdout
