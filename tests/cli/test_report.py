"""`cwrnn report`: one HTML file of results, looked at as text and in a browser."""

import base64
import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import wavfile

from cwrnn_cli.evidence.report import html
from cwrnn_cli.evidence.report.gather import gather
from cwrnn_cli.models import CELLS
from cwrnn_cli.reporting.tables import number, percent
from cwrnn_cli.tasks import TASKS
from cwrnn_cli.tasks.audio.sound import LOUD
from cwrnn_cli.training.folder import RunFolder
from tests.browser import browser
from tests.conftest import cwrnn as fixture
from tests.conftest import one_line_error
from tests.html import Page

REPOSITORY = Path(__file__).parents[2]
SMALL = {
    "audio": ("--sizes", "100,250", "--epochs", "40", "--runs", "2"),
    "timit": ("--sizes", "200", "--epochs", "4", "--runs", "3"),
    "iamondb": ("--sizes", "700", "--epochs", "3", "--runs", "1"),
}


@pytest.fixture(scope="module")
def grids(tmp_path_factory, piece, spoken, lines):
    """A folder of `cwrnn compare` of each task, and the report of each."""
    made = {}
    place = tmp_path_factory.mktemp("grids")
    with pytest.MonkeyPatch.context() as patch:
        run = fixture.__wrapped__(place, patch)
        for task, data in (("audio", piece), ("timit", spoken), ("iamondb", lines)):
            words = ("compare", "--task", task, *SMALL[task], "--data", data, "--out", task)
            run(*words)
            run("report", task, "--out", f"{task}.html")
            made[task] = place / task
    return made


def report_of(grid: Path) -> str:
    return grid.with_name(f"{grid.name}.html").read_text(encoding="utf-8")


def check(text: str) -> Page:
    """What holds for every page: well-formed, nothing loaded, all named."""
    page = Page(text)
    assert not page.wrong
    assert len(page.ids) == len(set(page.ids))
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    assert not page.unnamed and None not in page.tables
    tags = {tag for tag, _ in page.elements}
    assert "script" not in tags and "link" not in tags and "iframe" not in tags
    policy = next(a for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy["content"])
    assert "@import" not in text and "url(http" not in text
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert all(link.startswith("https://") or link[1:] in page.ids for link in map(str, links))
    return page


@pytest.mark.parametrize("task", ["audio", "timit", "iamondb"])
def test_a_page_of_a_grid(grids, task):
    text = report_of(grids[task])
    page = check(text)
    assert len(text) < 3_000_000
    (title,) = page.texts["h1"]
    assert title == "A Clockwork RNN, reproduced"
    manifest = json.loads((grids[task] / "manifest.json").read_text())
    assert manifest["command"] in page.texts["code"]
    assert manifest["data"]["sha256"] in text and manifest["sessions"][0]["started"] in text
    printed = next(pre for pre in page.texts["pre"] if pre.startswith(manifest["command"]))
    assert printed == (grids[task] / "table.txt").read_text()
    # clock and mask of the largest CW-RNN
    assert any(str(a.get("aria-label")).startswith("Clock of ") for _, a in page.elements)
    # every table and figure of the task says what it is from, and that is there
    (article,) = page.texts["article"]
    sources = re.findall(r"from (\S+/\S+)", article)
    assert f"{task}/results.h5" in sources and f"{task}/cells/*/metrics.jsonl" in sources
    assert all(list(grids[task].parent.glob(source)) for source in sources)


def test_numbers_are_those_of_the_rows(grids):
    """Of one task each: a median with its interval and the paper's own beside it."""
    text = report_of(grids["audio"])
    with h5py.File(grids["audio"] / "results.h5") as file:
        rows = file["cw/250"]
        errors = rows["nmse_paper"][()][~rows["diverged"][()]].astype(float)
    assert f"Median {number(float(np.median(errors)))} (" in text
    assert "Median MSE/σ 0.0170" in text  # Figure 3, CW-RNN of 250
    assert "epochs 40, paper 2000" in text
    rows = Page(text).texts["tr"]
    assert not [row for row in rows if "holds" in row.splitlines()]  # too few epochs to tell
    with h5py.File(grids["timit"] / "results.h5") as file:
        errors = file["srn/200"]["error"][()]
    cells = Page(report_of(grids["timit"])).texts["td"]
    assert any(cell.startswith(percent(float(errors.mean()))) for cell in cells)


def test_players_play_the_rows_waves(grids):
    page = Page(report_of(grids["audio"]))
    players = [a for tag, a in page.elements if tag == "audio"]
    assert len(players) == 5 * 4 and all("loop" in a and "controls" in a for a in players)
    with h5py.File(grids["audio"] / "results.h5") as file:
        wanted = {
            "target": file["targets"][()],
            **{
                label: file[f"{model}/250/best"][()]
                for label, model in (("SRN", "srn"), ("LSTM", "lstm"), ("CW-RNN", "cw"))
            },
        }
    for a in players:
        sequence, label = re.fullmatch(r"sequence (\d), (.+)", str(a["aria-label"])).groups()
        rate, wave = wavfile.read(BytesIO(base64.b64decode(str(a["src"]).partition(",")[2])))
        assert rate == 44100 and len(wave) % 320 == 0 and 0.25 < len(wave) / rate < 0.35
        one = wanted[label][int(sequence) - 1].astype(float)
        found = wave.reshape(-1, 320) / 32767
        np.testing.assert_allclose(found, [LOUD * (one - one.mean())] * len(found), atol=1e-4)
    assert any("too short to be heard: each is repeated" in p for p in page.texts["p"])


