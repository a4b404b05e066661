# Sourced by tools/train and tools/test: makes or reuses .venv and installs tfsc into it.
#   ensure_venv ""      what training needs
#   ensure_venv test    the tests' packages too
# PYTHON names the interpreter; otherwise the first of python3.11 … python3.13, python3 that will do.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "tfsc needs Python 3.11 to 3.13; set PYTHON to one (tried: ${PYTHON:-python3.11 python3.12 python3.13 python3})" >&2
    return 1
}

ensure_venv() {
    local extra=$1 stamp wanted python
    # A stamp for each set of packages: changed dependencies install again, nothing else does.
    stamp=$venv/.installed-${extra:-base}
    wanted=$(sha256sum <"$root/pyproject.toml")
    if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    python=$(find_python)
    echo "tfsc: installing into .venv (once; a few minutes)" >&2
    # Also where an earlier try was cut off before pip was there.
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root${extra:+[$extra]}"
    echo "$wanted" >"$stamp"
}
