"""YAML without its surprises.

A key is text and is given once, only `true` and `false` are booleans (YAML 1.2; `no` and `on` are words),
and `2024-01-31` and `1:30` are text.
"""

from typing import Any

import yaml

_DEEPEST = 50
"""Levels of nesting; the parser is recursive, and no file of ours has more than five."""

_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"


class YamlError(ValueError):
    """Text that is not YAML, or that holds what we refuse; the message names the line."""


def parse_yaml(text: str, *, words: bool = False) -> Any:
    """Parses one document.

    Args:
        text: The document.
        words: Take every scalar as the text that is written, so that `no`, `01` and `1.0` stay as they are.

    Raises:
        YamlError: It is not YAML, repeats a key, is nested too deeply, or contains itself.
    """
    try:
        loader = (_WordLoader if words else _Loader)(text)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise YamlError(f"{place}{error.problem or error.context}") from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise YamlError(" ".join(str(error).split())) from None
    except ValueError as error:  # an integer of thousands of digits
        raise YamlError(str(error)) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, stricter."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._open: list[str | None] = []

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)
        surprising = (
            tag in (f"{_TAG}timestamp", f"{_TAG}value")
            or (tag == f"{_TAG}bool" and value.lower() not in ("true", "false"))
            or (tag in (f"{_TAG}int", f"{_TAG}float") and ":" in value)  # numbers to the base of 60
        )
        return _TEXT if kind is yaml.ScalarNode and implicit[0] and surprising else tag

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if self._depth == _DEEPEST:
            raise _refused(f"nested more than {_DEEPEST} levels deep", event)
        if isinstance(event, yaml.AliasEvent) and event.anchor in self._open:
            raise _refused(f"*{event.anchor} is a part of itself", event)
        self._depth += 1
        self._open.append(getattr(event, "anchor", None))
        node = super().compose_node(parent, index)
        self._open.pop()
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key is not text", key)
            if key.value in seen:
                raise _refused(f"the key {key.value!r} is given twice", key)
            seen.add(key.value)
            if key.tag != f"{_TAG}merge":
                key.tag = _TEXT
        return node


class _WordLoader(_Loader):
    """Every scalar is text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0]:
            return _TEXT
        return super().resolve(kind, value, implicit)


def _refused(problem: str, where: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)
