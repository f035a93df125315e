#!/usr/bin/env bash
# Compiles the locks from requirements*.in. Needs uv (pip install uv). Run it after changing a requirement.
set -euo pipefail
cd "$(dirname "$0")"
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
        --custom-compile-command ./lock.sh "$@"
}
compile requirements.in -o requirements.txt
compile requirements-gpu.in -o requirements-gpu.txt
compile requirements-dev.in -o requirements-dev.txt
compile requirements-pretrained.in -o requirements-pretrained.txt
compile requirements-tensorboard.in -o requirements-tensorboard.txt
compile requirements-export.in -o requirements-export.txt
compile requirements-predict.in -o requirements-predict.txt
