"""The settings in which two searches differ, for messages."""

from collections.abc import Mapping
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.search.config import SearchConfig
from autobert_zero.settings import saved_config
from autobert_zero.urls import hide_passwords


def other_settings(own: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """Names of the settings in which a study's identity differs from a search's."""
    own, identity = dict(own), dict(identity)
    known, text = own.pop("text", None), identity.pop("text", None)
    try:
        completed = saved_config(SearchConfig, own).absolute().model_dump(mode="json")
        own = {key: completed[key] for key in identity}  # with the settings that are newer than the study
    except UserError:
        pass  # it has settings that no longer exist, which differ
    names = settings_that_differ(own, identity)
    if known is not None and text is not None:
        # The text itself says more than the path that it had.
        names = [name for name in names if name.split()[0] != "data.corpus"] + ["text"] * (known != text)
    return names


def _shown_value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown_value, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else hide_passwords(str(value))


def settings_that_differ(one: Mapping[str, Any], other: Mapping[str, Any], place: str = "") -> list[str]:
    """The settings that differ, as `section.name (VALUE there, VALUE here)`."""
    names = []
    for key in one.keys() | other.keys():
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            names += settings_that_differ(mine, theirs, f"{place}{key}.")
        elif mine != theirs:
            names.append(f"{place}{key} ({_shown_value(mine)} there, {_shown_value(theirs)} here)")
    return sorted(names)
