#!/bin/sh
# Install the real Sidekiq for the interop tests, where that is possible without asking anybody.
# Never fails: without it those tests are skipped, and this says why.
set -u

skip() {
    echo "interop tests will be skipped: $1"
    exit 0
}

if ruby -e 'require "sidekiq"' 2>/dev/null && command -v sidekiq >/dev/null; then
    exit 0
fi
command -v apt-get >/dev/null || skip "no Sidekiq here, and no apt-get to install ruby-sidekiq with"

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        skip "no Sidekiq here, and installing it needs root: sudo apt-get install ruby-sidekiq"
    fi
    as_root="sudo -n"
fi

echo "installing ruby-sidekiq for the interop tests ..."
log=$(mktemp) || skip "no temporary file can be made"
trap 'rm -f "$log"' EXIT

# A package list may be missing or too old: then fetch it, and try once more.
install() {
    $as_root env DEBIAN_FRONTEND=noninteractive timeout 180 apt-get install -y -qq \
        --no-install-recommends -o DPkg::Lock::Timeout=60 ruby-sidekiq >"$log" 2>&1
}
if ! install; then
    $as_root timeout 120 apt-get update -qq >"$log" 2>&1 && install ||
        skip "apt-get cannot install ruby-sidekiq: $(tail -n 1 "$log")"
fi
ruby -e 'require "sidekiq"' 2>/dev/null || skip "ruby-sidekiq is installed but does not load"
