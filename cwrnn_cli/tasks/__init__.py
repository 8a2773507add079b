"""The paper's experiments, a folder each; and those of other packages."""

from ..training.registry import TASKS, task_of

TASKS.add("audio", "cwrnn_cli.tasks.audio.task:AudioTask")
TASKS.add("timit", "cwrnn_cli.tasks.timit.task:TimitTask")
TASKS.add("iamondb", "cwrnn_cli.tasks.iamondb.task:IamondbTask")
TASKS.add_installed()

__all__ = ["TASKS", "task_of"]
