"""``python -m cwrnn_cli``: the command line without an installation."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="cwrnn")
