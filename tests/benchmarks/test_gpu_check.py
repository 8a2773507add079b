"""`cwrnn bench gpu-check`: a step that fails, or is too late, is reported, and the rest goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cwrnn_cli.benchmarks import gpu_check
from cwrnn_cli.benchmarks.gpu_check import Step, check_text, run
from cwrnn_cli.evidence.folders import check_folder
from tests.conftest import one_line_error

ROOT = Path(__file__).parents[2]
LAYER = ("-m", "cwrnn_cli", "-q", "bench", "layer", "--device", "cpu", "--widths", "16",
         "--batches", "1", "--lengths", "4", "--repeats", "1", "--out", "FOLDER/found")  # fmt: skip
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml", "FOLDER/tests.xml")


def outcome(result: dict) -> dict[str, str]:
    return {step["name"]: step["status"] for step in result["steps"]}


def test_all_steps_are_done_whatever_becomes_of_each(tmp_path):
    (tmp_path / "test_both.py").write_text(
        "def test_right():\n    pass\ndef test_wrong():\n    assert 1 == 2\n"
    )
    pid = tmp_path / "pid"
    sleeper = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeper!r}])"
    steps = [
        Step("tests", (*PYTEST, str(tmp_path)), 120),
        Step("late", ("-c", child), 8),
        Step("broken", ("-c", "print('before'); raise SystemExit('no GPU of this kind')"), 60),
        Step("empty", ("-c", ""), 60),
        Step("elsewhere", ("-c", "1/0"), 60, without="it is not installed"),
        Step("layer", LAYER, 300),
    ]
    said = []
    result = run(steps, False, 600, said.append)
    assert outcome(result) == {
        "tests": "FAILED", "late": "TOO LATE", "broken": "FAILED", "empty": "FAILED",
        "elsewhere": "skipped", "layer": "passed",
    }  # fmt: skip
    assert not result["correct"] and not result["passed"] and len(said) == len(steps)
    tests, late, broken, empty, elsewhere, layer = result["steps"]
    assert tests["about"] == "1 passed, 1 FAILED" and "assert 1 == 2" in tests["text"]
    assert [t["outcome"] for t in tests["tests"]] == ["passed", "FAILED"]
    with pytest.raises(ProcessLookupError):  # it, and what it had started
        for _ in range(100):
            os.kill(int(pid.read_text()), 0)
            time.sleep(0.1)
    assert broken["text"] == "before\nno GPU of this kind" and empty["about"]
    assert elsewhere["about"] == "it is not installed"
    assert layer["result"]["rows"][0]["cell"] == "torch.nn.RNN"
    text = check_text(result | {"machine": {"gpu": "a GPU"}})
    assert text.startswith("a GPU: NOT shown to be right\n") and layer["text"] in text
    json.dumps(result)


def test_right_is_only_what_tests_have_shown(tmp_path):
    (tmp_path / "test_none.py").write_text("import pytest\n@pytest.mark.skip\ndef test_it(): 1/0\n")
    result = run([Step("tests", (*PYTEST, str(tmp_path)), 120)], False)
    assert not result["correct"] and result["steps"][0]["status"] == "FAILED"
    (tmp_path / "test_none.py").write_text("def test_it(): pass\n")
    result = run([Step("tests", (*PYTEST, str(tmp_path)), 120)], False)
    assert result["correct"] and result["passed"]


def test_there_is_a_limit_for_all():
    begun = time.monotonic()
    steps = [Step(name, ("-c", "import time; time.sleep(60)"), 50) for name in "ab"]
    result = run(steps, False, 1.0)
    assert time.monotonic() - begun < 30
    assert outcome(result) == {"a": "TOO LATE", "b": "TOO LATE"}


def test_all_marked_tests_are_among_them():
    files = gpu_check.marked()
    assert {"tests/test_gpu.py", "tests/kernels/test_triton.py"} <= set(files)
    assert all(file in gpu_check.steps_on("cuda")[0].words for file in files)


def test_a_gpu_host_needs_no_packages_of_corpora_and_figures(tmp_path):
    for name in ("soundfile", "matplotlib", "torchaudio", "rapidfuzz", "defusedxml", "optuna"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('it is not here')\n")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    bench = ("-m", "cwrnn_cli", "bench", "figure3", "--runs", "1", "--epochs", "1")
    pytests = ("-m", "pytest", "-q", "-m", "gpu", "--collect-only", *gpu_check.marked())
    for words in (bench, (*pytests, "-p", "no:cacheprovider")):
        found = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stdout + found.stderr


def test_the_steps_fit_into_eight_minutes():
    assert gpu_check.LIMIT < 480
    *limits, _ = [step.limit for step in gpu_check.steps_on("cuda")]
    assert sum(limits) < gpu_check.LIMIT  # the last one takes what is left
    assert [s.name for s in gpu_check.steps_on("cuda")] == [
        s.name for s in gpu_check.steps_interpreted()
    ]


def test_the_command_keeps_what_it_found(cwrnn, monkeypatch, tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    good = Step("tests", (*PYTEST, str(tmp_path)), 120)
    bad = Step("layer", ("-c", "1/0"), 60)
    for steps, status, name in (([good], 0, "good"), ([good, bad], 1, "bad")):
        monkeypatch.setattr(gpu_check, "steps_interpreted", lambda steps=steps: steps)
        shown = cwrnn("bench", "gpu-check", "--interpret", "--out", name, "--json", expect=status)
        found = json.loads(Path(name, "check.json").read_text())
        assert json.loads(shown.stdout) == found and found["passed"] is (status == 0)
        assert {p.name for p in Path(name).iterdir()} == {
            "check.json", "check.txt", "manifest.json", "table.csv",
        }  # fmt: skip
        assert check_folder(Path(name), name) == []
        assert "tests: passed, 1 passed" in shown.stderr


def test_without_a_gpu_it_says_so(cwrnn):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    message = one_line_error(cwrnn("bench", "gpu-check", "--out", "gpu", expect=2))
    assert message == "--device cuda: torch sees no such device here, only cpu"
    script = subprocess.run(
        ["bash", str(ROOT / "scripts" / "gpu_check.sh"), "gpu"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert script.returncode == 0 and "sees no CUDA device" in script.stderr
    named = subprocess.run([*script.args[:2], "--help"], capture_output=True, text=True)
    assert named.returncode == 2 and "bash scripts/gpu_check.sh [--interpret] [OUT]" in named.stderr


def test_ctrl_c_ends_what_it_has_started(tmp_path):
    pid = tmp_path / "pid"
    words = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    code = (
        "from cwrnn_cli.benchmarks.gpu_check import Step, run\n"
        f"run([Step('long', ('-c', {words!r}), 500)], False)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    ) as process:
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(int(pid.read_text()), 0)
            time.sleep(0.1)
