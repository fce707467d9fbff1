# shellcheck shell=bash
# What: what the other scripts share: words on the terminal, timed steps, finding and installing
#       tools. Sourced, never run.
# Why:  a fresh machine must come to a running system by one command, so each script asks here
#       for what it needs instead of a README listing what to install by hand.
# Needs: bash 4.4 or newer.

repo_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin" # where rustup puts cargo, if the shell has not said so

# Where cargo puts what it builds.
target_dir() { printf '%s\n' "${CARGO_TARGET_DIR:-$repo_root/target}"; }

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Prints the comment at the head of a script: that comment is its help.
show_help() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$1"; }

# step WORDS COMMAND...: runs one step and says how long it took. The command is called plainly, not
# inside an `if`, or bash would ignore failures in the middle of a function.
step() {
    step_words=$1
    step_started=$SECONDS
    shift
    printf '== %s\n' "$step_words"
    step_running=1
    "$@"
    step_running=
    printf -- '-- %s: ok, %d s\n' "$step_words" $((SECONDS - step_started))
}
step_failed() {
    [ -n "${step_running:-}" ] || return 0
    printf -- '-- %s: FAILED with status %d after %d s\n' "$step_words" "$1" $((SECONDS - step_started)) >&2
}

# at_end COMMAND...: runs it when the script ends, however it ends.
at_end_commands=()
at_end() { at_end_commands+=("$(printf '%q ' "$@")"); }
ended() {
    local status=$1 command
    [ "$status" = 0 ] || step_failed "$status"
    for command in "${at_end_commands[@]}"; do eval "$command"; done
}
trap 'ended $?' EXIT

# The Debian packages that bring a command.
package_of() {
    case $1 in
        cc) say gcc libc6-dev ;;
        taskset) say util-linux ;;
        c++) say g++ ;;
        java | keytool) say default-jre-headless ;;
        mvn) say maven ;;
        *) say "$1" ;;
    esac
}

# Runs as root, by sudo where we are not; without a terminal sudo must not ask.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ] && [ -z "${CI:-}" ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# need COMMAND...: makes sure that these commands are there: installs their packages where it
# may, else says exactly what to install, all of it at once.
need() {
    local command missing=() packages
    for command in "$@"; do
        command -v "$command" >/dev/null || missing+=("$command")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    # shellcheck disable=SC2207  # words are package names: no spaces, no globs
    packages=($(for command in "${missing[@]}"; do package_of "$command"; done | tr ' ' '\n' | sort -u))
    install_packages "${missing[*]}" "${packages[@]}"
}

# need_library NAME=PACKAGE...: the same for C libraries, by the name that pkg-config knows them by.
need_library() {
    local pair what missing=() packages=()
    need pkg-config
    for pair in "$@"; do
        pkg-config --exists "${pair%%=*}" && continue
        missing+=("the C library ${pair%%=*}")
        packages+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    what=$(printf '%s, ' "${missing[@]}")
    install_packages "${what%, }" "${packages[@]}"
}

# install_packages FOR PACKAGE...: by apt, as root or by sudo; ends the script where that cannot be.
install_packages() {
    local what=$1
    shift
    if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }; then
        say "installing $* (for: $what)" >&2
        if as_root apt-get update -q >/dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y -q --no-install-recommends "$@" >/dev/null; then
            return 0
        fi
    fi
    fail "missing: $what; install the packages $* (Debian, Ubuntu: sudo apt-get install $*) and run this again"
}

# Rust is installed by the person, once: the version that distributions ship is often too old.
need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$repo_root/Cargo.toml")
    { command -v cargo && command -v rustc; } >/dev/null ||
        fail "missing: Rust $wanted or newer; install it as https://rustup.rs says, and run this again"
    found=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -1)" = "$wanted" ] ||
        fail "Rust $found is too old; Millstream needs $wanted or newer: 'rustup update', and run this again"
    need cc c++ make # jemalloc, zstd and librdkafka are C; librdkafka takes TLS and zlib from the system
    need_library openssl=libssl-dev zlib=zlib1g-dev
}

# Builds the binary that people run and prints where it is.
build_release() {
    need_rust
    (cd "$repo_root" && cargo build --release --locked >&2) ||
        fail "the build failed; the compiler's message is above"
    printf '%s/release/millstream\n' "$(target_dir)"
}

# The real data and the common workload lie in a folder `shared/` in the checkout or beside it;
# MILLSTREAM_SHARED says otherwise. Prints nothing when there is none.
shared_dir() {
    local place
    for place in "${MILLSTREAM_SHARED:-}" "$repo_root/shared" "$repo_root/../shared"; do
        if [ -n "$place" ] && [ -d "$place" ]; then
            (cd "$place" && pwd)
            return 0
        fi
    done
}
