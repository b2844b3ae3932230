"""Ranks the candidates by the energy they delivered: reads every result, writes ranking.json and ranking.csv.

Exit codes: 0 both files were written, 2 a result is missing or wrong.
"""

import argparse
import csv
import io
import pathlib
import sys

import document

COLUMNS = ("rank", "candidate", "energy_wh_kg", "capacity_mah_g", "mean_voltage_v", "voltage_efficiency")


def measured(path):
    """Returns what one result says."""
    try:
        given = document.read(path)
        entry = {key: document.number(given, key, 0, 1e6) for key in COLUMNS[2:]}
        entry["candidate"] = document.text(given, "candidate")
    except document.BadInput as error:
        raise document.BadInput(f"`{path}`: {error}") from None
    return entry


def ranking(directory):
    """Returns the ranked results of a directory, the most energy first, equals by name."""
    results = sorted(pathlib.Path(directory).glob("*.json"))
    if not results:
        raise document.BadInput(f"`{directory}` holds no result")
    entries = sorted((measured(path) for path in results), key=lambda e: (-e["energy_wh_kg"], e["candidate"]))
    return [{"rank": place, **entry} for place, entry in enumerate(entries, 1)]


def as_csv(entries):
    """The ranking as a table."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return table.getvalue()


def main():
    """Reads, ranks, writes. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", help="a directory of result documents")
    parser.add_argument("--failed", required=True, help="JSON with the candidates that have no result, by name")
    arguments = parser.parse_args()
    try:
        entries = ranking(arguments.results)
        failed = document.read(arguments.failed)
    except document.BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    document.write("ranking.json", {"ranking": entries, "failed": failed})
    document.write_text("ranking.csv", as_csv(entries))
    return 0


if __name__ == "__main__":
    sys.exit(main())
