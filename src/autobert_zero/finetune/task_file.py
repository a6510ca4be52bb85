"""The YAML files of users' tasks. Every value is text as it is written, see `read_yaml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ValidationInfo

from autobert_zero.data.tables import is_unicode
from autobert_zero.errors import UserError
from autobert_zero.settings import Section, validated


def as_text(value: Any) -> str:
    """The value, which has to be text.

    Raises:
        ValueError: The value is not text.
    """
    if not isinstance(value, str):
        raise ValueError(f"must be a text, not {type(value).__name__}")
    if not is_unicode(value):
        raise ValueError("has half a character (surrogate)")
    return value


def _text_list(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        initial = str(info.field_name)[0]
        raise ValueError(f"must be a list of texts, for example [{initial}1, {initial}2]")
    return [as_text(item) for item in value]


YamlText = Annotated[str, BeforeValidator(as_text)]
"""The type of a setting that is one text."""

YamlTexts = Annotated[tuple[str, ...], BeforeValidator(_text_list)]
"""The type of a setting that is a list of texts."""

T = TypeVar("T")


def parse_file(
    kind: type[Section], task: type[T], path: Path, content: Mapping[str, Any], **others: Any
) -> T:
    """Makes a task from a user's file.

    Args:
        kind: The settings that the file may have: arguments of the task.
        task: Class of the task.
        path: The file, for messages; its stem is the default name of the task.
        content: Content of the file.
        others: Arguments of the task that the file does not set.

    Raises:
        UserError: It does not describe a task.
    """
    settings = validated(kind, {"name": path.stem, **content}, str(path))
    try:
        return task(**others | {name: getattr(settings, name) for name in settings.model_fields_set})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
