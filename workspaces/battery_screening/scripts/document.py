"""JSON documents in and out, with errors that say which file and which key.

Standard library only.
"""

import json
import math
import os


class BadInput(Exception):
    """A document cannot be used; the message says which one and why."""


def read(path):
    """Returns the object in a JSON file."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise BadInput(f"`{path}` cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"`{path}` is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadInput(f"`{path}` must hold an object")
    return document


def part(document, key):
    """Returns the object under a key."""
    value = document.get(key)
    if not isinstance(value, dict):
        raise BadInput(f"`{key}` must be an object, not {json.dumps(value)}")
    return value


def text(document, key):
    """Returns the text under a key."""
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise BadInput(f"`{key}` must be a text that is not empty, not {json.dumps(value)}")
    return value


def number(document, key, least, most):
    """Returns the number under a key, which must lie in a range."""
    value = document.get(key)
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not least <= value <= most:
        raise BadInput(f"`{key}` must be a number from {least:g} to {most:g}, not {json.dumps(value)}")
    return float(value)


def write_text(path, content):
    """Writes a file aside and renames it into place, so that nobody sees half of it."""
    aside = f"{path}.part"
    with open(aside, "w", encoding="utf-8") as file:
        file.write(content)
    os.replace(aside, path)


def write(path, document):
    """Writes a JSON file, with sorted keys."""
    write_text(path, json.dumps(document, indent=2, sort_keys=True) + "\n")
