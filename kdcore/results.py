"""Rows: a measurement of a spec, as scalars with their provenance.

collect(measurement, specs, **arguments) looks for each row among the committed results, then in the run store, and trains
and measures only what is in neither. Its key names the measurement, its version, the spec and the arguments.
"""

import hashlib
import json
import os
import time
import warnings
from functools import lru_cache, partial
from pathlib import Path
from typing import Callable

import pandas as pd

from kdcore import store
from kdcore.spec import Plain, Spec
from kdcore.sweep import sweep


def committed_folder() -> Path | None:
    """KDCORE_RESULTS, or book/results of the checkout; None where that is empty or absent."""
    setting = os.environ.get("KDCORE_RESULTS")
    path = Path(setting) if setting else Path(__file__).parents[1] / "book" / "results"
    return path if setting != "" and path.is_dir() else None


def row_key(measurement: Callable, spec: Spec, arguments: dict) -> str:
    """SHA-256 of the measurement's name and version, the spec's hash and the arguments: a row's name among results and in the store."""
    plain = {k: v.model_dump(mode="json", exclude_defaults=True) if isinstance(v, Plain) else v for k, v in arguments.items()}
    text = json.dumps([measurement.__name__, measurement.version, spec.hash, plain], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def line_digest(row: dict) -> str:
    """SHA-256 of a row without its own checksum, as it is written beside it."""
    return hashlib.sha256(json.dumps({k: v for k, v in row.items() if k != "sha256"}, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=8)
def read_committed(path: Path, changed: float) -> dict[str, dict]:
    """{key: row} of a file of rows; a damaged line is left out with a warning. `changed`, the file's time, makes the cache notice a new version."""
    rows = {}
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(text)
            intact = row["sha256"] == line_digest(row)
        except (ValueError, KeyError):
            intact = False
        if intact:
            rows[row["key"]] = row
        else:
            warnings.warn(f"{path.name}, line {number} is damaged and left out; the row will be measured again", stacklevel=2)
    return rows


def committed(measurement: Callable) -> dict[str, dict]:
    """{key: row} of a measurement's committed rows, empty where there are none."""
    folder = committed_folder()
    path = folder / f"{measurement.__name__}.jsonl" if folder else None
    return read_committed(path, path.stat().st_mtime) if path and path.exists() else {}


def measured(measurement: Callable, arguments: dict, spec: Spec) -> dict:
    """The row of one spec from the store, measured now where there is none. Runs in a worker."""
    from kdcore.train import train

    key = row_key(measurement, spec, arguments)

    def make():
        begin = time.monotonic()
        values = measurement(spec, **arguments)
        trained = {k: v for k, v in train(spec).meta.items() if k != "spec"}
        seconds = round(trained["seconds"] + time.monotonic() - begin, 1)
        values = {k: None if v != v else v for k, v in values.items()}  # JSON has no NaN
        return {}, {"key": key, "spec": spec.hash, "values": values, "provenance": {**trained, "seconds": seconds}}

    return store.once("rows", key, make).meta


def collect(measurement: Callable, specs, executor=None, progress: bool = True, **arguments) -> pd.DataFrame:
    """One row per spec, in the order given: the measurement's scalars, `spec` (hash) and `provenance` (dict).

    A measurement that looks at further runs names them in an attribute `needs`, spec -> specs: they are trained first, side by side.
    With KDCORE_PUBLISH set to a folder, the rows are also written there, to <measurement>.jsonl.
    """
    specs = list(specs)
    known = committed(measurement)
    keys = {s: row_key(measurement, s, arguments) for s in specs}
    rows = {s: known[keys[s]] for s in specs if keys[s] in known}
    rest = list(dict.fromkeys(s for s in specs if s not in rows))
    for spec in list(rest):
        if (entry := store.get("rows", keys[spec])) is not None:
            rows[spec] = entry.meta
            rest.remove(spec)
    if rest:
        if needed := [other for spec in rest for other in getattr(measurement, "needs", lambda _: ())(spec)]:
            sweep(needed, executor, progress=progress)
        rows |= zip(rest, sweep(rest, executor, partial(measured, measurement, arguments), progress))
    if os.environ.get("KDCORE_PUBLISH"):
        publish(measurement, [rows[s] for s in specs])
    return pd.DataFrame([{**rows[s]["values"], "spec": s.hash, "provenance": rows[s]["provenance"]} for s in specs])


def stored(measurement: Callable, specs, **arguments) -> pd.DataFrame | None:
    """What `collect` would give, of committed rows alone: nothing is trained or measured. None unless every row is there."""
    specs, known = list(specs), committed(measurement)
    keys = [row_key(measurement, s, arguments) for s in specs]
    if not all(key in known for key in keys):
        return None
    return pd.DataFrame([{**known[k]["values"], "spec": s.hash, "provenance": known[k]["provenance"]} for s, k in zip(specs, keys)])


def publish(measurement: Callable, rows: list[dict]) -> Path:
    """Adds rows to KDCORE_PUBLISH/<measurement>.jsonl, one JSON object a line with its own checksum; a row of the same key is replaced."""
    path = Path(os.environ["KDCORE_PUBLISH"]) / f"{measurement.__name__}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    old = read_committed(path, path.stat().st_mtime) if path.exists() else {}
    lines = [json.dumps({**row, "sha256": line_digest(row)}, sort_keys=True) for row in (old | {r["key"]: r for r in rows}).values()]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("\n".join(lines) + "\n")
    os.replace(temporary, path)
    return path
