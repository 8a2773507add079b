"""`cwrnn draw`: write by hand, and watch; the task that can brings it."""

from importlib import import_module

import click

from .of_tasks import places

_module, _, _name = places("")["draw"][0].partition(":")
command: click.Command = getattr(import_module(_module), _name)
