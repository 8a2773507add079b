"""What a user can do wrong, as one exception.

It lives here because this package is the leftmost: everything else may import it.
"""

import click


class UserError(click.ClickException):
    """A user's mistake: one line says what is wrong and what to do; exit 2, no traceback."""

    exit_code = 2
