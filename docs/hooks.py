"""MkDocs hooks: pages of the repository outside docs/ join the site under project/, and links to them lead there.

GitHub and MkDocs then follow the same relative links.
The notebook is a page with its stored outputs.
The search of the site leaves out decisions, reproduction, design and changes: they say less to a user than the guides.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import notebook_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "project"  # folder of the site for what lies outside docs/
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "models/*.md", "sample_data/README.md")
UNSEARCHED = re.compile(r"explanation/decisions/|reproduction/|design\.md|release\.md|project/(?:README|CHANGELOG)\.md")
GUIDES = re.compile(
    r"index\.md|faq\.md|tutorial\.md|tutorials/|how-to/(?!notebook)|explanation/"
)  # their answers come first
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?\)")


def place_in_site(path: str) -> str:
    """Return the place in the site of a file, both relative: to the repository's root, and to the site's."""
    path = path.removesuffix(".ipynb") + ".md" if path.endswith(".ipynb") else path
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{PROJECT}/{path}"


def linked(page: str) -> list[str]:
    """Return the files that a page links to, relative to the repository's root."""
    links = [match[2] for match in LINK.finditer((ROOT / page).read_text())]
    targets = [os.path.normpath(os.path.join(os.path.dirname(page), link)) for link in links]
    return [target for target in targets if (ROOT / target).is_file()]


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, and every file outside docs/ that a page links to."""
    outside = {str(path.relative_to(ROOT)) for pattern in PAGES for path in ROOT.glob(pattern)}
    pages = outside | {f"docs/{file.src_uri}" for file in files.documentation_pages()}
    outside |= {target for page in pages for target in linked(page) if not target.startswith("docs/")}
    for path in sorted(outside):
        files.append(File.generated(config, place_in_site(path), abs_src_path=str(ROOT / path)))
    text, pictures = notebook_page.page(json.loads(notebook_page.NOTEBOOK.read_text()))
    files.append(File.generated(config, "how-to/notebook.md", content=text))
    for name, content in pictures.items():
        files.append(File.generated(config, f"how-to/{name}", content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links between docs/ and the rest of the repository into links of the site; choose what is searched."""
    here = page.file.src_uri
    if UNSEARCHED.match(here):
        page.meta["search"] = {"exclude": True}  # read by Material's search
    elif GUIDES.match(here):
        page.meta["search"] = {"boost": 3}
    source = here.removeprefix(f"{PROJECT}/") if here.startswith(f"{PROJECT}/") else f"docs/{here}"

    def in_site(match: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(source), match[2]))
        if not (ROOT / target).is_file():
            return match[0]
        link = os.path.relpath(place_in_site(target), os.path.dirname(here) or ".")
        return f"{match[1]}{link}{match[3] or ''})"

    return LINK.sub(in_site, markdown)
