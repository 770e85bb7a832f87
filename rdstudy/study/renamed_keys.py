"""Keys of the study file that had another name before version 0.1.0, or were not there.

A study file with an old key gets a message that names the new one; a results folder's record of its study is read as it
is, with the keys translated, and with what was done before there was a key.
"""

from __future__ import annotations

from typing import Any

RENAMED = {
    "evaluation": {"information": "mutual_information", "likelihood": "nll", "sheet_examples": "num_images"},
    "resources": {"keep_models": "save_models", "max_failures": "max_retries"},
    "search": {"of": "metric", "per": "group_by", "over": "space", "until": "stop_when", "stop": "pruner"},
}
"""New name by section and old name."""
ADDED = {"evaluation": {"nll": {"proposal": "encoder"}}}
"""What versions did that had no such setting, where it is another than today's default."""
_SAMPLERS = {"design": "variance_reduction"}

Record = dict[str, Any]
"""A study, or a section of one, as JSON has it."""


def translate(record: Record) -> Record:
    """A recorded study with today's keys; what has no old key is unchanged."""
    record = dict(record)
    for section, renamed in RENAMED.items():
        if isinstance(record.get(section), dict):
            record[section] = {renamed.get(key, key): value for key, value in record[section].items()}
    for section, settings in ADDED.items():
        for name, before in settings.items():
            if isinstance(record.get(section), dict) and isinstance(record[section].get(name), dict):
                record[section][name] = before | record[section][name]
    search = record.get("search")
    if isinstance(search, dict) and search.get("sampler") in _SAMPLERS:
        search["sampler"] = _SAMPLERS[search["sampler"]]
    return record


def with_old_keys(search: Record) -> Record:
    """A search section with the keys and sampler that it had before; the inverse of `translate`."""
    old_keys = {new: old for old, new in RENAMED["search"].items()}
    old_samplers = {new: old for old, new in _SAMPLERS.items()}
    record = {old_keys.get(key, key): value for key, value in search.items()}
    return record | {"sampler": old_samplers.get(record["sampler"], record["sampler"])}
