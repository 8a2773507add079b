"""Finding and reading IAM-OnDB's files: folders or the archives as downloaded, split lists, XML.

Nothing is ever unpacked: archives are read member by member, and only members with the names that
the corpus has are looked at. XML with a document type or entities is refused.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .archive import members
from .errors import UserError
from .reading import content_of

LINES, TEXTS = "lineStrokes", "ascii"
LISTS = ("trainset.txt", "testset_v.txt", "testset_t.txt", "testset_f.txt")
_LINE = re.compile(r"([a-z]\d\d-\d\d\d[a-z]?)-(\d\d)\.xml")
_TEXT = re.compile(r"([a-z]\d\d-\d\d\d[a-z]?)\.txt")
LARGEST = 1 << 21  # bytes of one file: the corpus' largest has a twentieth of it
_DEEPEST = 3  # levels below the source folder in which things are looked for


@dataclass(frozen=True)
class Source:
    """A folder or a .tar.gz archive with one kind of files.

    Attributes:
        path: of the folder or archive.
        digests: where the SHA-256 of what is read goes, under its path from the folder's name on;
            an archive's own, under its name.
    """

    path: Path
    digests: dict[str, str]

    def files(
        self, pattern: re.Pattern[str], forms: set[str]
    ) -> Iterator[tuple[re.Match[str], str, bytes]]:
        """Match, place and contents of the forms' files, in order of the place.

        Args:
            pattern: of the names; its first group is the form.
            forms: whose files are read.

        Raises:
            UserError: a damaged archive, or a file that is far too large.
        """
        if self.path.is_dir():
            yield from self._in_folder(pattern, forms)
            return

        def match(name: str) -> re.Match[str] | None:
            found = pattern.fullmatch(name.rpartition("/")[2])
            return found if found and found[1] in forms else None

        read = members(self.path, lambda name: match(name) is not None, LARGEST, self.digests)
        for name, content in read:
            matched = match(name)
            assert matched is not None
            yield matched, f"{self.path}:{name}", content

    def _in_folder(
        self, pattern: re.Pattern[str], forms: set[str]
    ) -> Iterator[tuple[re.Match[str], str, bytes]]:
        for folder, folders, names in os.walk(self.path):
            folders.sort()
            for name in sorted(names):
                match, place = pattern.fullmatch(name), Path(folder) / name
                if match and match[1] in forms and place.is_file():
                    content = content_of(place, LARGEST)
                    inside = place.relative_to(self.path.parent).as_posix()
                    self.digests[inside] = hashlib.sha256(content).hexdigest()
                    yield match, str(place), content


def find(
    src: Path, splits: Path | None, digests: dict[str, str]
) -> tuple[Source, Source, dict[str, list[str]]]:
    """The lines, the texts, and the forms of each of the four lists.

    Args:
        src: folder with ``lineStrokes`` and ``ascii``, or lineStrokes-all.tar.gz and
            ascii-all.tar.gz, in it or a few levels below.
        splits: folder of the lists; None: looked for below ``src``.
        digests: gets the SHA-256 of the lists, by name, and of what the sources read.

    Raises:
        UserError: something is not there; a list that cannot be read, or a form in two lists.
    """
    if not src.is_dir():
        raise UserError(f"{src}: no such folder; expected IAM-OnDB's, see `cwrnn prepare iamondb`")
    found = {kind: Source(_find_source(src, kind), digests) for kind in (LINES, TEXTS)}
    lists: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    where = splits or src
    for name in LISTS:
        path = next((p / name for p in _levels(where) if (p / name).is_file()), None)
        if path is None:
            raise UserError(
                f"{where}: no {name} here or below; the lists {', '.join(LISTS)} belong to task t2 "
                "of IAM-OnDB; name their folder with --splits"
            )
        try:
            content = content_of(path, LARGEST)
            lists[name] = content.decode("ascii").split()
        except (UserError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: expected a form's name per line") from error
        digests[name] = hashlib.sha256(content).hexdigest()
        for form in lists[name]:
            if form in owner:
                raise UserError(f"{path}: form {form} is in {owner[form]} already")
            owner[form] = name
    return found[LINES], found[TEXTS], lists


def _levels(root: Path) -> Iterator[Path]:
    """The folder, then those below it, level by level, but nothing inside the corpus itself."""
    level = [root]
    for _ in range(_DEEPEST + 1):
        yield from level
        level = [
            child
            for folder in level
            for child in _inside(folder)
            if child.is_dir() and child.name not in (LINES, TEXTS)
        ]


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", place=folder) from error


def _find_source(src: Path, kind: str) -> Path:
    for folder in _levels(src):
        for name in (kind, f"{kind}-all.tar.gz", f"{kind}-all.tgz", f"{kind}-all.tar"):
            path = folder / name
            if path.is_dir() if name == kind else path.is_file():
                return path
    raise UserError(
        f"{src}: neither a folder {kind} nor {kind}-all.tar.gz here or below; expected IAM-OnDB as "
        "downloaded"
    )


def read_texts(
    source: Source, wanted: Iterable[str]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The transcripts of forms.

    Returns:
        Form -> its lines of the section CSR, blank ones left out; form -> what is wrong with it.
    """
    texts, problems = {}, {}
    for match, place, content in source.files(_TEXT, set(wanted)):
        form = match[1]
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
        sections = re.split(r"^CSR:", text, flags=re.MULTILINE)
        if len(sections) != 2:
            problems[form] = f"{place}: {len(sections) - 1} sections CSR, expected 1"
            continue
        texts[form] = [" ".join(line.split()) for line in sections[1].splitlines() if line.strip()]
        if not texts[form]:
            problems[form] = f"{place}: an empty transcript"
    return texts, problems


