"""What a piece of code takes at most, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

_MEASURED = """
import resource
from data_prep.errors import UserError
{begin}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
try:
    {code}
except UserError as error:
    print(error.message)
else:
    print()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
LIMIT = 16 << 30  # bytes of addresses: a bomb ends here, and takes nobody else's memory
SECONDS = 120


def refusal(begin: str, code: str) -> tuple[str, int]:
    """Run code that should refuse something.

    Args:
        begin: imports, in lines.
        code: one statement.

    Returns:
        The UserError's line, "" if there was none; and the MiB that its process took more than
        before at the most.
    """
    program = _MEASURED.format(begin=begin, code=code, limit=LIMIT)
    where = {"cwd": Path(__file__).parents[1], "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    result = subprocess.run(
        [sys.executable, "-c", program], **where, capture_output=True, text=True, timeout=SECONDS
    )
    assert result.returncode == 0, result.stderr[-2000:]
    message, taken = result.stdout.splitlines()[-2:]
    return message, int(taken) // 1024
