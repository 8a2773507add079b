"""The registry of tasks, and what all tasks do alike."""

import subprocess
import sys
from pathlib import Path

import pytest

from cwrnn_cli.paper import PROTOCOLS
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.registry import Registry, task_named
from data_prep.errors import UserError

ROOT = Path(__file__).parents[2]


def test_a_task_is_imported_when_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "lazily.py").write_text("class Lazy:\n    name, protocol = 'lazy', None\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    registry.add("lazy", "lazily:Lazy")
    assert list(registry) == ["lazy"] and len(registry) == 1 and "lazy" in registry
    assert "lazily" not in sys.modules
    assert registry["lazy"].name == "lazy" and registry["lazy"] is registry["lazy"]
    assert "lazily" in sys.modules
    assert PROTOCOLS.pop("lazy") is None  # its protocol is found by its name from then on
    monkeypatch.delitem(sys.modules, "lazily")


def test_ours_are_named_as_their_data_and_protocols():
    assert list(TASKS)[:3] == ["audio", "timit", "iamondb"]
    for name in list(TASKS)[:3]:
        task = task_named(name)
        assert task.name == name == task.protocol.task
        assert task.default_split in task.splits and task.selection_split in task.splits
        assert task.selection_split != "test"


def test_unknown_names():
    with pytest.raises(UserError, match="task words: expected one of audio, timit, iamondb"):
        task_named("words")
    with pytest.raises(KeyError):
        TASKS["words"]


def test_tasks_of_other_packages_are_found_by_their_entry_points(tmp_path):
    """And none of them takes the name of ours, nor is imported before it is asked for."""
    (tmp_path / "choir.py").write_text("class Choir:\n    name, protocol = 'choir', None\n")
    metadata = tmp_path / "choir-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: choir\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[cwrnn.tasks]\nchoir = choir:Choir\naudio = choir:Choir\n"
    )
    code = (
        "import sys\n"
        "from cwrnn_cli.tasks import TASKS\n"
        "assert list(TASKS) == ['audio', 'timit', 'iamondb', 'choir'], list(TASKS)\n"
        "assert 'choir' not in sys.modules\n"
        "assert TASKS['choir'].name == 'choir'\n"
        "assert type(TASKS['audio']).__name__ == 'AudioTask'\n"
    )
    path = f"{ROOT}:{tmp_path}"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("task", "split", "message"),
    [
        ("audio", "test", "--split test: task audio has one split, train"),
        ("timit", "dev", "--split dev: task timit has the splits train, valid and test"),
        ("iamondb", "dev", "--split dev: task iamondb has the splits train, valid and test"),
    ],
)
def test_splits_that_a_task_has_not(task, split, message):
    with pytest.raises(UserError) as caught:
        TASKS[task].evaluate_run(None, None, split)
    assert caught.value.message == message


def test_what_a_task_does_not_offer_is_refused(tmp_path):
    audio = TASKS["audio"]
    with pytest.raises(UserError, match="--file: not an option for a run of task audio"):
        audio.recognise(None, None, tmp_path)
    with pytest.raises(UserError, match="--plot: not an option for a run of task audio"):
        audio.check_plot()
    with pytest.raises(UserError, match="--run: not an option of --task audio"):
        audio.check_compare_runs()
    with pytest.raises(UserError, match="--run: not an option of --task audio"):
        audio.compare_runs(tmp_path, {}, {}, [])
    TASKS["iamondb"].check_compare_runs()
    TASKS["timit"].check_plot()
    with pytest.raises(UserError, match="prepare timit --src DIR"):
        TASKS["timit"].prepare_default(tmp_path / "timit.h5")


def test_data_labels_say_what_is_a_stand_in():
    timit = TASKS["timit"]
    assert timit.data_label("TIMIT", standin=False) == "TIMIT"
    assert timit.data_label("speech", standin=True) == "speech (synthetic voices, not TIMIT)"
