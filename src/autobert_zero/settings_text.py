"""Configs as text for people: YAML with a comment for each setting, and lists of settings."""

import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from autobert_zero.settings import RunConfig, Section

_WIDTH = 100
"""Characters in a line of comments, and of lists that are written in one line."""


def commented_yaml(config: RunConfig) -> str:
    """The config as a YAML file that `resolve` reads, with a comment above each setting."""
    return "\n".join(_lines(config, "")) + "\n"


def list_settings(config: RunConfig) -> str:
    """Lists the settings, one per line: its name as `--set` takes it, its value, and its meaning.

    Settings of a section that is off are commented out.
    """
    rows = list(_listed_settings(config, ""))
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}  # {about}" for name, value, about in rows)


def _lines(section: Section, indent: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        about = _about(field)
        if isinstance(value, Section):
            about = about or _first_line(value)
        yield from textwrap.wrap(about, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(value, Section):
            yield f"{indent}{name}:"
            yield from _lines(value, f"{indent}  ")
        else:
            yield textwrap.indent(_yaml_setting(name, _plain_value(section, name)), indent)


def _listed_settings(section: Section, prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _listed_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _flow(_plain_value(section, name)), _about(field)
            kind = next((type_ for type_ in get_args(field.annotation) if _is_section(type_)), None)
            if value is None and kind is not None:
                for inner, inner_field in kind.model_fields.items():
                    default = "" if inner_field.is_required() else _flow(inner_field.default)
                    yield f"# {prefix}{name}.{inner}", default, _about(inner_field)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _about(field: FieldInfo) -> str:
    """The meaning of a setting, and its allowed values."""
    allowed = [str(choice) for choice in _choices(field.annotation)]
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    allowed += [
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for name, sign in signs.items()
        if hasattr(bound, name)
    ]
    about = " ".join((field.description or "").replace("None:", "null:").split())
    return f"{about} [{', '.join(allowed)}]".lstrip() if allowed else about


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for argument in get_args(annotation) if (found := _choices(argument))), ())


def _first_line(section: Section) -> str:
    return (type(section).__doc__ or "").splitlines()[0]


def _plain_value(section: Section, name: str) -> Any:
    return section.model_dump(mode="json", include={name})[name]


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _yaml_setting(name: str, value: Any) -> str:
    """A setting as YAML, in one line where it fits."""
    line = f"{name}: {_flow(value)}"
    if len(line) <= _WIDTH or not isinstance(value, list):
        return line
    return "\n".join([f"{name}:", *(f"- {_flow(item)}" for item in value)])
