"""Fetches what was measured: python3 get_data.py

The table is photo-degradation of 1040 polymer blends for organic solar cells (S. Langner, F. Häse et al., Advanced
Materials 2020, 1907801). It comes in the package `olymp` from PyPI (MIT licence), of which nothing is installed. Writes
data/measured.csv, which only the laboratory reads, and data/blends.csv, the blends without what was measured of them.
"""
import csv
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE, TABLE = "olymp==0.0.1b0", "olympus/datasets/dataset_photo_pce10/data.csv"
MATERIALS = ["pce10", "p3ht", "pcbm", "oidtbr"]


def table():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(command, check=True)
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        text = zipfile.ZipFile(wheel).read(TABLE).decode()
    return [[float(cell) for cell in row] for row in csv.reader(io.StringIO(text)) if row]


def write(name, heading, rows):
    with open(pathlib.Path(__file__).parent / "data" / name, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([heading, *rows])


def main():
    rows = table()
    (pathlib.Path(__file__).parent / "data").mkdir(exist_ok=True)
    write("measured.csv", [*MATERIALS, "degradation"], rows)
    blends = sorted({tuple(row[: len(MATERIALS)]) for row in rows})
    write("blends.csv", MATERIALS, blends)
    print(f"{len(rows)} measurements of {len(blends)} blends")


if __name__ == "__main__":
    main()
