"""`cwrnn compare --all`: the plan, the whole of it with tiny settings, killed and gone on with."""

import json
import random
import shutil
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest

from cwrnn_cli.benchmarks import machine
from cwrnn_cli.cli import whole
from cwrnn_cli.evidence.folders import check_folder
from cwrnn_cli.reporting.plan import QUICK, duration
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training import whole as estimates
from cwrnn_cli.training.grid import Grid, cell_folder, run_grid
from cwrnn_cli.training.share import Excerpt
from cwrnn_cli.training.trainer import EnsembleTrainer
from cwrnn_cli.training.whole import Part, estimate, grid_of, side_by_side
from data_prep.errors import UserError
from tests import corpora as corpus
from tests.conftest import check_csv, one_line_error
from tests.html import Page
from tests.soak import whole as soak

ROOT = Path(__file__).parents[2]
TINY = {  # sizes, and options
    "audio": ((100, 250), {"runs": 1, "epochs": 60}),
    "timit": ((200,), {"runs": 2, "epochs": 8}),
    "iamondb": ((700,), {"runs": 1, "epochs": 4}),
}
LAYERS = {"widths": (16,), "batches": (1,), "lengths": (8,), "repeats": 1, "seconds": 0.0}
TABLES = {"audio": "Table 2, row 1", "timit": "Table 2, row 2", "iamondb": "Table 3"}
VICTIM = """
import sys; sys.path.insert(0, {root!r})
from pathlib import Path
from tests.cli.test_whole import asked, make_tiny
from cwrnn_cli.cli import whole
make_tiny(setattr)
whole.warm_up = lambda parts: None  # all is compiled; it would only take its time
whole.compare_all(asked({corpora!r}, resume=True))
"""


def make_tiny(set_attribute) -> None:
    """All of it in seconds."""
    for name, (sizes, options) in TINY.items():
        task = TASKS[name]
        set_attribute(task, "share", replace(task.share, quick_sizes=sizes, quick=options))
    set_attribute(whole, "_QUICK", LAYERS)
    set_attribute(machine, "has_jax", lambda: False)  # whose compiler takes its time


def asked(corpora: dict[str, str], **more) -> whole.Asked:
    given = [f"{name}={path}" for name, path in corpora.items()]
    return whole.Asked(Path("out"), given, quick=True, jobs=2, **more)


@pytest.fixture(scope="module")
def corpora(piece, spoken, lines) -> dict[str, str]:
    return {"audio": str(piece), "timit": str(spoken), "iamondb": str(lines)}


