"""The page itself: a template, a style sheet, and nothing from anywhere else."""

import mimetypes
import re
from base64 import b64encode
from dataclasses import replace
from importlib.resources import files
from itertools import groupby

import jinja2
from markupsafe import Markup

from ...outputs import REPORT
from ...training.sections import VERDICTS, Claim, Picture, Sheet, Sound
from .gather import Report

_NUMBER = re.compile(r"[\s\d.,:/±×∞–()%+*<>e-]*|[\d. –]+ to [\d. –]+")


def page(report: Report) -> str:
    """The whole HTML file."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"drawn": drawn, "filled": filled, "numeric": numeric}
    environment.filters |= {"data_uri": data_uri, "unbroken": unbroken}
    counts = {v: sum(claim.verdict == v for claim in report.claims) for v in VERDICTS}
    found: str = environment.get_template("report.html").render(
        report=report,
        groups=groups(report),
        counts={verdict: n for verdict, n in counts.items() if n},
        css=Markup(_part("report.css")),
        mark=Markup(f"{REPORT}: open it in a browser. -->"),
    )
    return found


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def groups(report: Report) -> list[tuple[str, list[Claim]]]:
    """Its claims, those beside each other that one command shows on one corpus together.

    With that command, to be said once; "" where each has its own to say.
    """
    if report.claims_file:
        return [("", list(report.claims))]
    found = groupby(report.claims, lambda claim: (claim.data, claim.command))
    return [(command, list(claims)) for (_, command), claims in found]


def unbroken(command: str) -> Markup:
    """A command whose options no line breaks within their hyphens."""
    kept = r'<span class="option">\g<0></span>'
    return Markup(re.sub(r"(?<=\s)-[\w-]+", kept, str(Markup.escape(command))))


def drawn(picture: Picture) -> Markup:
    """Its SVG, with what is to be seen as its name, and as wide as it was drawn at the most."""
    label = Markup.escape(picture.label)
    width = float(re.search(r'viewBox="0 0 ([\d.]+) ', picture.svg)[1])  # type: ignore[index]
    start = f'<svg role="img" aria-label="{label}" style="--width: {width / 72:.2f}"'
    return Markup(picture.svg.replace("<svg", start, 1))


def filled(sheet: Sheet) -> Sheet:
    """A table without the columns that have nothing in them."""
    kept = [i for i in range(len(sheet.header)) if any(row[i] for row in sheet.rows)]
    rows = [[row[i] for i in kept] for row in sheet.rows]
    return replace(sheet, header=[sheet.header[i] for i in kept], rows=rows)


def numeric(sheet: Sheet) -> list[bool]:
    """Which columns are of numbers: all their cells, and not the first one."""
    columns = list(zip(*sheet.rows, strict=True)) or [()] * len(sheet.header)
    return [i > 0 and all(map(_NUMBER.fullmatch, cells)) for i, cells in enumerate(columns)]


def data_uri(sound: Sound) -> str:
    """Its file as an address."""
    kind = mimetypes.types_map[".wav"]
    return f"data:{kind};base64,{b64encode(sound.wav).decode()}"
