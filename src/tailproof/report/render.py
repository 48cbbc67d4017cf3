"""Templates of pages, with the style and the script that they may hold."""

import base64
import hashlib
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
)


def render(template: str, **values: Any) -> str:
    """Return a template of this package filled in; what is no markup is escaped.

    Beside the values it has `style`, `script`, and `policy`: the content security policy of a page
    that runs this script, no other, and fetches nothing.
    """
    environment = Environment(
        loader=PackageLoader("tailproof.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable}
    style, script = (
        environment.loader.get_source(environment, name)[0] for name in ("style.css", "page.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        **values,
        style=Markup(style),  # noqa: S704 - a file of the package
        script=Markup(script),  # noqa: S704 - a file of the package
        policy=Markup(POLICY.format(digest=digest)),  # noqa: S704 - of the line above
    )


def _breakable(name: str) -> Markup:
    """Let a long name break after underscores, hyphens and slashes."""
    return Markup(re.sub(r"([_/-])(?=\w)", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped
