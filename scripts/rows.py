# What: rows of views as lines of text, and their digest. Imported by the scripts that compare
#       what the engine kept with what was computed without it.
# Why:  one definition of "the same rows" for the common workload, the rich one and the real data.
# Needs: python3.
"""A digest is the first 16 hex digits of the SHA-256 of the rows' lines, sorted bytewise, joined
by newlines. A line is the row's fields, comma-separated: null is empty, a money field is
`EUR:1200;USD:5` in the order of the currencies, a list is its values joined by `;`."""
import hashlib
import json
import os


def digest(lines):
    """Rows and digest of these lines (text)."""
    lines = sorted(line.encode() for line in lines)
    hashed = hashlib.sha256()
    for at, line in enumerate(lines):
        if at:
            hashed.update(b"\n")
        hashed.update(line)
    return {"rows": len(lines), "digest": hashed.hexdigest()[:16]}


def text(value):
    """One field as text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ";".join(f"{name}:{text(value[name])}" for name in sorted(value))
    if isinstance(value, list):
        return ";".join(text(it) for it in value)
    return str(value)


def line(row, fields):
    """These fields of one row, comma-separated. A field that the row lacks is a mistake."""
    return ",".join(text(row[field]) for field in fields)


def read(folder, view):
    """The rows that `millstream replay --rows-out FOLDER` wrote for a view, one after the other."""
    with open(os.path.join(folder, f"{view}.jsonl"), encoding="utf-8") as file:
        for record in file:
            yield json.loads(record)
