"""What a user can do wrong, as one exception.

It lives here because this package is the leftmost: everything else may import it.
"""

import click


class UserError(click.ClickException):
    """A user's mistake: one line says what is wrong and what to do; exit 2, no traceback.

    Attributes:
        message: the line, ``place: reason`` where there is a place.
        place: the file it is about, and where in it; None: nothing of the kind.
        reason: what is wrong, without the place.
    """

    exit_code = 2

    def __init__(self, reason: str, place: object = None) -> None:
        self.place = None if place is None else str(place)
        self.reason = reason
        super().__init__(reason if place is None else f"{place}: {reason}")
