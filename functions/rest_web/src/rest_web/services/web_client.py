"""The web client: its page, with what it is told, and the files that the page loads."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib.resources import files
from string import Template
from typing import Final
from urllib.parse import urlsplit

from commons.dal import IRepository
from commons.errors import NotFoundError
from commons.services.base import BaseService
from rest_web.linking import ENTRY, link
from rest_web.schemas import HostedSignIn, PageSettings
from rest_web.settings import NO_SIGN_IN_PAGE, Settings

MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
VERSION_LENGTH: Final = 16


@dataclass(frozen=True, slots=True)
class Document:
    """The page, and the Content-Security-Policy that it is served with."""

    html: str
    policy: str


@dataclass(frozen=True, slots=True)
class Asset:
    text: str
    media_type: str


class WebClientService(BaseService):
    """Serves what lies in `rest_web/page`; it touches no table.

    Assets are addressed by the digest of them all, so that a browser keeps them for ever and never
    mixes those of two deployments.
    """

    def __init__(self, repository: IRepository | None = None, *, settings: Settings) -> None:
        super().__init__(repository)
        self._settings = settings

    @cached_property
    def _template(self) -> Template:
        return Template(_PAGE.joinpath("index.html").read_text(encoding="utf-8"))

    def document(self, base_path: str) -> Document:
        """The page.

        Args:
            base_path: where browsers find it, with a slash at the end: they may have come without
                one, and then what is relative leads elsewhere.
        """
        settings = self._page_settings.model_copy(update={"base_path": base_path})
        html = self._template.substitute(
            assets=escape(f"{base_path}assets/{self.version}"), settings=escape(settings.to_json())
        )
        return Document(html, self._policy)

    def asset(self, version: str, name: str) -> Asset:
        """A file of this version.

        Raises:
            NotFoundError: there is none of that name, or the version is another deployment's.
        """
        text = self._assets.get(name)
        if text is None or version != self.version:
            raise NotFoundError("There is no such file. Reload the page.")
        return Asset(text, MEDIA_TYPES[_suffix(name)])

    @cached_property
    def version(self) -> str:
        digest = hashlib.sha256()
        for name, text in sorted(self._assets.items()):
            digest.update(f"{name}\0{len(text)}\0{text}".encode())
        return digest.hexdigest()[:VERSION_LENGTH]

    @cached_property
    def _assets(self) -> dict[str, str]:
        """What a browser loads: all modules as one, and the other files."""
        texts = {
            file.name: file.read_text(encoding="utf-8")
            for file in _PAGE.iterdir()
            if _suffix(file.name) in MEDIA_TYPES
        }
        modules = {name: text for name, text in texts.items() if name.endswith(".js")}
        others = {name: text for name, text in texts.items() if name not in modules}
        return {**others, ENTRY: link(modules, ENTRY)}

    @cached_property
    def _page_settings(self) -> PageSettings:
        settings = self._settings
        hosted = None
        if settings.sign_in_url != NO_SIGN_IN_PAGE:
            hosted = HostedSignIn(url=settings.sign_in_url, client_id=settings.jwt_audience)
        return PageSettings(
            base_path="/",
            websocket_url=settings.websocket_url,
            hosted_sign_in=hosted,
            demo_sign_in_url=settings.demo_sign_in_url or None,
        )

    @cached_property
    def _policy(self) -> str:
        """Only our own files, no markup from text (Trusted Types), no server but those it needs."""
        told = self._page_settings
        servers = [
            told.websocket_url,
            told.hosted_sign_in.url if told.hosted_sign_in else None,
            told.demo_sign_in_url,
        ]
        return "; ".join(
            [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "img-src 'self'",
                " ".join(["connect-src 'self'", *(_origin(url) for url in servers if url)]),
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
                "trusted-types 'none'",
            ]
        )


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


_PAGE: Final = files("rest_web").joinpath("page")
