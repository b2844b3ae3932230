"""Calls a function of a file: the JSON document INPUT goes in as a dict, what it returns comes out as OUTPUT.

python _call.py FILE FUNCTION INPUT OUTPUT [NAME]: a plain number is returned as the value of NAME.
"""
import importlib.util
import json
import os
import sys

ANSWER_KEYS = ("trials", "abandon", "stop")


def plain(value):
    """Numbers and arrays of other libraries as JSON has them."""
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def load(path):
    sys.path.insert(0, os.getcwd())
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def write(value, output):
    if output == "trials.json" and isinstance(value, dict) and not any(key in value for key in ANSWER_KEYS):
        output = "decision.json"
    text = json.dumps(value, default=plain)
    with open(output + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(output + ".part", output)


def main(path, function, source, output, name=None):
    with open(source, encoding="utf-8") as file:
        document = json.load(file)
    value = getattr(load(path), function)(document)
    if name is not None and not isinstance(value, dict):
        value = {name: value}
    write(value, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
