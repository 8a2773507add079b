"""What `cwrnn bench` shows, of results made by hand."""

import pytest
from matplotlib.colors import to_hex

from cwrnn_cli.models import CELLS
from cwrnn_cli.reporting import benchmarks as report
from data_prep.errors import UserError

MACHINE = {"processor": "An Abacus", "threads": 2, "torch": "2.11.0"}


def row(cell, backend, width, batch=1, length=20, ratio=2.0, **more):
    base = {"cell": cell, "backend": backend, "width": width, "batch": batch, "length": length}
    ratios = {"ratio": ratio, "ratio_own": None, "ratio_faster": ratio}
    return base | {"ms": 1.5, "ms_min": 1.25, "ms_max": 2.0, "bytes": None} | ratios | more


@pytest.fixture
def result():
    counts = {"gflops": 9.6, "operations_ratio": 2.01, "paper_bound": 2.0}
    rows = [row("torch.nn.RNN", "torch", 16, ratio=1.0, bytes=3 << 20)]
    for width, ours in ((16, 3.0), (40, 4.0)):
        for batch in (1, 8):
            for length in (20, 50):
                more = counts | {"cascade_ratio": width / 8}
                at = {"batch": batch, "length": length, "ratio_faster": ours + batch}
                rows.append(row("ClockworkRNN", "compiled", width, **at, **more))
    rows.append(row("ClockworkRNN", "jax", 40, setting="cascade, unroll 4", ratio=0.2))
    rows.append(row("ClockworkRNN", "reference", 40, ratio=0.1, **counts, cascade_ratio=5.0))
    return {"machine": MACHINE, "peak_gflops": 76.4, "rows": rows}


def test_layer_text(result):
    lines = report.layer_text(result).splitlines()
    assert lines[0] == (
        "An Abacus, 2 threads, torch 2.11.0; torch.mm reaches 76 GFLOP/s in float32"
    )
    header = next(i for i, line in enumerate(lines) if line.startswith("layer (backend)"))
    rows = lines[header + 2 :]
    assert len(rows) == len(result["rows"])
    # no count of operations where the layer is no clockwork's; "–" where memory is not known
    assert rows[0].split() == "torch.nn.RNN (torch) 16 1 20 1.50 1.25..2.00 1.00 – 1.00 3".split()
    wanted = "ClockworkRNN (compiled) 16 1 20 1.50 1.25..2.00 2.00 – 4.00 2.0 2.0 2 10 –"
    assert rows[1].split() == wanted.split()
    assert rows[-2].startswith("ClockworkRNN (jax)") and rows[-2].endswith("cascade, unroll 4")


def test_a_note_explains_what_its_table_has(result):
    found = report.layer_table(result)
    assert "setting: JAX's" in report.layer_note(found) and "–: not" in report.layer_note(found)
    few = {**result, "rows": [row("SRN", "compiled", 16, bytes=1 << 20, ratio_own=1.0)]}
    found = report.layer_table(few)
    assert found.header[-1] == "MiB" and "setting" not in report.layer_note(found)
    assert "–" not in report.layer_note(found)


def test_results_of_before_have_one_base(result):
    for row in result["rows"]:
        del row["ratio_own"], row["ratio_faster"]
    first = next(x for x in report.layer_text(result).splitlines() if "RNN (torch)" in x)
    assert first.split()[7:10] == ["1.00", "–", "–"]


def test_precision_text():
    rows = [{"cell": "SRN", "precision": "TF32", "outputs": 1.23e-4, "gradients": 0.0567}]
    text = report.precision_text({"units": 16, "batch": 8, "steps": 5, "modules": 8, "rows": rows})
    assert text.splitlines()[0].startswith(
        "width 16, batch 8, 5 steps, 8 modules where a cell has any; largest error"
    )
    assert text.splitlines()[-1].split() == ["SRN", "TF32", "1.2e-04", "5.7e-02"]


def test_plot_layers(result, drawn, tmp_path):
    drawn.into(report)
    report.plot_layers(tmp_path / "p.png", result)
    axes = drawn.figure.axes
    assert [axis.get_title() for axis in axes] == ["20 steps", "50 steps"]
    colours = [cell.colour for cell in CELLS.values()]
    for axis in axes:
        lines = {line.get_label(): line for line in axis.lines}
        for batch, colour in zip((1, 8), colours, strict=False):
            line = lines[f"batch {batch}"]
            assert list(line.get_xdata()) == [16, 40]
            assert list(line.get_ydata()) == [3 + batch, 4 + batch]  # the compiled one's only
            assert to_hex(line.get_color()) == colour
        assert list(lines["operations saved"].get_ydata()) == [2, 5]
        assert [text.get_text() for text in axis.texts] == ["the paper's bound, g/4"]
        assert axis.get_xscale() == axis.get_yscale() == "log"
    assert axes[0].get_ylabel() == "times as fast as the faster SRN, torch's or ours"


def test_points_without_a_base_are_not_drawn(result, drawn, tmp_path):
    for row in result["rows"]:
        if row["width"] == 40 or (row["batch"], row["length"]) == (8, 20):
            row["ratio_faster"] = None
    drawn.into(report)
    report.plot_layers(tmp_path / "p.png", result)
    first, second = drawn.figure.axes
    assert [line.get_label() for line in first.lines if "batch" in line.get_label()] == ["batch 1"]
    assert [list(line.get_xdata()) for line in second.lines[:2]] == [[16], [16]]
    with pytest.raises(UserError, match="nothing to draw"):
        report.plot_layers(tmp_path / "q.png", result | {"rows": result["rows"][:1]})
