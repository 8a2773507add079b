"""Trials of a search: several at once, their times, their rows."""

from dataclasses import replace

import pytest

from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training import search as module
from cwrnn_cli.training import trials as of_trials
from cwrnn_cli.training.folder import RunFolder
from cwrnn_cli.training.search import open_search
from cwrnn_cli.training.trials import trial_folder
from data_prep.errors import UserError
from tests.training.test_search import dying, same, search_of, searched, study_of, told


@pytest.fixture(scope="module")
def words(spoken):
    return TASKS["timit"].load(spoken)


def test_several_at_once_are_proposed_by_those_before_all_of_them(words, tmp_path):
    """By chance they are those of one at a time; killed and resumed, or not, they are the same."""
    together = searched(search_of(words, trials=12, sampler="random", jobs=5), tmp_path / "chance")
    assert together["jobs"] == 5
    alone = searched(search_of(words, trials=12, sampler="random"), tmp_path / "alone")
    for one, other in zip(same(alone["trials"]), same(together["trials"]), strict=True):
        assert one == other
    known = study_of(tmp_path / "alone").trials
    search = search_of(words, jobs=3)
    found = searched(search, tmp_path / "together")
    for number in (10, 12):  # beyond what Optuna draws at random
        first = number - number % 3
        before = study_of(tmp_path / "together").trials[:first]
        tried = study_of(tmp_path / "together").trials[number].params
        assert tried == module._proposed(search, before, number).params
    assert [t.params for t in known[:10]] == [
        t.params for t in study_of(tmp_path / "together").trials[:10]
    ]
    assert not list((tmp_path / "together").glob("trials/*/times.json"))
    assert all(row["seconds"] > 0 for row in found["trials"])


def test_several_at_once_killed_and_resumed_are_the_same_study(words, tmp_path):
    whole = searched(search_of(words, trials=6, jobs=3), tmp_path / "whole")
    with dying(of_trials, "_judged", 5):
        searched(search_of(words, trials=5, jobs=3), tmp_path / "killed")
    with pytest.raises(UserError, match="a search that differs in --jobs"):
        open_search(tmp_path / "killed", search_of(words, trials=6), resume=True)
    assert module.proposed_together(tmp_path / "killed") == 3
    fewer = replace(search_of(words, trials=6, jobs=3), processes=1)
    found = searched(fewer, tmp_path / "killed", resume=True)
    assert same(found["trials"]) == same(whole["trials"])
    assert told(tmp_path / "killed") == told(tmp_path / "whole")


@pytest.mark.parametrize("text", ["{", '{"units": []}', '{"units": [{}]}', '{"units": 3}'])
def test_a_damaged_time_is_no_loss_but_of_itself(text, tmp_path):
    (tmp_path / "times.json").write_text(text)
    with pytest.raises(UserError, match="times.json: damaged; remove it and go on"):
        of_trials._time_of(RunFolder(tmp_path))


@pytest.mark.parametrize("number", [1, 3])
def test_a_trial_whose_row_has_gone_is_missed(number, words, tmp_path):
    searched(search_of(words, trials=4), tmp_path)
    trial_folder(tmp_path, number).path.joinpath("trial.json").unlink()
    with pytest.raises(UserError, match=f"00{number}/trial.json: missing"):
        searched(search_of(words, trials=4), tmp_path, resume=True)
