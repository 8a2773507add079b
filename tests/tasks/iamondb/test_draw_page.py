"""The page of `cwrnn draw`, in a real browser."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from data_prep.iamondb_files import read_strokes
from tests.browser import program
from tests.tasks.iamondb.conftest import lists, pixels, post, serving

# writes with the mouse, as a browser would report it, and reports what the page shows
DRIVER = """
<script>
"use strict";
(async () => {
  const line = LINE, sheet = document.getElementById("ink"), report = [];
  const shown = () => ({ text: $("text").textContent, status: $("status").textContent,
    steps: reading ? reading.steps.length : 0, strokes: strokes.length,
    undo: $("undo").disabled, step: $("step").textContent });
  const settled = async () => {
    do await new Promise((done) => setTimeout(done, 20)); while (busy || !about);
  };
  const dispatch = (kind, [x, y, t]) => {
    const box = sheet.getBoundingClientRect();
    const event = new PointerEvent(kind, { clientX: x + box.left + sheet.clientLeft,
      clientY: y + box.top + sheet.clientTop, pointerId: 1, bubbles: true, cancelable: true });
    Object.defineProperty(event, "timeStamp", { value: 1000 * t });
    sheet.dispatchEvent(event);
  };
  const key = (target, name, more) => target.dispatchEvent(
    new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true, ...more }));
  let requests = 0;
  const ask = window.fetch;
  window.fetch = (...words) => { requests++; return ask(...words); };
  document.documentElement.style.width = "WIDTHpx"; // a window has at least 500
  window.dispatchEvent(new Event("resize"));
  await settled();
  report.push(shown());
  let moves = 0;
  for (const stroke of line) {
    dispatch("pointerdown", stroke[0]);
    for (const point of stroke.slice(1)) { dispatch("pointermove", point); moves++; }
    dispatch("pointerup", stroke[stroke.length - 1]);
  }
  await settled();
  report.push({ ...shown(), requests, moves, rules, wide: document.body.scrollWidth,
    sheet: sheet.clientWidth, sent: structuredClone(strokes) });
  key(steps, "End");
  report.push(shown());
  key(document, "z", { ctrlKey: true });
  await settled();
  report.push(shown());
  $("undo").click();
  key(document, "Escape");
  await settled();
  report.push(shown());
  const out = document.createElement("pre");
  out.id = "report";
  out.textContent = JSON.stringify(report);
  document.body.append(out);
})();
</script>
"""


def page_with(line: list[list[list[float]]], width: int) -> str:
    from cwrnn_cli.tasks.iamondb import draw

    page = Path(draw.__file__).with_name("draw.html").read_text(encoding="utf-8")
    driver = DRIVER.replace("LINE", json.dumps(line)).replace("WIDTH", str(width))
    return page.replace("</body>", f"{driver}</body>")


@pytest.mark.parametrize("width", [1000, 375])
def test_in_a_browser(clockwork, corpus, tmp_path, width):
    chromium = program()
    drawn = pixels(read_strokes(corpus[1][2].read_bytes()), 0.05).round(2)
    drawn[:, :2] -= drawn[:, :2].min(axis=0) - 20
    line = [stroke for stroke in lists(drawn) if len(stroke) > 1]
    with serving(clockwork, corpus[0], page_with(line, width)) as server:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        result = subprocess.run(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-extensions"]
            + ["--dump-dom", "--enable-logging=stderr", "--window-size=1100,900", profile]
            + ["--virtual-time-budget=60000", server.url],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert "CONSOLE" not in result.stderr, result.stderr
        assert '<pre id="report">' in result.stdout, result.stderr
        text = result.stdout.partition('<pre id="report">')[2].partition("</pre>")[0]
        empty, written, pointed, undone, cleared = json.loads(text)
        assert empty["text"] == "" and empty["undo"] and not empty["status"]
        assert written["strokes"] == len(written["sent"]) == len(line)
        for sent, stroke in zip(written["sent"], line, strict=True):
            np.testing.assert_allclose(sent, stroke, atol=0.006)  # rounded to a 100th of a pixel
        wanted = post(server, {"rules": written["rules"], "strokes": written["sent"]})
        assert written["text"] == wanted["text"] != "" and not written["status"]
        assert written["steps"] == len(wanted["steps"])
        assert 1 <= written["requests"] < 10 < written["moves"]  # the latest ink
        assert width - 60 < written["sheet"] < written["wide"] <= width  # no scroll bar
        assert pointed["step"].startswith(f"Step {written['steps'] - 1}: ")
        wanted = post(server, {"rules": written["rules"], "strokes": written["sent"][:-1]})
        assert undone["text"] == wanted["text"] and undone["strokes"] == len(line) - 1
        assert cleared == empty