@pytest.fixture(scope="module")
def in_one_go(corpora, tmp_path_factory) -> Path:
    """The folder of one that nothing interrupted; what it printed is beside it."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch.setattr)
        patch.chdir(place)
        patch.setattr(sys, "argv", ["cwrnn", "compare", "--all", "--quick"])
        patch.setattr(whole, "print_text", (place / "printed.txt").open("a").write)
        whole.compare_all(asked(corpora))
    return place / "out"


def test_every_table_figure_and_one_report_of_all(in_one_go):
    tables = (in_one_go / "tables.txt").read_text()
    assert QUICK in tables and "Table 1" in tables
    for task, name in TABLES.items():
        printed = (in_one_go / task / "table.txt").read_text()
        command, _, rest = printed.partition("\n")
        assert name in tables and command in tables and rest.strip() in tables
        assert TASKS[task].standin_label in rest
        assert ("deviates from the paper: epochs" in rest) == (task == "audio")
        assert ("paper names none: epochs" in rest) == (task != "audio")
        assert check_folder(in_one_go / task, task) == []
    assert check_folder(in_one_go / "operations", "operations") == []
    figures = {path.name for path in in_one_go.glob("*/*.png")}
    assert {"figure3.png", "figure4.png", "figure5.png", "curves.png", "bench.png"} <= figures
    counted = json.loads((in_one_go / "operations" / "bench.json").read_text())["rows"]
    assert {row["cell"] for row in counted} >= {"SRN", "LSTM", "ClockworkRNN"}
    assert any("operations_ratio" in row and row["ratio_own"] for row in counted)
    check_csv(in_one_go / "operations", counted)

    page = Page((in_one_go / "report.html").read_text(encoding="utf-8"))
    assert not page.wrong
    titles = "\n".join(page.texts["h2"])
    for place in ("Section 4.1", "Section 4.2", "Section 4.3", "The appendix"):
        assert place in titles


def test_the_plan_comes_first_and_names_stand_ins(in_one_go):
    plan = (in_one_go / "plan.txt").read_text()
    printed = (in_one_go.parent / "printed.txt").read_text()
    assert printed.startswith(plan.partition("\n")[2].strip())
    rows = {line.split(":")[0]: line for line in plan.splitlines()}
    for task, (sizes, options) in TINY.items():
        label = TASKS[task].standin_label
        networks = options["runs"] * (5 if task == "audio" else 1)
        assert label in rows[f"data of {task}"]
        assert f"{3 * len(sizes)} x {networks}" in rows[task]
        assert str(options["epochs"]) in rows[task] and "done" not in rows[task]
    assert "operations" in rows and QUICK in plan


def test_a_part_is_that_of_its_own_command(cwrnn, in_one_go, corpora, tmp_path):
    """And its folder is one that this command can take up."""
    command = json.loads((in_one_go / "timit" / "manifest.json").read_text())["command"]
    words = command.split()[1:]
    assert words[:3] == ["compare", "--task", "timit"] and words[-1] == "out/timit"
    cwrnn(*words)
    assert (tmp_path / "out/timit/table.txt").read_text().partition("\n")[2] == (
        in_one_go / "timit" / "table.txt"
    ).read_text().partition("\n")[2]
    cwrnn(*words, "--resume")


def test_killed_at_random_moments_and_gone_on_with_it_is_the_same(
    in_one_go, corpora, tmp_path, monkeypatch
):
    """A tiny one of `python -m tests.soak.whole`."""
    command = [sys.executable, "-c", VICTIM.format(root=str(ROOT), corpora=corpora)]
    monkeypatch.chdir(tmp_path)
    out, rng = Path("out"), random.Random(20)
    sizes = {name: soak.grown(in_one_go / name) for name in TINY}  # in the order of their training
    below = 0
    for size in sizes.values():
        moment = soak.Moment(below + rng.randint(1, size - 1), rng.uniform(0, 0.1))
        assert soak.killed(command, tmp_path, moment)
        below += size
    assert not (out / "tables.txt").exists()
    soak.ran_through(command, tmp_path)
    assert soak.differences(in_one_go, out) == []
    plan = (out / "plan.txt").read_text().splitlines()
    assert "done" in next(line for line in plan if line.startswith("audio: "))  # not trained again

    (out / "timit" / "table.txt").write_text("")  # what is another is found
    with h5py.File(out / "audio" / "results.h5", "r+") as file:
        file["cw/250/nmse_paper"][0] += 1e-6
    wrong = soak.differences(in_one_go, out)
    assert "timit/table.txt is another" in wrong
    assert "audio/results.h5: cw/250/nmse_paper is another" in wrong


def test_its_page_says_that_it_is_a_taste(in_one_go, cwrnn, tmp_path):
    told = unescape((in_one_go / "report.html").read_text())
    assert QUICK in told and "Hidden units of each network by its parameters" in told
    assert "Figure 3: SRN" in told  # of the others it has sizes that the paper has not
    assert "times as fast as an SRN of its width" in told
    shutil.copytree(in_one_go, tmp_path / "out")
    (tmp_path / "out" / "all.json").write_text('{"quick": false}')
    cwrnn("report", "out", "--out", "page.html")
    assert QUICK not in unescape((tmp_path / "page.html").read_text())
    (tmp_path / "out" / "all.json").write_text("[")
    assert "out/all.json: damaged; write" in one_line_error(cwrnn("report", "out", expect=2))


def test_moments_are_those_of_a_time_line():
    seen = [(0.0, 0), (1.0, 0), (2.0, 50), (5.0, 50), (9.0, 80)]
    found = soak.moments(seen, 200, seed=1)
    assert [moment.size for moment in found] == sorted(moment.size for moment in found)
    assert {moment.size for moment in found} == {0, 50}
    assert max(m.more for m in found if m.size == 0) <= 2.0
    assert 6.0 < max(m.more for m in found if m.size == 50) <= 7.0


def test_without_a_corpus_a_stand_in_is_made_once(corpora, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = whole._given([f"{name}={corpora[name]}" for name in ("timit", "iamondb")])
    found = whole.Asked(Path("out"), quick=True)
    Path("out").mkdir()
    (audio, *_) = whole._parts(found, given, {})
    made = Path("out/data/audio.h5")
    assert audio.data.path == made and audio.data.standin
    before = made.stat().st_mtime_ns
    Path("data").mkdir()
    Path("data/audio.h5").write_bytes(made.read_bytes())
    assert whole._parts(found, given, {})[0].data.path == made  # a resumed one goes on with its own
    assert made.stat().st_mtime_ns == before
    made.unlink()
    assert whole._parts(found, given, {})[0].data.path == Path("data/audio.h5")


def test_what_is_given_is_read_before_anything_is_written(cwrnn, corpora):
    words = ("compare", "--all", "--quick", "--out", "out")
    error = one_line_error(cwrnn(*words, "--data", f"timit={corpora['audio']}", expect=2))
    assert corpora["audio"] in error and not Path("out").exists()
    made = Path("out/data/audio.h5")  # by one that went no further
    made.parent.mkdir(parents=True)
    made.write_bytes(Path(corpora["audio"]).read_bytes())
    again = one_line_error(cwrnn(*words, "--data", f"timit={corpora['audio']}", expect=2))
    assert again == error and {path.name for path in Path("out").iterdir()} == {"data"}


def test_a_resumed_one_knows_its_corpora(cwrnn, corpora, tmp_path, monkeypatch):
    here = tmp_path / "here"
    (here / "data").mkdir(parents=True)
    monkeypatch.chdir(here)
    for name, path in corpora.items():
        Path(f"{name}.h5").write_bytes(Path(path).read_bytes())
    make_tiny(monkeypatch.setattr)
    begun = whole.Asked(here / "out", [f"{name}={name}.h5" for name in corpora], quick=True)
    begun.out.mkdir()
    parts = whole._parts(begun, whole._given(begun.given), {})
    for part in parts:
        whole._open(part, {})
    whole._note(begun, parts)

    resumed = replace(begun, given=(), resume=True)
    found = whole._begun_with(resumed)
    assert found == {name: Path(f"{name}.h5") for name in corpora}  # as they were typed
    monkeypatch.chdir(tmp_path)  # another folder, with another corpus where one usually is
    Path("data").mkdir()
    corpus.write_timit(Path("data/timit.h5"), seed=1)
    found = whole._begun_with(resumed)
    again = whole._parts(resumed, {}, found)
    assert [part.grid for part in again] == [part.grid for part in parts]
    (here / "timit.h5").unlink()
    (_, timit, _) = whole._parts(resumed, {}, found)
    with pytest.raises(UserError, match="it was begun with --data timit=here/timit.h5"):
        whole._open(timit, found)
    Path("data/timit.h5").unlink()
    words = ("compare", "--all", "--quick", "--resume", "--out", begun.out)
    error = one_line_error(cwrnn(*words, expect=2))
    assert error == "here/timit.h5: no such file; it was begun with it: --data timit=PATH"
    assert not (begun.out / "data").exists()  # and no stand-in was made instead


def test_stand_ins_are_not_made_silently_where_a_variable_names_a_corpus(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("CWRNN_TIMIT", str(tmp_path))
    found = whole.Asked(tmp_path / "out", quick=True)
    found.out.mkdir()
    (found.out / "data").write_text("")  # a file in their way
    missing = {found.out / "data" / f"{name}.h5": TASKS[name] for name in ("audio", "timit")}
    with pytest.raises(FileExistsError):
        whole._make(found, missing)
    said = capsys.readouterr().err
    assert "CWRNN_TIMIT names your corpus: prepare it first with `cwrnn prepare timit`" in said
    assert "CWRNN_AUDIO" not in said and "CWRNN_IAMONDB" not in said


def test_a_cell_that_stopped_early_is_done(spoken, tmp_path, monkeypatch):
    task = TASKS["timit"]
    quick = {"runs": 2, "epochs": 20_000, "patience": 1}
    monkeypatch.setattr(task, "share", replace(task.share, quick_sizes=(200,), quick=quick))
    data = task.load(spoken)
    cell, *_ = grid_of(data, quick=True).cells
    part = Part(data, Grid([cell]), tmp_path, 0, "")
    run_grid(part.grid, data, part.out)
    assert cell_folder(part.out, cell).checkpoint().epoch < cell.epochs
    assert not part.done  # it has no manifest
    found = estimate(part)  # only of its evaluation and figures
    assert 0 < found.seconds == found.most


@pytest.mark.parametrize("name", TINY)
def test_an_estimate_has_evaluation_and_figures_in_it(name, corpora, tmp_path, monkeypatch):
    """By a clock that only they, and epochs, move on."""
    make_tiny(monkeypatch.setattr)
    task = TASKS[name]
    data = task.load(Path(corpora[name]))
    part = Part(data, grid_of(data, quick=True), tmp_path, 0, "")
    excerpt = replace(task.share, excerpt=lambda data: Excerpt(data, 2.0, 3.0), lasts={})
    monkeypatch.setattr(task, "share", excerpt)
    clock = [0.0]
    monkeypatch.setattr(estimates, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def takes(owner, method, seconds):
        whole_one = getattr(owner, method)

        def slow(self, *given):
            before = getattr(self, "epoch", 0)
            found = whole_one(self, *given)
            clock[0] += seconds * (getattr(self, "epoch", 1) - before)
            return found

        monkeypatch.setattr(owner, method, slow)

    takes(EnsembleTrainer, "advance", 1.0)  # an epoch
    takes(type(task), "evaluate", 5.0)
    takes(type(task), "figures", 7.0)
    (_, options), cells = TINY[name], len(part.grid.cells)
    expected = cells * (2 * options["epochs"] + 3 * 5) + 7
    assert estimate(part).seconds == estimate(part).most == expected


def test_a_part_that_was_killed_before_its_tolerance_gets_it(
    in_one_go, corpora, tmp_path, monkeypatch
):
    shutil.copytree(in_one_go, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    make_tiny(monkeypatch.setattr)
    path = Path("out/timit/manifest.json")
    whole_one = json.loads(path.read_text())
    assert whole_one["tolerance"]
    path.write_text(json.dumps({k: v for k, v in whole_one.items() if k != "tolerance"}))
    whole.compare_all(asked(corpora, resume=True))
    assert json.loads(path.read_text()) == whole_one


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--all --task timit", "--task: not with --all, which trains the paper's grids"),
        ("--all --sizes 100", "--sizes: not with --all, which trains the paper's grids"),
        ("--all --run runs/x", "--run: not with --all, which trains the paper's grids"),
        ("--quick", "--quick: only with --all"),
        ("--task timit --quick", "--quick: only with --all"),
        (
            "--all --data x.h5",
            "--data x.h5: --all needs TASK=PATH, with TASK of audio, timit, iamondb.",
        ),
        ("--all --data tmit=x.h5", "Did you mean 'timit'?"),
        ("--all --data timit=x.h5", "--data timit=x.h5: no such file; prepare it, or leave it out"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(cwrnn, words, message):
    found = one_line_error(cwrnn("compare", *words.split(), expect=2))
    assert message in found and not Path("runs").exists()


def test_a_folder_of_something_else_or_of_other_settings_is_refused(cwrnn, tmp_path):
    Path("full").mkdir()
    Path("full/mine").write_text("")
    words = ("compare", "--all", "--quick", "--out", "full")
    assert "full: exists already" in one_line_error(cwrnn(*words, expect=2))
    error = one_line_error(cwrnn(*words, "--resume", expect=2))
    assert error == "full: holds nothing of --all; choose another --out"
    Path("full/all.json").write_text('{"quick": false}')
    error = one_line_error(cwrnn(*words, "--resume", expect=2))
    assert error == "full: was begun without --quick; choose another --out"


def test_how_long_works_take_side_by_side():
    assert side_by_side([3.0, 1.0, 1.0, 2.0], 2) == 4.0
    assert side_by_side([3.0, 1.0], 1) == 4.0
    words = [duration(seconds) for seconds in (0, 5, 200, 5000, 36_000, 1e6)]
    assert words == ["done", "5 s", "3.3 min", "83 min", "10 h", "12 days"]
