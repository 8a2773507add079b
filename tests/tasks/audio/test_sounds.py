"""Figure 3 over many sounds, from rows that are made up."""

import json

import numpy as np
import pytest

from cwrnn_cli.paper import AUDIO
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.training.configure import configure
from cwrnn_cli.training.survey import SurveyRows, read_survey, write_survey

SIZES, MODELS, RUNS = (100, 1000), ("srn", "lstm", "cw"), 3
NAMES = ["paper", "low", "reversed"]
# of the paper's medians, how many times larger: LSTM, CW-RNN, by sound
FACTORS = {"paper": (1, 1), "low": (0.5, 1), "reversed": (0.1, 3)}


@pytest.fixture
def rows(piece) -> SurveyRows:
    """Three sounds of one σ, with every network at a multiple of the paper's median."""
    data = TASKS["audio"].load(piece)
    configs, cells = {}, {}
    targets = np.tile([[-0.4, 0.4]], (3, 2, 8))
    sigma = 0.4
    for model in MODELS:
        for params in SIZES:
            config = configure(data, model, params, runs=RUNS)
            left_out = ("data_name", "data_sha256", "standin")
            values = config.computed() | {"sequences": 2}
            configs[model, params] = {n: v for n, v in values.items() if n not in left_out}
            factors = [{"srn": 1, "lstm": a, "cw": b}[model] for a, b in FACTORS.values()]
            mse = np.outer(factors, np.full(RUNS * 2, AUDIO.medians[model][params] * sigma))
            diverged = np.zeros_like(mse, bool)
            cells[model, params] = {"mse": mse.astype(np.float32), "diverged": diverged}
    return SurveyRows(
        "audio",
        [
            {"name": n, "data": {"name": f"{n[0]}.wav", "sha256": n}, "standin": False}
            for n in NAMES
        ],
        configs,
        cells,
        {"targets": np.round(targets * 32767).astype(np.int16)},
    )


@pytest.fixture
def survey():
    return TASKS["audio"].survey()


def test_what_is_written_is_read(rows, tmp_path):
    write_survey(tmp_path / "results.h5", rows)
    again = read_survey(tmp_path / "results.h5")
    assert (again.task, again.names, again.sizes) == ("audio", NAMES, list(SIZES))
    assert again.corpora == rows.corpora
    assert again.configs == {k: json.loads(json.dumps(v)) for k, v in rows.configs.items()}
    assert list(again.cells) == [(m, p) for m in MODELS for p in SIZES]
    for key, arrays in rows.cells.items():
        for name, values in arrays.items():
            np.testing.assert_array_equal(again.cells[key][name], values)


def test_medians_in_both_scales(rows, survey):
    found = survey.comparison(rows)["sounds"][0]["medians"]
    assert found["nmse_paper"]["cw/1000"] == pytest.approx(0.006, rel=1e-3)
    assert found["nmse"]["cw/1000"] == pytest.approx(0.006 / 0.4, rel=1e-3)
    assert found["nmse_paper"]["lstm/100"] == pytest.approx(0.069, rel=1e-3)


def test_diverged_networks_count_as_the_constant_mean(rows, survey):
    arrays = rows.cells["lstm", 100]
    arrays["mse"][0, :4] = [np.nan, np.inf, 100, 5]
    arrays["diverged"][0, :4] = True
    sound = survey.comparison(rows)["sounds"][0]
    assert sound["medians"]["nmse_paper"]["lstm/100"] == pytest.approx(0.4, rel=1e-3)  # σ
    assert sound["medians"]["nmse"]["lstm/100"] == pytest.approx(1)
    assert sound["diverged"]["lstm/100"] == 4 and sound["diverged"]["lstm/1000"] == 0


