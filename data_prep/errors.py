"""What a user can do wrong, as one exception, and how foreign words are shown.

It lives here because this package is the leftmost: everything else may import it.
"""

import click


def shown(text: str) -> str:
    """A text on one line, with nothing in it that a terminal would obey: safe to show to a user.

    Names of files, of an archive's members and of a corpus' words are other people's. What is not
    printable is escaped as in Python's source: control characters, line breaks, escape sequences,
    marks that reverse the direction of writing, bytes that are no UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class UserError(click.ClickException):
    """A user's mistake: one line says what is wrong and what to do; exit 2, no traceback.

    Attributes:
        message: the line, ``place: reason`` where there is a place, as :func:`shown`.
        place: the file it is about, and where in it; None: nothing of the kind.
        reason: what is wrong, without the place.
    """

    exit_code = 2

    def __init__(self, reason: str, place: object = None) -> None:
        self.place = None if place is None else str(place)
        self.reason = reason
        super().__init__(shown(reason if place is None else f"{place}: {reason}"))
