"""`cwrnn bench gpu-resources`: every Triton kernel fits; results/gpu says so of this code."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from cwrnn_cli.benchmarks import gpu_resources
from cwrnn_cli.reporting.benchmarks import gpu_resources_text
from tests.conftest import one_line_error

PUBLISHED = Path(__file__).parents[2] / "results/gpu/resources.json"
AGAIN = "run `cwrnn bench gpu-resources --out results/gpu` again, into an empty folder"

compiles = pytest.mark.skipif(
    gpu_resources.missing() is not None, reason=str(gpu_resources.missing())
)


@compiles
def test_every_kernel_fits_on_one_architecture_and_is_as_published(cwrnn):
    words = ("bench", "gpu-resources", "--architectures", "90", "--out", "here", "--json")
    found = json.loads(cwrnn(*words).stdout)
    assert json.loads(Path("here/resources.json").read_text()) == found
    assert Path("here/resources.txt").read_text() == gpu_resources_text(found) + "\n"
    assert found["rows"] and gpu_resources.unfit(found) == []
    assert all(0 < row["registers"] <= 255 for row in found["rows"])
    published = json.loads(PUBLISHED.read_text())
    there = [row for row in published["rows"] if row["arch"] == "sm_90"]
    assert found["rows"] == there, AGAIN


@compiles
def test_what_is_published_is_of_these_kernels_and_all_fit():
    published = json.loads(PUBLISHED.read_text())
    wanted = [
        (v.kernel, v.width, gpu_resources.others(v), f"sm_{architecture}", v.digest())
        for v in gpu_resources.variants()
        for architecture in gpu_resources.ARCHITECTURES
    ]
    columns = ("kernel", "width", "others", "arch", "source")
    found = [tuple(row[column] for column in columns) for row in published["rows"]]
    assert found == wanted and len(set(found)) == len(found), AGAIN
    assert gpu_resources.unfit(published) == []


@compiles
def test_one_that_does_not_fit_is_named(cwrnn, monkeypatch):
    variant = gpu_resources.variants()[0]
    starved = replace(variant, registers=40)
    assert starved.digest() != variant.digest()
    monkeypatch.setattr(gpu_resources, "variants", lambda: [starved])
    result = cwrnn("bench", "gpu-resources", "--architectures", "80,100", "--json", expect=1)
    rows = json.loads(result.stdout)["rows"]
    assert [row["arch"] for row in rows] == ["sm_80", "sm_100"]
    assert all(row["registers"] <= 40 and 0 < row["stack"] and 0 < row["spills"] for row in rows)
    name = f"{variant.kernel} {variant.width} {variant.constants['PRECISION']}"
    said = f"these kernels do not fit into registers: {name} sm_80, {name} sm_100"
    assert said in result.stderr


def test_mistakes_end_in_one_line(cwrnn, monkeypatch):
    words = ("bench", "gpu-resources")
    message = one_line_error(cwrnn(*words, "--architectures", "90,70", expect=2))
    assert message == "--architectures 70: expected some of [80, 86, 89, 90, 100, 120]"
    monkeypatch.setitem(os.environ, "TRITON_INTERPRET", "1")
    if gpu_resources.find_spec("triton"):
        message = one_line_error(cwrnn(*words, expect=2))
        assert message == "TRITON_INTERPRET is set, so Triton compiles nothing; unset it"
    monkeypatch.setattr(gpu_resources, "find_spec", lambda _: None)
    assert "Triton is not installed" in one_line_error(cwrnn(*words, expect=2))
