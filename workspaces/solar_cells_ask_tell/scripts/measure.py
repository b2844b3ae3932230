"""The laboratory: looks up what was measured of a blend. The mean, where it was made more than once."""
import csv
import statistics


def measure(params):
    with open("measured.csv", newline="") as file:
        made = [row for row in csv.DictReader(file) if all(float(row[name]) == params[name] for name in params)]
    if not made:
        raise LookupError(f"nobody has made the blend {params}")
    return {"degradation": statistics.mean(float(row["degradation"]) for row in made)}
