"""The machinery of settings: sections, layers of changes over a config, YAML files and `--set`.

Unknown keys are errors. The configs are in `search.config`, `pretrain.config` and `finetune.config`.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from autobert_zero.bounds import LARGEST_SIZE
from autobert_zero.errors import UserError
from autobert_zero.sources import EMBEDDED, absolute, in_home
from autobert_zero.strict_yaml import parse_yaml


class ConfigError(UserError):
    """A config that cannot be used, in one line."""


class Section(BaseModel):
    """A group of settings, frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuses `true` for a number, which pydantic takes for 1."""
        field = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {field, *get_args(field)}:
            raise ValueError(f"input should be a number, not {str(value).lower()}")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_number_beyond_all_sizes(cls, value: Any) -> Any:
        """Refuses whole numbers that no library takes as a size."""
        if isinstance(value, int) and value > LARGEST_SIZE:
            raise ValueError(f"input should be less than or equal to {LARGEST_SIZE}")
        return value


def _source(source: str, info: ValidationInfo) -> str:
    return absolute(source) if info.context and source != EMBEDDED else in_home(source)


Source = Annotated[str, AfterValidator(_source)]
"""A path, in which `~` is expanded, or a name on the Hub; see `RunConfig.absolute`."""


_ABSOLUTE = {"paths": "absolute"}
"""Context of a validation that makes paths absolute."""

COMPUTING = "computing"
"""Marks settings of how a run is computed and reported, which have no effect on what it measures."""


class RunConfig(Section):
    """The config of a run, which determines its result."""

    deterministic: Annotated[bool, COMPUTING] = False
    """Use only kernels that give the same bits in every run, so that a run on a GPU repeats and resumes
    exactly on the same kind of card (the cost is not measured). On a CPU every run does."""

    LEGACY_DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    """Values of newer settings for runs that were started without them."""
    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Sections that had another name in earlier versions: the earlier name to today's."""

    def to_yaml(self) -> str:
        """The config as a YAML file that `resolve` reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def absolute(self) -> Self:
        """The config with all paths that exist made absolute, so that it holds in any working directory."""
        return type(self).model_validate(self.model_dump(mode="json"), context=_ABSOLUTE)


C = TypeVar("C", bound=RunConfig)
S = TypeVar("S", bound=Section)


def resolve(base: C, *changes: Mapping[str, Any]) -> C:
    """Lays changes over a config, later ones over earlier ones.

    Args:
        base: For example a preset.
        changes: Nested dictionaries of the keys to set.

    Raises:
        ConfigError: A key is unknown, or a value is of the wrong type or out of bounds.
    """
    return _layered(type(base), base.model_dump(mode="json"), *changes)


def saved_config(kind: type[C], settings: Mapping[str, Any]) -> C:
    """The config of a run from the settings that it saved.

    Args:
        kind: Kind of config.
        settings: All of them; those that the version which saved them did not have may be missing.

    Raises:
        ConfigError: The settings cannot be used, see `resolve`.
    """
    return _layered(kind, kind.LEGACY_DEFAULTS, settings)


def _layered(kind: type[C], *layers: Mapping[str, Any]) -> C:
    return validated(kind, merged(kind, *layers), "config")


def merged(kind: type[RunConfig], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings of a kind of config, later layers laid over earlier ones, sections by today's names."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in deepcopy(layer).items():
            _lay_over(result, {kind.RENAMED.get(name, name): value})
    return result


def validated(kind: type[S], settings: Mapping[str, Any], source: str) -> S:
    """Checks settings, and fills in the defaults of the others.

    Args:
        kind: Kind of section.
        settings: Nested by section.
        source: Name or origin of the settings, for messages.

    Raises:
        ConfigError: A key is unknown, or a value is of the wrong type or out of bounds.
    """
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_one_line(error, kind)}") from None


def read_yaml(path: Path, kind: str = "config", *, words: bool = False) -> dict[str, Any]:
    """Reads a YAML file of settings.

    Args:
        path: The file.
        kind: Kind of file, for messages.
        words: Take every value as the text that is written, see `parse_yaml`.

    Raises:
        ConfigError: It is missing, not YAML, not a mapping, or has a key twice.
    """
    try:
        content = parse_yaml(path.read_bytes().decode("utf-8-sig"), words=words)
    except OSError as error:
        raise ConfigError(f"{kind} {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{kind} {path} is not YAML: line {line}: not UTF-8 text") from None
    except ValueError as error:  # not YAML, or a path with NUL
        raise ConfigError(f"{kind} {path} is not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{kind} {path} is not a mapping of settings")
    return content


def parse_setting(text: str) -> dict[str, Any]:
    """Reads `model.width=128` into a nested dictionary.

    Raises:
        ConfigError: There is no `=`, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"write a setting as key=value, for example model.width=128, not {text!r}")
    try:
        setting: Any = parse_yaml(value)
    except ValueError:
        raise ConfigError(f"the value of {key} is not valid: {value!r}") from None
    for part in reversed(parts):
        setting = {part: setting}
    return dict(setting)


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay_over(below[key], value)
        else:
            below[key] = value


