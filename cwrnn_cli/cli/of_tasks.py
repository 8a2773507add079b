"""The commands that tasks bring themselves, as subcommands of a group."""

from ..tasks import TASKS


def places(group: str) -> dict[str, tuple[str, str]]:
    """Name -> (place, "") of the commands that tasks have for a group."""
    return {
        name: (place, "")
        for task in TASKS.values()
        for (owner, name), place in task.commands.items()
        if owner == group
    }
