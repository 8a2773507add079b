"""A search: what is tried first and next, what counts, what a kill changes, what is never read."""

import json
import math
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import optuna
import pytest

from cwrnn_cli.clock import parse_periods, parse_shares
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.timit.engines import TimitTrainer
from cwrnn_cli.training import search as module
from cwrnn_cli.training import trials as of_trials
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.folder import METRICS
from cwrnn_cli.training.loop import Interrupted
from cwrnn_cli.training.search import collect, open_search, run_search
from cwrnn_cli.training.search_bounds import LogRange
from cwrnn_cli.training.search_clocks import Ticks
from cwrnn_cli.training.search_plan import Search
from cwrnn_cli.training.search_space import SEARCHED, chosen, searchable
from cwrnn_cli.training.trials import trial_folder
from data_prep.errors import UserError
from tests.training.test_scan import Unread

TRIALS = 13  # more than Optuna draws at random


@pytest.fixture(scope="module")
def words(spoken):
    return TASKS["timit"].load(spoken)


@pytest.fixture(scope="module")
def pen(lines):
    return TASKS["iamondb"].load(lines)


def search_of(
    data, names=("lr", "momentum"), trials=TRIALS, model="srn", sampler="tpe", jobs=1, **fixed
):
    fixed = {"model": model, "params": 200, "runs": 1, "epochs": 2, "seed": 1000} | fixed
    return Search(data, fixed, names, trials, sampler, jobs)


def searched(search, out, resume=False):
    open_search(out, search, resume)
    run_search(search, out)
    return collect(search, out, "cwrnn search", None)


def study_of(out):
    backend = optuna.storages.journal.JournalFileBackend(str(out / "study.log"))
    return optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend))


def told(out):
    """What the study knows, but for times."""
    return [(t.number, t.state, t.params, t.value, t.user_attrs) for t in study_of(out).trials]


def same(rows):
    """Rows without what depends on the clock."""
    return [{k: v for k, v in row.items() if k not in {"seconds", "resumed"}} for row in rows]


