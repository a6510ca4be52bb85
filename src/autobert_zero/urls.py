"""Database URLs as they may be shown: without passwords."""

import re
from urllib.parse import unquote, unquote_plus

_HIDDEN = "***"
_NAME = re.compile(r"[\w.-]+")
_URL = re.compile(r"[A-Za-z][\w+.-]*://\S+")
_SHORT = 4
"""Secrets of fewer characters are hidden as whole words only: `F***iled` would tell the password `a`."""


def hide_password(url: str) -> str:
    """The URL with `***` in place of its password and of the values of its query.

    Drivers take passwords in the query too, under names of their own (`password`, `passwd`, `odbc_connect`),
    so all values are hidden. Passwords need not be escaped, as SQLAlchemy tolerates it: they may hold `/`,
    `:`, `?` and `@`.
    """
    scheme, login, rest, names = _split_url(url)
    if login is not None:
        user, colon, _ = login.partition(":")
        rest = f"{user}:{_HIDDEN}@{rest}" if colon else f"{user}@{rest}"
    query = "&".join(f"{name}={_HIDDEN}" for name, _ in names)
    return f"{scheme}{rest}" + (f"?{query}" if names else "")


def hide_passwords(text: str) -> str:
    """The text with `hide_password` applied to each URL in it."""
    return _URL.sub(lambda match: hide_password(match[0]), text)


def hide_secrets(text: str, url: str) -> str:
    """A text about a URL, such as a driver's error, without its passwords in any spelling."""
    text = text.replace(url, hide_password(url))
    for secret in sorted(secrets_of(url), key=len, reverse=True):
        whole = (r"(?<!\w)", r"(?!\w)") if len(secret) < _SHORT else ("", "")
        text = re.sub(re.escape(secret).join(whole), _HIDDEN, text)
    return text


def secrets_of(url: str) -> set[str]:
    """The password of a URL and the values of its query, as written and unescaped."""
    _, login, _, names = _split_url(url)
    secrets = {value for _, value in names}
    if login is not None:
        secrets.add(login.partition(":")[2])
    return {text for secret in secrets for text in (secret, unquote(secret), unquote_plus(secret)) if text}


def _split_url(url: str) -> tuple[str, str | None, str, list[tuple[str, str]]]:
    """Scheme with `://`, login (None without one), host and path, and the query's names and values."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "", None, url, []
    # A file has no login, and an `@` in its name is part of the name.
    has_login = "@" in rest and not rest.startswith("/")
    start = rest.find("@") + 1 if has_login else 0
    place, question, query = rest[start:].partition("?")
    names = [(name, value) for name, _, value in (part.partition("=") for part in query.split("&"))]
    if not question:
        names = []
    elif has_login and not all(_NAME.fullmatch(name) for name, _ in names):
        place, names = rest[start:], []  # the question mark is in an unescaped password
    if not has_login:
        return scheme + separator, None, place, names
    login, _, place = (rest[:start] + place).rpartition("@")
    return scheme + separator, login, place, names
