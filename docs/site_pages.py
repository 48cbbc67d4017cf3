"""A hook of mkdocs: pages from outside docs/, and links between all of them.

Pages link to one another and to code by paths that work on a forge. On the site, a link to a page
leads to that page, and a link to any other file of the repository becomes the file's path.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]

PAGES = {
    "README.md": "index.md",
    "config/README.md": "configuration.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
"""Where the pages from outside docs/ are on the site."""

SOURCES = {page: source for source, page in PAGES.items()}

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:)([^)#]*)(#[^)]*)?\)")


def on_files(files, config):
    """Add the pages from outside docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text().replace("](docs/report.png)", "](report.png)")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, **_):
    """Let links between pages, and to files of the repository, work on the site."""
    name = page.file.src_uri
    folder = posixpath.dirname(SOURCES.get(name, f"docs/{name}"))

    def on_site(link):
        text, path, anchor = link[1], link[2], link[3] or ""
        target = posixpath.normpath(posixpath.join(folder, path))
        if target in PAGES:
            return f"[{text}]({PAGES[target]}{anchor})"
        if target.startswith("docs/"):
            return f"[{text}]({target.removeprefix('docs/')}{anchor})"
        if path and (ROOT / target).exists():
            return text if text.strip("`") == target else f"{text} (`{target}`)"
        return link[0]

    return _LINK.sub(on_site, markdown)
