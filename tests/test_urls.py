"""Passwords of database URLs are shown nowhere, however they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

from autobert_zero.urls import hide_password, hide_passwords, hide_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///runs/study.db", "sqlite:///runs/study.db"),
        ("sqlite:////home/me@work/a:b/study.db", "sqlite:////home/me@work/a:b/study.db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql+psycopg2://me:secret@host/db", "postgresql+psycopg2://me:***@host/db"),
        ("postgresql://me:se/cr:et@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se@cr/et@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se?cret@host/db", "postgresql://me:***@host/db"),
        ("mysql://host/db?user=me&passwd=secret", "mysql://host/db?user=***&passwd=***"),
        ("mysql://me@host/db?password=sec@ret", "mysql://me@host/db?password=***"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dsecret", "mssql+pyodbc:///?odbc_connect=***"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("no url", "no url"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert hide_password(url) == shown


TEXTS = st.text("abc/:@?&=%# ;ü", min_size=1, max_size=12)


@given(TEXTS, TEXTS)
def test_urls_that_sqlalchemy_writes(password: str, value: str) -> None:
    """Its own rendering hides the password only."""
    url = URL.create("postgresql", "me", password, "host", 5432, "db", {"sslpassword": value})
    assert hide_password(url.render_as_string(hide_password=False)) == (
        "postgresql://me:***@host:5432/db?sslpassword=***"
    )


@given(st.text("xyz/:@?&% ", min_size=1, max_size=12))
def test_an_unescaped_password(password: str) -> None:
    assert not {"x", "y", "z"} & set(hide_password(f"postgresql://me:{password}@host/db").split("://")[1])


def test_drivers_errors_are_cleaned() -> None:
    url = "postgresql://me:p%2Fss%3Aw@host/db?sslpassword=other+one"
    error = f'cannot connect to "{url}": login with "p/ss:w" failed, key "other one" ("p%2Fss%3Aw")'
    assert hide_secrets(error, url) == (
        'cannot connect to "postgresql://me:***@host/db?sslpassword=***": login with "***" failed, '
        'key "***" ("***")'
    )


@pytest.mark.parametrize("secret", ["a", "im"])
def test_short_secrets_are_no_gaps_in_words(secret: str) -> None:
    """Which letters are missing would tell them."""
    url = f"postgresql://me:{secret}@host/db"
    assert hide_secrets(f"Failed to import it with PWD={secret};", url) == "Failed to import it with PWD=***;"


def test_commands_are_cleaned() -> None:
    assert hide_passwords("--set=storage=mysql://me:secret@host/db") == (
        "--set=storage=mysql://me:***@host/db"
    )
    assert hide_passwords("--seed") == "--seed"
