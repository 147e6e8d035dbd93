#!/bin/sh
# Install what pip cannot bring and some tests need: the real Sidekiq, a real browser, a real
# database, shells, and a terminal. Only where that is possible without asking anybody. Never fails: without them those
# tests are skipped, and this says why.
set -u

log=$(mktemp) || { echo "some tests will be skipped: no temporary file can be made"; exit 0; }
trap 'rm -f "$log"' EXIT

has_sidekiq() { ruby -e 'require "sidekiq"' 2>/dev/null && command -v sidekiq >/dev/null; }

has_chromium() {
    [ -n "${JOBD_CHROMIUM:-}" ] || command -v chromium >/dev/null ||
        command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

# need WHICH PACKAGE TEST: install the package unless TEST says that it is there.
need() {
    "$3" && return
    skip="$1 tests will be skipped: no $2 here"
    if ! command -v apt-get >/dev/null; then
        echo "$skip, and no apt-get to install it with"
        return
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            echo "$skip, and installing it needs root: sudo apt-get install $2"
            return
        fi
        as_root="sudo -n"
    fi
    echo "installing $2 for the $1 tests ..."
    # A package list may be missing or too old: then fetch it, and try once more.
    if ! install "$2"; then
        if ! { $as_root timeout 120 apt-get update -qq >"$log" 2>&1 && install "$2"; }; then
            echo "$skip, and apt-get cannot install it: $(tail -n 1 "$log")"
            return
        fi
    fi
    "$3" || echo "$skip: it is installed but does not work"
}

install() {
    $as_root env DEBIAN_FRONTEND=noninteractive timeout 180 apt-get install -y -qq \
        --no-install-recommends -o DPkg::Lock::Timeout=60 "$1" >"$log" 2>&1
}

has_postgres() { command -v setpriv >/dev/null && ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }

has_zsh() { command -v zsh >/dev/null; }

has_fish() { command -v fish >/dev/null; }

has_tmux() { command -v tmux >/dev/null; }

need interop ruby-sidekiq has_sidekiq
need browser chromium has_chromium
need database postgresql has_postgres
need completion zsh has_zsh
need completion fish has_fish
need terminal tmux has_tmux
