# Sourced by the other scripts: makes .venv if it is not there, and installs cwrnn with the extras "$1"
# into it. PYTHON names the interpreter (default: python3), which must be 3.11 or newer.
if [ ! -x .venv/bin/python ]; then
    "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "cwrnn needs Python 3.11 or newer; name one with PYTHON=/path/to/python3.12" >&2
        exit 2
    }
    "${PYTHON:-python3}" -m venv .venv
fi
# a stamp of what was installed: a second call costs nothing, a changed pin installs again
wanted="$(cat setup.cfg constraints.txt | cksum)"
if [ "$(cat ".venv/installed$1" 2>/dev/null)" != "$wanted" ]; then
    echo "installing into .venv (torch is large: some minutes, 5 GB)" >&2
    .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".$1"
    echo "$wanted" > ".venv/installed$1"
    echo "$wanted" > .venv/installed # extras are more, not other
fi
