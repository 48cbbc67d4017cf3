"""Templates of pages, with the style that all pages share."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def render(template: str, **values: Any) -> str:
    """Return a template of this package filled in; what is no markup is escaped."""
    environment = Environment(
        loader=PackageLoader("tailproof.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable}
    style = environment.loader.get_source(environment, "style.css")[0]
    values["style"] = Markup(style)  # noqa: S704 - a file of the package
    return environment.get_template(template).render(**values)


def _breakable(name: str) -> Markup:
    """Let a long name break after underscores, hyphens and slashes."""
    return Markup(re.sub(r"([_/-])(?=\w)", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped
