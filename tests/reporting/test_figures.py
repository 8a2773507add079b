"""What figures show, by matplotlib's own objects."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from PIL import Image

from cwrnn_cli.models import CELLS
from cwrnn_cli.reporting import figures


def colours_of(axis) -> list[str]:
    return [to_hex(line.get_color()) for line in axis.lines]


def texts_of(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize(
    "error", [ValueError("quantization error"), OSError("codec configuration error when writing")]
)
def test_pillows_words_for_full_memory_are_understood(tmp_path, monkeypatch, error):
    def full(*_: object, **__: object) -> None:
        raise error

    figure = pyplot.figure()
    monkeypatch.setattr(Image.Image, "quantize", full)
    with pytest.raises(MemoryError):
        figures.save(figure, tmp_path / "f.png")
    assert not list(tmp_path.iterdir())
    pyplot.close(figure)


def test_waves(drawn, tmp_path):
    targets = np.sin(np.arange(40).reshape(2, 20))
    outputs = {"cw": targets[:, ::-1], "srn": np.tile(targets, (1, 2))}
    figures.waves(tmp_path / "f.png", targets, outputs, "data: sines", ["low", "high"])
    axes = np.array(drawn.figure.axes).reshape(2, 2)  # a row per model, a column per sequence
    assert [axis.get_title() for axis in axes[0]] == ["low", "high"]
    assert [row[0].get_ylabel() for row in axes] == ["CW-RNN", "SRN"]
    assert texts_of(drawn.figure) == ["data: sines"]
    for column in range(2):
        target, output = axes[0, column].lines
        np.testing.assert_array_equal(target.get_ydata(), targets[column])
        np.testing.assert_array_equal(output.get_ydata(), outputs["cw"][column])
        assert to_hex(output.get_color()) == CELLS["cw"].colour
        # what runs on beyond its target is drawn on, and where it begins is marked
        _, within, beyond, mark = axes[1, column].lines
        assert len(within.get_ydata()) == 20
        assert beyond.get_xdata().tolist() == list(range(19, 40))
        assert list(mark.get_xdata()) == [19, 19]
        assert to_hex(beyond.get_color()) == CELLS["srn"].colour


def test_waves_name_their_columns(drawn, tmp_path):
    lines = np.zeros((3, 5))
    figures.waves(tmp_path / "f.png", lines, {"lstm": np.full((3, 5), np.nan)}, "")
    titles = [axis.get_title() for axis in drawn.figure.axes]
    assert titles == ["sequence 1", "sequence 2", "sequence 3"]


def test_boxes(drawn, tmp_path):
    rng = np.random.default_rng(0)
    cells = [("cw", 100), ("srn", 100), ("cw", 250), ("srn", 250), ("lstm", 250)]
    errors = {key: rng.uniform(1, 2, 30) for key in cells}
    published = {"cw": {100: 1.5, 1000: 9.0}, "srn": {100: 1.6, 250: 1.7}}
    figures.boxes(tmp_path / "f.png", errors, "data: noise", published, "error, %", {})
    (axis,) = drawn.figure.axes
    boxes = axis.patches
    assert [to_hex(box.get_facecolor()) for box in boxes] == [
        CELLS[model].colour for model in ("srn", "srn", "lstm", "cw", "cw")
    ]
    # side by side around the size's place, in the order of tables
    centres = [box.get_path().vertices[:, 0].mean() for box in boxes]
    assert centres[0] < centres[3] and centres[1] < centres[2] < centres[4]
    assert np.round(centres[:2]).tolist() == [0, 1]
    # as wide as their boxes; caps are half as wide
    lines = [line for line in axis.lines if len(line.get_xdata()) and line.get_marker() != "D"]
    medians = [line for line in lines if 0.19 < np.ptp(line.get_xdata()) < 0.21]
    keys = [("srn", 100), ("srn", 250), ("lstm", 250), ("cw", 100), ("cw", 250)]
    drawn_medians = [line.get_ydata()[0] for line in medians]
    assert drawn_medians == pytest.approx([np.median(errors[key]) for key in keys])
    # the paper's medians: only where it has published one
    marks = {
        line.get_label(): line.get_ydata().tolist()
        for line in axis.lines
        if line.get_marker() == "D"
    }
    assert marks == {
        "SRN (◇ paper's median)": [1.6, 1.7],
        "LSTM": [],
        "CW-RNN (◇ paper's median)": [1.5],
    }
    assert [label.get_text() for label in axis.get_xticklabels()] == ["100", "250"]
    assert (axis.get_ylabel(), axis.get_yscale()) == ("error, %", "linear")
    assert axis.get_ylim()[0] == 0 and texts_of(drawn.figure) == ["data: noise"]


def test_boxes_on_a_logarithmic_scale(drawn, tmp_path):
    errors = {("cw", 100): np.array([1e-3, 1e-2, 0.1])}
    of_all = {("cw", 100): {"+": 0.02, "x": 0.5}}
    figures.boxes(tmp_path / "f.png", errors, "", {}, "error", of_all, logarithmic=True)
    (axis,) = drawn.figure.axes
    assert axis.get_yscale() == "log" and len(axis.patches) == 1
    marks = {line.get_marker(): line.get_ydata() for line in axis.lines}
    assert list(marks["+"]) == [0.02] and list(marks["x"]) == [0.5]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_model_whose_networks_all_diverged_has_no_box(drawn, tmp_path, logarithmic):
    nothing = np.array([])
    errors = {("cw", 100): np.array([0.1, 0.2]), ("srn", 100): nothing}
    figures.boxes(tmp_path / "f.png", errors, "", {"srn": {100: 0.5}}, "", {}, logarithmic)
    (axis,) = drawn.figure.axes
    assert [to_hex(box.get_facecolor()) for box in axis.patches] == [CELLS["cw"].colour]
    figures.boxes(tmp_path / "g.png", {("srn", 100): nothing}, "", {}, "", {}, logarithmic)
    assert not drawn.figure.axes[0].patches


def test_curves(drawn, tmp_path):
    runs = {
        "cw-1000": [(1, 90.0), (2, 50.0)],
        "lstm-1000": [(1, 80.0)],
        "iamondb-cw-500-seed0": [(1, 95.0), (2, 94.0), (3, 93.0)],
        "srnx": [],
    }
    figures.curves(tmp_path / "f.png", runs, "CER, %", "data: lines")
    (axis,) = drawn.figure.axes
    assert [line.get_label() for line in axis.lines] == list(runs)
    found = [list(zip(*line.get_data(), strict=True)) for line in axis.lines]
    assert found == list(runs.values())
    cw, lstm, again, unknown = colours_of(axis)
    assert cw == again == CELLS["cw"].colour and lstm == CELLS["lstm"].colour
    assert unknown not in {cell.colour for cell in CELLS.values()}
    # two runs of one cell are told apart
    assert axis.lines[0].get_linestyle() != axis.lines[2].get_linestyle()
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epochs", "CER, %")
    assert axis.get_ylim() == (0, 100) and texts_of(drawn.figure) == ["data: lines"]


def test_figures_are_forgotten_once_they_are_saved(tmp_path):
    before = len(pyplot.get_fignums())
    figures.curves(tmp_path / "f.png", {"cw-1": [(1, 2.0)]}, "", "")
    assert len(pyplot.get_fignums()) == before
