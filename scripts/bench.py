# What: builds the release binary, replays a file, and reads back what it says. Imported by the
#       bench scripts.
# Why:  one way to call `millstream replay`, so that figures can be compared.
# Needs: python3, cargo; taskset where cores are pinned.
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BASE_VIEWS = "customers,orders,volume"
# Those of the main job; every other view rests on them or beside them.
MAIN_VIEWS = "customers,orders,cases,volume,records,orders_by_status,top_customers"
EVERY_VIEW = None


def stop(words):
    print(f"error: {words}", file=sys.stderr)
    sys.exit(1)


def target_dir():
    return os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")


def binary(chosen=None):
    """The binary to measure: this one, or the release build of this checkout."""
    if chosen:
        return os.path.abspath(chosen)
    done = subprocess.run(
        ["bash", "-c", ". scripts/lib.sh && build_release"], cwd=ROOT, stdout=subprocess.PIPE
    )
    if done.returncode != 0:
        sys.exit(1)
    return done.stdout.decode().split("\n")[-2]


def shared_dir():
    """The folder with the real data and the common workload, or None."""
    found = subprocess.run(
        ["bash", "-c", ". scripts/lib.sh && shared_dir"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout.decode().strip()
    return found or None


def pinned(command, cores):
    """The command on these cores only (`0`, `0,1`), the whole process."""
    if cores is None:
        return command
    if shutil.which("taskset") is None:
        stop("taskset is missing; install the package util-linux")
    return ["taskset", "-c", str(cores), *command]


def replay(program, file, *, mapping=None, workers=1, views=None, cores=None, rows_out=None, more=()):
    """One replay, which serves meanwhile; its JSON report. Stops the script when the replay failed."""
    command = [program, "replay", file, "--workers", str(workers), "--json", "--log-level", "warn",
               "--serve", "--listen", "127.0.0.1:0", *more]
    if mapping:
        command += ["--mapping", mapping]
    if views:
        command += ["--views", views]
    if rows_out:
        command += ["--rows-out", rows_out]
    done = subprocess.run(pinned(command, cores), stdout=subprocess.PIPE)
    if done.returncode != 0:
        stop(f"{' '.join(command)} ended with status {done.returncode}")
    return json.loads(done.stdout.decode().strip().split("\n")[-1])


def version(program):
    """As the binary says it, with the commit of the checkout."""
    said = subprocess.run([program, "--version"], stdout=subprocess.PIPE).stdout.decode().strip()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout.decode().strip()
    return " ".join(it for it in [said.split(" ")[-1], commit] if it)


def answer_of(file):
    """What the generator computed beside the file."""
    place = file + ".answer.json"
    if not os.path.exists(place):
        stop(f"{place} is missing: the generator writes it beside the file; without it no digest can be checked")
    with open(place, encoding="utf-8") as it:
        return json.load(it)


def folder():
    """A folder for the rows of one run, removed afterwards."""
    return tempfile.TemporaryDirectory(prefix="millstream-rows-")


def figures(report):
    """The measured part of a replay's report, as the scripts print it."""
    epoch = report.get("epoch_ms") or {}
    measured = {
        "events_per_s": report.get("events_per_s"),
        "cpu_s_per_million": report.get("cpu_s_per_million"),
        "peak_mb": report.get("peak_mb"),
        "epoch_ms_p50": epoch.get("p50"),
        "epoch_ms_p99": epoch.get("p99"),
    }
    return {name: it if it is None else round(it, 2) for name, it in measured.items()}


def differing(found, wanted, names):
    """Tells every view whose rows or digest differ; how many do."""
    wrong = 0
    for name in names:
        if (found[name]["rows"], found[name]["digest"]) != (wanted[name]["rows"], wanted[name]["digest"]):
            wrong += 1
            print(f"error: {name}: expected {wanted[name]['rows']} rows, digest {wanted[name]['digest']}; "
                  f"found {found[name]['rows']} rows, digest {found[name]['digest']}", file=sys.stderr)
    return wrong
