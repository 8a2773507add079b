"""An HTML file as a test looks at it: is it well-formed, what is in it, does it load anything?"""

from html.parser import HTMLParser

_EMPTY = {"meta", "input", "br", "link", "img", "hr"}
# SVG's own, which end in "/>"
_LOADS = {"img", "script", "audio", "video", "source", "iframe", "link", "image", "use", "embed"}


class Page(HTMLParser):
    """Everything in a page, by tag.

    Attributes:
        elements: (tag, attributes), in their order.
        texts: tag -> text of each element of that name, with what is in it.
        loads: what elements name to be fetched.
        unnamed: SVGs and pictures without an alternative text.
        tables: captions, None for a table that has none.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.loads: list[str] = []
        self.tables: list[str | None] = []
        self.wrong: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, list[str]]] = []
        assert text.startswith("<!doctype html>")
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is never closed" for tag, _ in self._open]

    @property
    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.elements if a.get("id")]

    @property
    def unnamed(self) -> list[dict[str, str | None]]:
        pictures = [a for tag, a in self.elements if tag in ("svg", "img")]
        return [
            a for a in pictures if not a.get("alt") and (a.get("role"), bool(a.get("aria-label")))
            != ("img", True)
        ]  # fmt: skip

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if len(found) != len(attributes):
            self.wrong.append(f"<{tag}> has an attribute twice: {attributes}")
        self.elements.append((tag, found))
        self.loads += [
            value
            for name, value in attributes
            if value and tag in _LOADS and name in ("src", "href", "srcset", "xlink:href")
        ]
        if tag == "table":
            self.tables.append(None)
        if tag not in _EMPTY:
            self._open.append((tag, []))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in _EMPTY:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()} closes {self._open[-1:]}")
            return
        _, words = self._open.pop()
        text = "".join(words)
        self.texts.setdefault(tag, []).append(text)
        if tag == "caption":
            self.tables[-1] = text.strip() or None
        if self._open:
            self._open[-1][1].append(text)

    def handle_data(self, text: str) -> None:
        if self._open:
            self._open[-1][1].append(text)