def _one_line(error: ValidationError, kind: type[BaseModel]) -> str:
    """All problems of a config in one line, without those that follow from another problem."""
    problems = error.errors()
    paths = [problem["loc"] for problem in problems]
    parts = []
    for problem in problems:
        loc = problem["loc"]
        key = ".".join(map(str, loc))
        if problem["type"] == "extra_forbidden":
            parts.append(f"unknown key {key}{_suggestion(key, kind)}")
        elif problem["type"] == "missing":
            parts.append(f"{key} is missing")
        elif not any(len(other) > len(loc) and other[: len(loc)] == loc for other in paths):
            message = problem["msg"].removeprefix("Value error, ")
            message = f"{message[0].lower()}{message[1:]}"
            for pattern, words in _WORDS.items():
                message = re.sub(pattern, words, message)
            colon = "" if message.startswith("must ") or not key else ":"
            parts.append(f"{key}{colon} {message}".lstrip())
    return "; ".join(parts)


_WORDS = {r"\btuple\b": "list", r" or instance of \w+$": " of settings", r" after validation": ""}
"""Patterns of words in pydantic's messages, and the words of config files that replace them."""

_FEW = 10
"""Maximum number of settings that the message about an unknown one lists."""


def _suggestion(key: str, kind: type[BaseModel]) -> str:
    """A hint at the setting that an unknown key may mean: one of a similar name, or in another section."""
    # Positions in lists are in the key, and not in the names of settings.
    key = ".".join(part for part in key.split(".") if not part.isdigit())
    names = list(_fields(kind))
    if key in names:  # as --set writes it
        return f"; write it as {key.replace('.', ': {')}: ...{'}' * key.count('.')}"
    leaves = [name.rpartition(".")[2] for name in names]
    leaf = key.rpartition(".")[2]
    alike = [leaf] if leaf in leaves else get_close_matches(key, names, n=1, cutoff=0.75)
    alike = alike or get_close_matches(leaf, leaves, n=1, cutoff=0.75)
    close = [name for name, last in zip(names, leaves, strict=True) if alike and alike[0] in (name, last)]
    known = "" if len(leaves) > _FEW else f"; there are {', '.join(sorted(names))}"
    return f"{known} (did you mean {' or '.join(close)}?)" if close else known


def computing_settings(kind: type[BaseModel]) -> set[str]:
    """The dotted names of the settings that only affect how a run is computed, see `COMPUTING`."""
    return {name for name, field in _fields(kind).items() if COMPUTING in field.metadata}


def _fields(kind: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """All settings, sections and what is in them, by their names with dots between."""
    fields = {}
    for name, field in kind.model_fields.items():
        fields[f"{prefix}{name}"] = field
        for type_ in (field.annotation, *get_args(field.annotation)):
            if isinstance(type_, type) and issubclass(type_, BaseModel):
                fields |= _fields(type_, f"{prefix}{name}.")
    return fields