def test_ink_only_where_the_corpus_is_at_hand(grids, lines, cwrnn, tmp_path):
    task = TASKS["iamondb"]
    label = next(
        str(a["aria-label"])
        for tag, a in Page(report_of(grids["iamondb"])).elements
        if tag == "svg" and "handwriting" in str(a["aria-label"])
    )
    best = re.search(r"(\w+)-700, the run with the least error", report_of(grids["iamondb"]))[1]
    run = RunFolder(grids["iamondb"] / "cells" / f"{best}-700")
    evaluation = task.evaluate_run(run)
    for text, read in zip(evaluation.lines.text[:1], evaluation.written[0][:1], strict=True):
        assert f"“{text}” read as “{read}”" in label
    shutil.copytree(grids["iamondb"], "moved", ignore=shutil.ignore_patterns("cells"))
    cwrnn("report", "moved")
    text = Path("report.html").read_text()
    assert "Left out: the rows hold no line of the corpus" in text and "read as “" not in text
    check(text)


def test_of_one_run_and_with_its_data_gone(grids, piece, cwrnn):
    shutil.copytree(grids["audio"] / "cells" / "cw-100", "run")
    cwrnn("report", "run", "--out", "whole.html")
    assert check(Path("whole.html").read_text()).texts["h3"][0] == "Table 2, row 1, and Figure 3"
    config = json.loads(Path("run/config.json").read_text())
    Path("run/config.json").write_text(json.dumps(config | {"data_path": "gone.h5"}))
    told = cwrnn("report", "run", "--out", "part.html").stderr
    assert "left out: the run's data are not at hand (gone.h5: no such file" in told
    page = check(Path("part.html").read_text())
    assert page.texts["h3"] == ["What is not here", "Training"]
    assert any("gone.h5: no such file here" in p for p in page.texts["p"])
    cwrnn("report", "run", "--data", piece, "--out", "part.html")  # a report is made anew
    assert Path("part.html").read_text().count("<audio") == 10
    checkpoint = Path("run/checkpoint.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    error = one_line_error(cwrnn("report", "run", "--out", "none.html", expect=2))
    assert error.startswith("run/checkpoint.pt: ") and not Path("none.html").exists()


def test_runs_that_were_compared(grids, cwrnn):
    given = [w for m in ("srn", "cw") for w in ("--run", grids["iamondb"] / "cells" / f"{m}-700")]
    cwrnn("compare", "--task", "iamondb", *given, "--at", "1,2", "--out", "both")
    cwrnn("report", "both")
    page = check(Path("report.html").read_text())
    (of_runs,) = [table for table in page.texts["table"] if "stopped by" in table]
    assert "validation by epoch 2" in of_runs and "validation by epoch 25" not in of_runs
    assert "paper (Table 3, test), on IAM-OnDB" in of_runs  # these are lines of no people
    assert page.texts["h3"] == ["Table 3, run by run", "Training", "Ink, and what was read"]
    assert any(pre == Path("both/table.txt").read_text() for pre in page.texts["pre"])


def test_one_grid_on_several_corpora(piece, cwrnn, tmp_path):
    cwrnn("prepare", "audio", "--start", "1", "--out", "other.h5")
    words = ("--data", piece, "--data", "other.h5", "--sizes", "100", "--runs", "1")
    cwrnn("compare", *words, "--epochs", "3", "--out", "sounds")
    cwrnn("report", "sounds")
    page = check(Path("report.html").read_text())
    assert page.texts["h3"] == ["Figure 3 over many sounds"]
    assert any("2 sounds" in title for title in page.texts["h2"])


def test_a_folder_of_folders(grids, cwrnn, tmp_path):
    for task, folder in grids.items():
        shutil.copytree(folder, f"all/{task}")
    Path("all/timit/figure4.png").unlink()  # its command has left a picture less, but still some
    cwrnn("report", "all", "--out", "all.html")
    page = check(Path("all.html").read_text())
    assert len(page.texts["article"]) == 3
    assert any(row.startswith("all/audio") for row in map(str.strip, page.texts["tr"]))


def test_mistakes_end_in_one_line(grids, cwrnn):
    message = one_line_error(cwrnn("report", "nowhere", expect=2))
    assert message.startswith("nowhere: no such folder")
    Path("mine.html").write_text("<p>mine")
    message = one_line_error(cwrnn("report", grids["audio"], "--out", "mine.html", expect=2))
    assert message.startswith("--out mine.html: exists, and is not a report of cwrnn's; choose")
    assert Path("mine.html").read_text() == "<p>mine"
    Path("empty").mkdir()
    assert "not a manifest" in one_line_error(cwrnn("report", "empty", expect=2))
    shutil.copytree(grids["audio"], "bare/grid", ignore=shutil.ignore_patterns("*.png"))
    assert "has rows and figures" in one_line_error(cwrnn("report", "bare", expect=2))
    message = one_line_error(cwrnn("report", grids["audio"], "--data", "no.h5", expect=2))
    assert message.startswith("no.h5: no such file")
    shutil.copytree(grids["audio"], "half")
    Path("half/results.h5").unlink()
    assert "go on with `cwrnn compare" in one_line_error(cwrnn("report", "half", expect=2))
    assert not Path("report.html").exists()


def colours(scheme: str) -> dict[str, str]:
    """Custom properties of a scheme."""
    css = Path(html.__file__).with_name("report.css").read_text()
    parts = {
        "light": css.partition(":root {")[2].partition("}")[0],
        "dark": css.partition("(prefers-color-scheme: dark)")[2].partition("}")[0],
        "print": css.partition("@media print")[2].partition("}")[0],
    }
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", parts[scheme]))


def contrast(first: str, second: str) -> float:
    """WCAG 2's."""

    def luminance(colour: str) -> float:
        values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted([luminance(first), luminance(second)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_contrast(scheme):
    """AA: 4.5 for text, 3 for the lines of figures."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    found = colours(scheme)
    text = [(t, g) for t in ("ink", "soft", "link") for g in ("ground", "card")]
    text += [(v, f"{v}-ground") for v in ("holds", "part", "fails", "open", "untested")]
    low = {pair: contrast(found[pair[0]], found[pair[1]]) for pair in text}
    assert min(low.values()) >= 4.5, low
    papers = [CELLS[model].colour for model in ("srn", "lstm", "cw")]
    assert min(contrast(colour, found["card"]) for colour in papers) >= 3


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("task", ["audio", "timit", "iamondb"])
def test_in_a_browser(grids, tmp_path, task, width):
    """Renders, plays, says nothing, overflows nowhere, light and dark."""
    place = grids[task].with_name(f"{task}.html")
    with browser(tmp_path / "profile") as page:
        for dark in (False, True):
            page.open(place, width, dark=dark)
            assert page.ask("document.scrollingElement.scrollWidth") <= width
            ground = page.ask("getComputedStyle(document.body).backgroundColor")
            scheme = colours("dark" if dark else "light")["ground"]
            assert ground == "rgb({}, {}, {})".format(*bytes.fromhex(scheme[1:]))
            boxes = page.ask("[...document.querySelectorAll('svg')].map(s => s.clientHeight)")
            assert boxes and min(boxes) > 50
        played = page.ask(
            """Promise.all([...document.querySelectorAll("audio")].map(async player => {
                player.muted = true;
                await player.play();
                for (let i = 0; i < 200 && !player.currentTime; i++)
                    await new Promise(done => setTimeout(done, 50));
                return [player.duration, player.currentTime > 0, player.error === null];
            }))"""
        )
        assert len(played) == (20 if task == "audio" else 0)
        assert all(0.25 < duration < 0.35 and runs and fine for duration, runs, fine in played)
        # the filter of verdicts, without a script
        rows = "document.querySelectorAll('.claims tbody tr:not(.of)')"
        shown = f"[...{rows}].filter(r => r.offsetHeight)"
        every = page.ask(f"{shown}.length")
        assert bool(every) == (task == "audio")  # the others have none of the paper's sizes
        if every:
            page.ask("document.querySelector('.filter label:last-of-type input').click()")
            assert page.ask(f"new Set({shown}.map(r => r.className)).size") == 1
            assert 0 < page.ask(f"{shown}.length") <= every
        page.screenshot(tmp_path / "page.png")
        page.pdf(tmp_path / "page.pdf")
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
        assert not page.said
        assert all(address.startswith(("file:", "data:")) for address in page.asked)


def test_of_the_published_results(tmp_path):
    """Claims, figures and sounds of results/, and no line of any corpus."""
    report = gather(REPOSITORY / "results")
    text = html.page(report)
    page = check(text)
    rows = len(
        re.findall(r"^\[\[claim\]\]", (REPOSITORY / "results/claims.toml").read_text(), re.M)
    )
    assert len(report.claims) == rows > 50
    written = (REPOSITORY / "results/CLAIMS.md").read_text()
    for claim in report.claims:
        assert claim.found in written
    assert page.texts["figure"] and any(tag == "audio" for tag, _ in page.elements)
    assert "handwriting as they were written" not in text
    assert len(text.encode()) < 8_000_000
    place = tmp_path / "results.html"
    place.write_text(text, encoding="utf-8")
    with browser(tmp_path / "profile") as open_page:
        open_page.open(place, 375)
        assert open_page.ask("document.scrollingElement.scrollWidth") <= 375
        assert not open_page.said
