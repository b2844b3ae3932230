#!/usr/bin/env python3
"""A robot controller for the thin-film laboratory: deposits a film as it is asked and measures it.

    python3 lab/robot.py DIRECTORY

It watches every folder of DIRECTORY for `experiment_request.json`, and answers with `experiment_result.json` beside it,
written under another name and renamed, with the request's token. DIRECTORY is `operators/robot` of a run, or the
exchange directory that the operator is granted. `cancel.json` beside a request is answered too.

It can be stopped and started at any time, and makes no film twice: `experiment_started` is written first, and a request that
has it but no answer was cut short, which is answered with `failed`; a person decides whether to make another.

There is no chamber behind it: the film's thickness comes from a hidden truth (TRUE_STICKING, TRUE_SCATTERING) and a
relative error of the gauge that depends on the recipe alone, so that a film made again measures the same. Standard library only.
"""

import argparse
import hashlib
import json
import math
import os
import pathlib
import signal
import statistics
import sys
import threading
import time

TRUE_STICKING, TRUE_SCATTERING = 0.62, 1.8
DISTANCE_M, FLUX_NM_S_W = 0.10, 0.004
GAUGE_ERROR = 0.008
POWER_MAX_W = 300
REQUEST_MAX_BYTES = 1 << 20


class Refused(Exception):
    """The request cannot be carried out; the message says why."""


def setting(parameters, key):
    """Returns a positive number of the request."""
    value = parameters.get(key)
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value <= 0:
        raise Refused(f"`{key}` must be a positive number, not {json.dumps(value)}")
    return float(value)


def gauge_noise(recipe):
    """A number from the standard normal distribution that depends on nothing but the recipe."""
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).digest()
    return statistics.NormalDist().inv_cdf((int.from_bytes(digest[:6], "big") + 0.5) / 2**48)


def deposit(parameters):
    """Makes a film and returns what the gauge says."""
    recipe = {key: setting(parameters, key) for key in ("power_w", "pressure_pa", "time_s")}
    if recipe["power_w"] > POWER_MAX_W:
        raise Refused(f"the supply gives {POWER_MAX_W} W at most, not {recipe['power_w']:g} W")
    ideal = FLUX_NM_S_W * recipe["power_w"] * recipe["time_s"]
    thickness = TRUE_STICKING * ideal * math.exp(-TRUE_SCATTERING * recipe["pressure_pa"] * DISTANCE_M)
    thickness *= 1 + GAUGE_ERROR * gauge_noise(recipe)
    return {"recipe": recipe, "thickness_nm": round(thickness, 4)}


def write(path, document):
    """Writes a file that nobody sees half of."""
    aside = path.with_name(f".{path.name}.part")
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def read(path):
    """Returns the request, or nothing if there is none that can be read (yet)."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > REQUEST_MAX_BYTES:
            return None
        request = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return request if isinstance(request, dict) else None


def answer(folder, request, seconds):
    """Carries one request out and answers it. The measurement is there before the answer that names it."""
    head = {"attempt": request.get("attempt"), "token": request.get("token")}
    if (folder / "cancel.json").exists():
        write(folder / "experiment_result.json", {**head, "status": "cancelled"})
        return "cancelled"
    try:
        parameters = request.get("parameters")
        if not isinstance(parameters, dict):
            raise Refused("the request has no `parameters`")
        if (folder / "experiment_started").exists():
            raise Refused("the robot was stopped while it made this film")
        measurement = deposit(parameters)
        write(folder / "experiment_started", head)
        time.sleep(seconds)
    except Refused as error:
        write(folder / "experiment_result.json", {**head, "status": "failed", "error": str(error)})
        return f"refused: {error}"
    write(folder / "measurement.json", measurement)
    result = {**head, "status": "completed", "data": measurement, "files": ["measurement.json"]}
    write(folder / "experiment_result.json", result)
    return json.dumps(measurement)


def look(directory, seconds):
    """Answers every open request below a directory."""
    for path in sorted(directory.glob("*/experiment_request.json")):
        folder = path.parent
        if folder.name.startswith(".") or (folder / "experiment_result.json").exists():
            continue
        request = read(path)
        if request is None:
            continue
        try:
            print(f"{request.get('task')}: {answer(folder, request, seconds)}", flush=True)
        except OSError as error:
            print(f"error: {folder.name}: {error}; tried again later", file=sys.stderr, flush=True)


def main():
    """Watches until it is told to stop. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path, help="operators/robot of a run, or the exchange directory")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two looks (default: 0.5)")
    parser.add_argument("--seconds", type=float, default=0.2, help="what a film takes (default: 0.2)")
    parser.add_argument("--once", action="store_true", help="look once and end")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # the folder of a run comes with its first experiment, so that it may be missing now
    while not stop.is_set():
        look(arguments.directory, max(arguments.seconds, 0))
        if arguments.once:
            break
        stop.wait(max(arguments.every, 0.01))
    return 0


if __name__ == "__main__":
    sys.exit(main())