def test_where_the_clockwork_is_ahead(rows, survey):
    found = survey.comparison(rows)["ahead"]["nmse_paper"]
    small, large = found["100"]["lstm"], found["1000"]["lstm"]
    # 0.069 / 0.039 = 1.77, halved 0.88; 0.034 / 0.006 = 5.67, halved 2.83; a thirtieth is less
    assert (small["ahead"], small["not_ahead"]) == (1, ["low", "reversed"])
    assert (large["ahead"], large["not_ahead"]) == (2, ["reversed"])
    assert large["ratio"]["median"] == pytest.approx(0.017 / 0.006, rel=1e-3)
    assert large["most"] == pytest.approx(0.034 / 0.006, rel=1e-3)
    assert large["share"] == 2 / 3 and 0 < large["low"] < 2 / 3 < large["high"] < 1
    assert found["1000"]["srn"]["ahead"] == 3


def test_hardly_ahead_is_said(rows, survey):
    rows.cells["cw", 1000]["mse"][0] = 0.95 * rows.cells["lstm", 1000]["mse"][0]
    found = survey.comparison(rows)["ahead"]["nmse"]["1000"]["lstm"]
    assert (found["ahead"], found["even"]) == (2, ["paper"])
    assert "\nhardly below the LSTM, 1000 parameters, MSE/σ²: paper\n" in survey.text(rows)


def test_how_far_from_the_paper(rows, survey):
    result = survey.comparison(rows)
    found = result["distance"]
    assert found["all"]["cells"] == 6
    assert [s["name"] for s in found["all"]["nearest"]] == NAMES
    assert found["all"]["nearest"][0]["factor"] == pytest.approx(1, rel=1e-3)
    last = found["all"]["nearest"][2]
    assert last["factor"] == pytest.approx(10, rel=1e-3)
    assert last["furthest"].startswith("lstm/") and not last["above"]
    assert found["cw"]["nearest"][2]["above"]
    assert found["cw"]["nearest"][2]["factor"] == pytest.approx(3, rel=1e-3)
    assert found["all"]["within"]["1.5"] == ["paper"]
    assert found["cw"]["within"]["1.5"] == ["paper", "low"]
    factors = [sound["factors"]["1000"] for sound in result["sounds"]]
    assert factors == pytest.approx([1, 2, 10], rel=1e-3)


def test_correlation_with_what_the_sounds_are_like(rows, survey):
    steps = np.arange(16)
    waves = [np.cos(np.pi * k * steps / 16) for k in (2, 5, 11)]  # ever higher
    targets = np.stack([np.tile(w, (2, 1)) for w in waves])
    rows.of_corpora["targets"][:] = np.round(targets * 32767)
    for i, factor in enumerate((1, 3, 9)):
        rows.cells["lstm", 1000]["mse"][i] = 0.01 * factor
        rows.cells["cw", 1000]["mse"][i] = 0.01
    result = survey.comparison(rows)
    centroids = [sound["descriptions"]["centroid"] for sound in result["sounds"]]
    assert sorted(centroids) == centroids
    found = result["correlations"]
    assert found["centroid"]["1000"]["lstm_over_cw"]["rho"] == pytest.approx(1)
    assert found["autocorrelation"]["1000"]["lstm_over_cw"]["rho"] == pytest.approx(-1)


def test_table_and_figure(rows, survey, tmp_path):
    text = survey.text(rows)
    assert "3 sounds of 3 files; 3 runs x 2 sequences of each, 2000 epochs" in text
    assert "deviates from the paper: runs 3, paper 100" in text
    line = next(x for x in text.splitlines() if x.startswith("1000, LSTM, MSE/σ "))
    assert "2/3" in line and line.endswith("5.7")
    assert "\nnot below the LSTM, 1000 parameters, MSE/σ: reversed\n" in text
    assert "all 6 medians: within a factor 1.5 of the paper on 1 of 3 sounds: paper" in text
    json.dumps(survey.comparison(rows), allow_nan=False)
    (path,) = survey.figures(tmp_path, rows, "made up")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_grid_without_the_others_has_a_report_too(rows, survey, tmp_path):
    for key in list(rows.cells):
        if key != ("srn", 100):
            del rows.cells[key], rows.configs[key]
    assert survey.comparison(rows)["ahead"] == {"nmse_paper": {}, "nmse": {}}
    assert "100 SRN" in survey.text(rows)
    assert survey.figures(tmp_path, rows, "made up")
