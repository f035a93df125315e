#!/usr/bin/env bash
# Installs .venv on first use, then runs the package. See ./run.sh --help and README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv="$here/.venv"
python="$venv/bin/python"

fail() { echo "error: $*" >&2; exit 3; }

# Prints the path of the newest Python that the lock supports; PYTHON=... chooses another.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 is needed, this is $(python3 --version 2>&1 || echo no Python); install one, or set PYTHON=/path/to/python3.11"
}

# install LOCK SIZE: installs a lock's packages into .venv, once per content of the lock. A stamp file is written last, so
# that an interrupted installation is repeated; .venv.lock lets only one process install at a time.
install() {
    local lock="$here/$1" stamp
    stamp="$venv/.installed-${1%.txt}-$(cksum < "$lock" | cut -d' ' -f1)"
    [ -e "$stamp" ] && return
    local base
    base=$(find_python)
    exec 9> "$here/.venv.lock"
    "$base" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'  # held by this shell until fd 9 closes
    if [ ! -e "$stamp" ]; then
        echo "First use: installing $1 into .venv ($2)" >&2
        if ! "$python" -m pip --version > /dev/null 2>&1; then
            "$base" -m venv --clear "$venv" || fail "$base cannot create a virtual environment; on Debian: apt install python3-venv"
        fi
        "$python" -m pip install --quiet --disable-pip-version-check -r "$lock" >&2 ||
            fail "pip could not install $1; fix the error above and run again"
        touch "$stamp"
    fi
    exec 9>&-
}

# install_extra NAME: installs the optional packages of requirements-NAME.txt.
install_extra() {
    local names
    names=$(cd "$here" && printf '%s\n' requirements-*.txt | sed -n 's/^requirements-\(.*\)\.txt$/\1/p' | grep -vx -e gpu -e dev -e predict | paste -sd ' ')
    [ -n "$1" ] && [[ " $names " == *" $1 "* ]] || { echo "error: install: extra= must be one of: $names" >&2; exit 2; }
    install "requirements-$1.txt" "optional packages"
}

# PNEUMONIA_LOCK names the lock where it cannot be found out: an image is built on a machine without its GPU.
if nvidia-smi -L > /dev/null 2>&1; then lock=requirements-gpu.txt; else lock=requirements.txt; fi
lock=${PNEUMONIA_LOCK:-$lock}
[ -z "${PNEUMONIA_LOCK:-}" ] || [ -f "$here/$lock" ] || fail "PNEUMONIA_LOCK=$lock: there is no such file; leave it unset, or give requirements.txt or requirements-gpu.txt"
base_size="some minutes, about 3.6 GB"
[ "$lock" != requirements-predict.txt ] || base_size="about 0.9 GB"
case " $* " in
    *" --help "* | *" -h "* | *" help "*) [ -x "$python" ] || python=$(find_python) ;;  # --help needs no packages
    " install "*)
        extra="${2:-}"
        install "$lock" "$base_size"
        install_extra "${extra#extra=}"
        exit ;;
    " test "*)
        install "$lock" "$base_size"
        install requirements-dev.txt "tests and linter"
        install_extra pretrained
        install_extra tensorboard
        install_extra export ;;
    *) install "$lock" "$base_size" ;;
esac

# allocator.py gives TensorFlow on a CPU an allocator that keeps freed memory, with the same bits;
# PNEUMONIA_ALLOCATOR=system keeps the system's. -P: a numpy.py in the caller's folder must not be imported.
PYTHONPATH="$here/src" exec "$python" -I "$here/src/pneumonia/system/allocator.py" "$python" -P -m pneumonia "$@"
