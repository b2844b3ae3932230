"""The laboratory as a robot: the controller of thin_film_lab, which mixes a blend in place of a film.

    python3 lab/robot.py DIRECTORY

DIRECTORY is `operators/robot` of a run. All that the controller promises holds: it can be stopped and started at any time,
and makes no blend twice.
"""
import importlib.util
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parents[1]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    controller = load(HERE.parent / "thin_film_lab" / "lab" / "robot.py")
    measure = load(HERE / "scripts" / "measure.py").measure

    def mix(parameters):
        try:
            return measure(parameters)
        except (LookupError, KeyError) as error:
            raise controller.Refused(str(error)) from error

    controller.deposit = mix
    directory = os.path.abspath(sys.argv[1]) if sys.argv[1:] and not sys.argv[1].startswith("-") else None
    sys.argv[1:2] = [directory] if directory else sys.argv[1:2]
    os.chdir(HERE / "data")
    return controller.main()


if __name__ == "__main__":
    sys.exit(main())