def line_files(source: Source, wanted: Iterable[str]) -> Iterator[tuple[str, int, str, bytes]]:
    """Form, number, place and contents of every line file of the forms."""
    for match, place, content in source.files(_LINE, set(wanted)):
        yield match[1], int(match[2]), place, content


def read_strokes(content: bytes) -> np.ndarray | str:
    """(N, 4) float64 points of a line file, or what is wrong with it.

    Returns:
        x and y in the file's units, t in seconds as recorded (see :func:`lag`), and 1 at the last
        point of each stroke, else 0.
    """
    from defusedxml import DefusedXmlException  # noqa: PLC0415  (not needed for other corpora)
    from defusedxml.ElementTree import ParseError, fromstring  # noqa: PLC0415

    try:
        root = fromstring(content, forbid_dtd=True)
    except DefusedXmlException:
        return "a document type or entities; no file of IAM-OnDB has them"
    except (ParseError, ValueError, LookupError) as error:
        return f"damaged XML ({error})"
    points: list[tuple[float, float, float, float]] = []
    try:
        for stroke in root.iterfind("StrokeSet/Stroke"):
            for point in stroke.iterfind("Point"):
                at = point.attrib
                points.append((float(at["x"]), float(at["y"]), float(at["time"]), 0.0))
            if len(stroke):
                points[-1] = (*points[-1][:3], 1.0)
    except (KeyError, ValueError, IndexError) as error:
        return f"a point without x, y and time as numbers ({error})"
    array = np.array(points, np.float64).reshape(-1, 4)
    if not len(array):
        return "no strokes"
    if not np.isfinite(array).all() or np.abs(array).max() > 1e12:
        return "a point without x, y and time as sensible numbers"
    return array


def lag(strokes: np.ndarray) -> float:
    """Seconds by which a point of :func:`read_strokes` is behind an earlier one at most, or 0.

    In 47 lines of IAM-OnDB the clock runs back: by 0.01 to 0.03 s for a few points, or to 0.
    """
    t = strokes[:, 2]
    return float((np.maximum.accumulate(t) - t).max())
