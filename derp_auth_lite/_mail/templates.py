"""Finds and renders the templates of mails: ours, each replaceable by a file of the same name.

A mail called ``welcome`` is ``welcome.html``, and beside it, if there is one, ``welcome.txt`` and
``welcome.subject.txt``. Its HTML is the inside of ``base.html``, which receives it as ``content``;
HTML that begins with a doctype or ``<html>`` is a whole page and stays alone. Templates are code:
they come from the installation and from ``templates_dir``, never from users.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..exceptions import ConfigError
from .message import Content
from .text import wrapped

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["TemplateSet"]

_PACKAGE = "derp_auth_lite.templates"
_WHOLE_PAGE = re.compile(r"\s*(?:<!--.*?-->\s*)*<(?:!doctype|html)\b", re.IGNORECASE | re.DOTALL)


class TemplateSet:
    """Our templates, and those of a folder in their stead.

    Args:
        folder: Holds files that replace ours one by one, and mails of its own.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        if self._folder is not None and not self._folder.is_dir():
            raise ConfigError(f"EmailConfig.templates_dir is not a folder: {self._folder}")

    @property
    def mails(self) -> list[str]:
        """The names of all mails that can be rendered, sorted."""
        names = {name.removesuffix(".html") for name in self._files() if name.endswith(".html")}
        return sorted(name for name in names if name != "base" and not name.startswith("_"))

    def render(
        self,
        mail: str,
        variables: Mapping[str, Any],
        *,
        subject: str | None = None,
        fallback_text: str | None = None,
    ) -> Content:
        """Render the mail called *mail*.

        Args:
            mail: One of :attr:`mails`.
            variables: What the templates may use; an undefined one is an error.
            subject: Replaces the mail's own subject.
            fallback_text: The text part of a mail that has no text template.

        Raises:
            ConfigError: A template is broken or missing; the message names file and line.
        """
        if subject is None:
            subject = " ".join(self._render(f"{mail}.subject.txt", variables).split())
        known = {**variables, "subject": subject}
        html = self._html(mail, known)
        if self._has_text(mail):
            text = wrapped(self._render(f"{mail}.txt", known))
        else:
            text = _plain(html) if fallback_text is None else fallback_text
        return Content(subject=subject, text=text, html=html)

    def compile(self, mail: str) -> None:
        """Read the templates of *mail* without rendering them.

        Raises:
            ConfigError: One is broken; the message names file and line.
        """
        for name in (f"{mail}.html", f"{mail}.txt", f"{mail}.subject.txt"):
            if self._exists(name):
                with _explained(name):
                    self._environment.get_template(name)

    def _html(self, mail: str, variables: Mapping[str, Any]) -> str:
        from jinja2.utils import Namespace
        from markupsafe import Markup

        known = {**variables, "page": Namespace(preheader="")}
        body = self._render(f"{mail}.html", known)
        if _WHOLE_PAGE.match(body):
            return body
        content = Markup(body)  # noqa: S704  a template that escapes has rendered it
        return self._render("base.html", {**known, "content": content})

    def _render(self, name: str, variables: Mapping[str, Any]) -> str:
        with _explained(name):
            return self._environment.get_template(name).render(variables)

    def _has_text(self, mail: str) -> bool:
        """Tell whether a text template belongs to the HTML: ours says nothing about another's."""
        if self._replaces(f"{mail}.html"):
            return self._replaces(f"{mail}.txt")
        return self._exists(f"{mail}.txt")

    def _replaces(self, name: str) -> bool:
        return self._folder is not None and (self._folder / name).is_file()

    def _exists(self, name: str) -> bool:
        return self._replaces(name) or name in _shipped()

    def _files(self) -> set[str]:
        from jinja2 import FileSystemLoader

        own = FileSystemLoader(self._folder).list_templates() if self._folder else []
        return {*own, *_shipped()}

    @cached_property
    def _environment(self) -> Environment:
        # Jinja takes 42 ms to import, and most processes send no mail.
        from jinja2 import (
            BaseLoader,
            ChoiceLoader,
            Environment,
            FileSystemLoader,
            FunctionLoader,
            StrictUndefined,
            select_autoescape,
        )

        loaders: list[BaseLoader] = [FunctionLoader(_load_shipped)]
        if self._folder is not None:
            loaders.insert(0, FileSystemLoader(self._folder))
        return Environment(
            loader=ChoiceLoader(loaders),
            autoescape=select_autoescape(disabled_extensions=("txt",), default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, str]:
    """Return our templates' sources by name."""
    from importlib import resources

    try:
        folder = resources.files(_PACKAGE)
    except ModuleNotFoundError:
        # A checkout that is only stood in: there the package is a folder beside the library.
        folder = Path(__file__).parents[2] / "templates"
    return {
        file.name: file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith((".html", ".txt"))
    }


def _plain(html: str) -> str:
    # The parser of HTML is needed only here, and none of our own mails comes here.
    from .plain import plain_text

    return plain_text(html)


def _load_shipped(name: str) -> tuple[str, str, None] | None:
    source = _shipped().get(name)
    return None if source is None else (source, f"{_PACKAGE}/{name}", None)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what a template causes into a ConfigError that names the file and the line."""
    from jinja2 import TemplateNotFound, TemplateSyntaxError, UndefinedError

    try:
        yield
    except TemplateNotFound as error:
        raise ConfigError(f"Mail template {name} needs {error.name}, which is missing") from error
    except TemplateSyntaxError as error:
        place = f"{error.filename or error.name or name}, line {error.lineno}"
        raise ConfigError(f"Mail template {place}: {error.message}") from error
    except UndefinedError as error:
        raise ConfigError(f"Mail template {_place(error, name)}: {error.message}") from error
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"Mail template {name} cannot be read") from error
    except Exception as error:  # a template is code and may raise anything
        problem = type(error).__name__
        raise ConfigError(f"Mail template {_place(error, name)} failed: {problem}") from error


def _place(error: BaseException, name: str) -> str:
    """Return file and line of the innermost template that *error* passed through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.endswith((".html", ".txt")):
            return f"{frame.filename}, line {frame.lineno}"
    return name
