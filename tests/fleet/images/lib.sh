# shellcheck shell=bash disable=SC2034 # what is set here is used by the scripts that read this file
# Shared by the scripts of this folder: where things are cached, the mirror, and how results are told.
#
# A result is one line on standard output, which `build`, `.ci/run` and the Rust tests read:
#   ready: NAME: DETAIL          it is there and was seen to work
#   not covered: NAME: REASON    this machine cannot reach or boot it; nothing that needs it counts as passed

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SKEP_TEST_CACHE:-$HOME/.cache/skep-test}

ready() { printf 'ready: %s: %s\n' "$1" "$2"; }
not_covered() { printf 'not covered: %s: %s\n' "$1" "$2"; }
say() { printf '    %s\n' "$*" >&2; }

# The Debian mirror that this machine's apt uses, so that whatever serves the machine serves the tests.
mirror() {
    local uri
    # shellcheck disable=SC2016 # $(SITE) is for apt-get
    uri=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
        grep -E '/debian/?$' | sort -u | head -n 1) || true
    printf '%s\n' "${uri:-http://deb.debian.org/debian}"
}

arch() { dpkg --print-architecture; }

# A key over files and words: what was built with the same key need not be built again.
content_key() {
    local file
    {
        for file in "$@"; do
            if [[ -f $file ]]; then cat "$file"; else printf '%s\n' "$file"; fi
        done
    } | sha256sum | cut -c1-16
}

# Whether the engine has image $1 with content key $2.
image_has_key() {
    [[ $(docker image inspect --format '{{index .Config.Labels "dev.skep.test.key"}}' "$1" 2>/dev/null) == "$2" ]]
}

# The last lines of a log, on one line, as the reason for something not covered.
reason_of() { tail -n 3 "$1" | tr '\n' ' ' | cut -c1-300; }