@contextmanager
def dying(place, name, call):
    """Within, the process ends at such a call of a function."""
    right, calls = getattr(place, name), []

    def dead(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise SystemExit
        return right(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(place, name, dead)
        yield


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """A search that nobody disturbed."""
    out = tmp_path_factory.mktemp("search") / "whole"
    return out, searched(search_of(words), out)


def test_every_trial_is_kept_and_the_least_error_is_best(whole, words):
    out, found = whole
    rows = found["trials"]
    assert [row["number"] for row in rows] == list(range(TRIALS))
    assert found == json.loads((out / "trials.json").read_text())
    assert found["best"] == json.loads((out / "best.json").read_text())
    least = min(rows, key=lambda row: row["value"])
    assert found["best"]["trial"] == least["number"] and found["best"]["value"] == least["value"]
    assert found["judged_by"] == "train" and found["judged_on_training_set"] is True
    for row in rows:
        folder = trial_folder(out, row["number"])
        assert not folder.has_checkpoint  # weights are dropped
        assert "/" not in folder.config().data_path
        lines = [json.loads(line) for line in (folder.path / METRICS).read_text().splitlines()]
        assert len(lines) == row["epochs"] == 2 and row["best_epochs"] == [2]
        assert folder.config() == configure(
            words, "srn", 200, runs=1, epochs=2, seed=1000, **row["parameters"]
        )
        assert 3e-5 <= row["parameters"]["lr"] <= 3e-3
        assert 0.5 <= row["parameters"]["momentum"] <= 0.99


def test_the_study_is_optunas(whole):
    out, found = whole
    study = study_of(out)
    assert [trial.value for trial in study.trials] == [row["value"] for row in found["trials"]]
    assert study.best_trial.number == found["best"]["trial"]
    assert all(
        round(1 - trial.params["1 - momentum"], 12) == row["parameters"]["momentum"]
        for trial, row in zip(study.trials, found["trials"], strict=True)
    )


@pytest.mark.parametrize("model", ["srn", "lstm", "cw", "gru"])
def test_the_first_trial_has_the_published_values(model, pen, tmp_path):
    names = [
        n for n in searchable(TASKS["iamondb"], model) if n not in ("series", "periods", "ticks")
    ]
    clocked = ["clock", "mask", "slow-input"] * (model == "cw")
    assert names == ["lr", "momentum", "clip", "weight-std", *clocked]
    search = search_of(pen, names, 1, model, params=700, epochs=1)
    row = searched(search, tmp_path / model)["trials"][0]
    ours = configure(pen, model, 700, runs=1, epochs=1, seed=1000)
    assert trial_folder(tmp_path / model, 0).config() == ours and ours.clip is None
    assert row["published"] and row["parameters"]["clip"] is None
    (trial,) = study_of(tmp_path / model).trials
    assert trial.params["clip"] == 100  # none counts as the upper end


def test_models_are_treated_alike(words, whole):
    """What is drawn before anything is known is the same, relative to each one's own rate."""
    first = whole[1]["trials"][1]["parameters"]
    other = search_of(words, model="lstm", params=400)
    trials = study_of(whole[0]).trials[:1]
    (_, options) = module._proposed(other, trials, 1).user_attrs.values()
    assert options["lr"] / other.base.lr == pytest.approx(first["lr"] / 3e-4)
    assert options["momentum"] == first["momentum"]


def test_chance_takes_no_notice_of_what_came_out(words, whole, tmp_path):
    """Before anything is known both samplers draw alike; later only the estimator looks back."""
    by_chance = search_of(words, sampler="random")
    known = study_of(whole[0]).trials[:12]
    tried = [module._proposed(by_chance, known, 12).params]
    for trial in known:
        trial.value = trial.value + trial.number  # another outcome
    tried.append(module._proposed(by_chance, known, 12).params)
    assert tried[0] == tried[1] != module._proposed(search_of(words), known, 12).params
    open_search(tmp_path, by_chance, resume=False)
    with pytest.raises(UserError, match="a search that differs in --sampler"):
        open_search(tmp_path, search_of(words), resume=True)


def test_trials_may_be_added(words, whole, tmp_path):
    searched(search_of(words, trials=4), tmp_path)
    before = (tmp_path / "trials/003/trial.json").stat().st_mtime_ns
    found = searched(search_of(words), tmp_path, resume=True)
    assert same(found["trials"]) == same(whole[1]["trials"]) and told(tmp_path) == told(whole[0])
    assert (tmp_path / "trials/003/trial.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"--trials 4: .* holds a search of 13"):
        open_search(tmp_path, search_of(words, trials=4), resume=True)


def test_killed_while_its_configuration_was_written_it_begins_anew(words, tmp_path):
    (tmp_path / ".config.json.ab_8dfgh.json").write_text("{")
    open_search(tmp_path, search_of(words), resume=True)
    assert [path.name for path in tmp_path.glob("*config*")] == ["config.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from cwrnn_cli.clock import parse_periods, parse_shares
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.timit.engines import TimitTrainer
from cwrnn_cli.training.search import open_search, run_search
from cwrnn_cli.training.search_plan import Search

advance = TimitTrainer.advance
begun = []

def kill(self):
    begun.append(self.epoch)
    if len(begun) == 2 * 11 + 2:  # in the second epoch of trial 11
        os.kill(os.getpid(), signal.SIGKILL)
    return advance(self)

TimitTrainer.advance = kill
fixed = {"model": "srn", "params": 200, "runs": 1, "epochs": 2, "seed": 1000}
search = Search(TASKS["timit"].load(Path(sys.argv[1])), fixed, ("lr", "momentum"), 13)
open_search(Path(sys.argv[2]), search, False)
run_search(search, Path(sys.argv[2]))
"""


def test_killed_within_a_trial_and_resumed_it_is_the_same_study(spoken, words, whole, tmp_path):
    out = tmp_path / "killed"
    run = subprocess.run([sys.executable, "-c", KILLED, spoken, out], env=os.environ, timeout=300)
    assert run.returncode == -9
    states = [trial.state.name for trial in study_of(out).trials]
    assert states == ["COMPLETE"] * 11 + ["RUNNING"]
    with (out / "study.log").open("a") as file:
        file.write('{"op_code":4,"worker_')  # and within a line,
    (out / "study.log.lock").symlink_to(out / "study.log")  # with the file locked
    found = searched(search_of(words), out, resume=True)
    assert told(out) == told(whole[0]) and same(found["trials"]) == same(whole[1]["trials"])


@pytest.mark.parametrize("where", ["trained", "_judged", "tell"])
def test_killed_between_two_files_too(where, words, whole, tmp_path):
    place = {"trained": module, "_judged": of_trials, "tell": optuna.Study}[where]
    with dying(place, where, 3):
        searched(search_of(words), tmp_path)
    assert (tmp_path / "trials/002/trial.json").exists() is (where == "tell")
    found = searched(search_of(words), tmp_path, resume=True)
    assert told(tmp_path) == told(whole[0]) and same(found["trials"]) == same(whole[1]["trials"])


@pytest.mark.parametrize("name", ["study.log", "trials/001/trial.json"])
def test_what_is_damaged_is_named(name, words, tmp_path):
    searched(search_of(words, trials=2), tmp_path)
    (tmp_path / name).write_text("hello\n")
    with pytest.raises(UserError, match=f"{name}: damaged; search again into another --out"):
        searched(search_of(words, trials=2), tmp_path, resume=True)


def test_interrupted_it_goes_on_from_the_trials_checkpoint(words, whole, tmp_path, monkeypatch):
    advance, begun = TimitTrainer.advance, []

    def stop(self):
        begun.append(self.epoch)
        if len(begun) == 2 * 5 + 1:
            os.kill(os.getpid(), 15)
        return advance(self)

    monkeypatch.setattr(TimitTrainer, "advance", stop)
    with pytest.raises(Interrupted):
        searched(search_of(words), tmp_path)
    assert trial_folder(tmp_path, 5).has_checkpoint
    rows = searched(search_of(words), tmp_path, resume=True)["trials"]
    assert len(begun) == 2 * TRIALS  # no epoch was trained twice
    assert same(rows) == same(whole[1]["trials"])
    assert [row["number"] for row in rows if row["resumed"]] == [5]


def test_what_diverges_is_counted_as_worst_and_the_search_goes_on(words, tmp_path, monkeypatch):
    monkeypatch.setitem(SEARCHED, "lr", LogRange("lr", 1e-2, 1e120, of_published=True))
    found = searched(search_of(words, ["lr"], 20), tmp_path)
    rows = found["trials"]
    bad = [row for row in rows if row["state"] == "diverged"]
    assert 3 <= len(bad) == found["diverged"] < 20
    assert all(r["value"] is None and r["errors"] == [None] and r["diverged"] == 1 for r in bad)
    values = [trial.value for trial in study_of(tmp_path).trials]
    assert values.count(math.inf) == len(bad)
    assert {trial.state.name for trial in study_of(tmp_path).trials} == {"COMPLETE"}
    assert rows[found["best"]["trial"]]["state"] == "complete"
    # it learns from them: after the random draws there are fewer
    early = [row for row in bad if row["number"] < 10]
    assert len(early) > 2 * (len(bad) - len(early))


def test_where_all_diverge_there_is_no_best(words, tmp_path):
    found = searched(search_of(words, ["momentum"], 3, lr=3e38), tmp_path)
    assert found["best"] is None and found["diverged"] == 3
    assert not (tmp_path / "best.json").exists()


def test_the_test_set_is_never_read(pen, words, tmp_path):
    for data, params in ((pen, 700), (words, 200)):
        blind = replace(data, test=Unread())
        found = searched(search_of(blind, trials=2, params=params), tmp_path / data.task)
        assert found["diverged"] == 0
    assert json.loads((tmp_path / "iamondb/trials.json").read_text())["judged_by"] == "valid"


def test_clocks_are_those_that_the_parameters_allow(pen, tmp_path):
    (clocks,) = search_of(pen, ["clock"], model="cw", params=1500).space.values()
    names = list(clocks.choices)  # of the published number of modules the equal one is published
    assert names[:5] == ["published", "3-equal", "3-fast-first", "4-equal", "4-fast-first"]
    assert "9-equal" not in names  # it is the published one
    assert "9-fast-first" not in names  # has 256 units at the least
    assert clocks.choices["4-fast-first"] == {"periods": 4, "module_shares": (4, 2, 1, 1)}
    found = searched(search_of(pen, ["clock"], 4, "cw", params=1500), tmp_path)
    for row in found["trials"]:
        config = trial_folder(tmp_path, row["number"]).config()
        assert abs(config.parameter_count() - 1500) < 50
        modules = row["options"].get("periods", 9)
        assert config.cell.periods == tuple(2**i for i in range(modules))


@pytest.mark.parametrize("name", ["series", "periods", "ticks"])
def test_any_clock_is_tried_as_its_command_says(name, words, tmp_path):
    """The best trial's command, typed, has the clock that was trained."""
    found = searched(search_of(words, [name], 8, "cw", params=600), tmp_path)
    clocks = set()
    for row in found["trials"]:
        cell = trial_folder(tmp_path, row["number"]).config().cell
        clocks.add((cell.clock.periods, cell.clock.offsets, cell.clock.sizes))
        shown = row["parameters"][name]
        if row["published"]:
            assert shown == "published" and cell.clock.periods == (1, 2, 4, 8, 16, 32, 64)
        elif name != "series":
            periods = [int(each.partition("@")[0]) for each in shown.split(" ")[0].split(",")]
            assert cell.clock.periods == tuple(periods) and len(set(periods)) == len(periods)
    assert len(clocks) == 8 or (name == "series" and len(clocks) > 3)  # words come up again
    assert any(offsets for _, offsets, _ in clocks) is (name == "ticks")
    flags = found["best"]["command"].split()
    if "--periods" in flags:
        typed = parse_periods(flags[flags.index("--periods") + 1])
        shares = flags[flags.index("--module-shares") + 1] if "--module-shares" in flags else None
        options = {} if shares is None else {"module_shares": parse_shares(shares)}
        again = configure(words, "cw", 600, runs=1, epochs=2, seed=1000, periods=typed, **options)
        best = trial_folder(tmp_path, found["best"]["trial"]).config()
        assert again.cell == best.cell


def test_a_clock_that_is_too_much_for_the_parameters_has_equal_shares(words):
    few, many = (
        search_of(words, ["ticks"], model="cw", params=n).space["ticks"] for n in (160, 9000)
    )
    assert few.most < many.most == 9
    values = dict.fromkeys(many.distributions(), 0) | {"modules": few.most, "share 0": 3}
    values |= {name: 1 for name in values if name.startswith("period")}
    shares = (8, *[1] * (few.most - 1))
    periods = tuple(range(1, few.most + 1))  # equal ones are made to differ
    assert few.tried(values)[0].options == {"periods": periods}
    assert many.tried(values)[0].options == {"periods": periods, "module_shares": shares}
    late = values | {f"offset {i}": 1.0 for i in range(9)} | {"share 0": 0}
    ticks = tuple((period, period - 1) for period in periods)
    assert few.tried(late)[0].options == {"periods": ticks}


def test_what_no_network_can_have_is_not_tried(words, tmp_path):
    """Clocks, masks and inputs that the parameters allow one by one need not fit together."""
    names = ["ticks", "mask", "slow-input"]
    search = search_of(words, names, 16, "cw", params=450)
    bounds = search.space
    ends = bounds["mask"].choices, bounds["slow-input"].choices
    assert ends[0]["upper"] == {} and set(ends[0]) == {"upper", "full", "lower"}
    rows = searched(search, tmp_path)["trials"]
    assert len(rows) == 16 and rows[0]["published"]
    ours = configure(words, "cw", 450, runs=1, epochs=2, seed=1000)
    assert trial_folder(tmp_path, 0).config() == ours
    values = [row["parameters"]["mask"] for row in rows]
    assert len(set(values)) > 1


def test_of_a_task_without_input_nothing_is_slow(piece):
    music = TASKS["audio"].load(piece)
    (bound,) = search_of(music, ["slow-input"], model="cw", params=500).space.values()
    assert list(bound.choices) == ["sample"]
    ours = configure(music, "cw", 500, runs=1, epochs=2, seed=1000)
    assert (
        configure(music, "cw", 500, runs=1, epochs=2, seed=1000, **bound.choices["sample"]) == ours
    )


def test_one_clock_at_a_time(words):
    with pytest.raises(UserError, match="--search clock,ticks: both decide the clock; take one"):
        chosen(["clock", "ticks"], TASKS["timit"], "cw", [])
    assert "9 modules" in Ticks(9, 256).text


def test_what_is_given_is_not_searched(pen):
    task = TASKS["iamondb"]
    assert chosen(None, task, "srn", ["batch"]) == ["lr", "momentum", "clip"]
    assert chosen(None, task, "srn", ["clip", "lr"]) == ["momentum"]
    assert chosen(None, TASKS["timit"], "srn", []) == ["lr", "momentum"]
    assert chosen(["weight_std", "lr"], task, "srn", []) == ["lr", "weight-std"]
    search = search_of(pen, ["lr"], batch=5, optimizer="adam", params=700)
    assert (search.base.batch, search.base.optimizer) == (5, "adam")
    assert search.configuration["base"]["batch"] == 5
