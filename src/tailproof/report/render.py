"""Renders the HTML templates with their style and script."""

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
)
REFRESH = "watch.js", "page.js"
"""The scripts of a page that asks for itself again and again."""


def render(template: str, scripts: Sequence[str] = ("page.js",), **values: Any) -> str:
    """Render a template of this package; everything except markup is escaped.

    In addition to the values, the template gets `style`, `script`, and `policy`: a content security
    policy that allows only this script and no requests, or with `REFRESH` only for the page itself.
    """
    loader = PackageLoader("tailproof.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable}
    style, *texts = (loader.get_source(environment, name)[0] for name in ("style.css", *scripts))
    script, policy = "".join(texts), POLICY + "; connect-src 'self'" * (scripts == REFRESH)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        **values,
        style=Markup(style),  # noqa: S704 - a file of the package
        script=Markup(script),  # noqa: S704 - a file of the package
        policy=Markup(policy.format(digest=digest)),  # noqa: S704 - of the line above
    )


def _breakable(name: str) -> Markup:
    """Let a long name break after underscores, hyphens and slashes."""
    return Markup(re.sub(r"([_/-])(?=\w)", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped
