"""The documents: they build as a site without a warning, and what they show exists and runs."""

import re

import pytest
import reference
from commands import ROOT

from tfsc import recipe

DOCS = ROOT / "docs"
README = ROOT / "README.md"
# Pages for readers; those of docs/performance/profiles are raw figures.
PAGES = [README, *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("guide/*.md"))]
_NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def _text(path):
    return path.read_text(encoding="utf-8")


# --- The site ----------------------------------------------------------------------------------


def _build(site, **changes):
    pytest.importorskip("mkdocs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(site), **changes))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    _build(folder)  # strict: a warning is an error
    return folder


def test_every_page_is_built_and_none_needs_the_network(site):
    for path in DOCS.rglob("*.md"):
        page = _text(site / path.relative_to(DOCS).with_suffix(".html"))
        assert not re.search(r"<(?:script|img)[^>]*src=.(?:https?:)?//", page)
        assert not re.search(r"<link[^>]*href=.(?:https?:)?//", page)


def test_no_list_or_table_is_left_as_text(site):
    """Markdown of code hosts begins them without an empty line in front, that of the site not."""
    for path in DOCS.rglob("*.md"):
        page = _text(site / path.relative_to(DOCS).with_suffix(".html"))
        assert not re.search(r"<p>(?:(?!</p>).)*\n(?:[-*] |\|)", page, re.DOTALL), path


@pytest.mark.parametrize(
    "broken",
    ["[a](none.md)", "[a](../README.md)", "[a](index.md#none)", "![a](none.png)", "[a](/b.md)"],
)
def test_a_broken_link_is_an_error(broken, tmp_path):
    pytest.importorskip("mkdocs")
    from mkdocs.exceptions import Abort

    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(f"# A page\n\n{broken}\n")
    page = {"docs_dir": str(docs), "nav": [{"Home": "index.md"}], "not_in_nav": ""}
    with pytest.raises(Abort):
        _build(tmp_path / "site", **page)
    (docs / "index.md").write_text("# A page\n\n[a](#a-page)\n")
    _build(tmp_path / "site", **page)


# --- The README --------------------------------------------------------------------------------


def _slug(heading):
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = _text(README)
    assert text.count("\n") <= 110
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", text)
    assert len(links) > 20
    for link, anchor in links:
        assert (ROOT / link).exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", _text(ROOT / link), re.MULTILINE)
            assert anchor in map(_slug, headings), f"{link}#{anchor}"


# --- What the pages show -----------------------------------------------------------------------

_OTHERS = {
    *("help", "helpfull", "flagfile", "only_check_args"),  # absl's
    *("logdir", "host"),  # TensorBoard's
    *("write-faults", "durations"),  # pytest's
    *("saved-model", "output"),  # tf2onnx's
}


@pytest.fixture(scope="module")
def known_flags():
    names = set(_OTHERS)
    for name, setting in recipe.settings().items():
        names |= {name, f"no{name}"} if setting.kind is bool else {name}
    for text in reference.helps().values():
        names |= set(re.findall(r"<name>(\w+)</name>", text))
    for path in (ROOT / "tools").rglob("*.py"):
        names |= set(re.findall(r"\"--([\w-]+)\"", _text(path)))
        names |= set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", _text(path)))
    return names


@pytest.mark.parametrize("path", PAGES, ids=_NAMES)
def test_every_flag_exists(path, known_flags):
    # The table of faults has mistakes on purpose.
    text = re.sub(r"<!-- faults.*<!-- end of faults -->", "", _text(path), flags=re.DOTALL)
    assert set(re.findall(r"(?<![\w-])--([a-z][\w-]*)", text)) <= known_flags


@pytest.mark.parametrize("path", PAGES, ids=_NAMES)
def test_every_file_of_the_checkout_exists(path):
    named = re.findall(
        r"(?<![\w./<>$])((?:flags|tools|tfsc|tests|notebooks)/[\w./-]+\w)(?![\w$*-])", _text(path)
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=_NAMES)
def test_nothing_is_named_that_a_stranger_cannot_find(path):
    assert not re.search(r"\.\./shared|shared facts|\bthe issue\b|/work/", _text(path))


@pytest.mark.parametrize("name", ["README.md", "docs/guide/keras.md"])
def test_the_python_runs(name):
    blocks = re.findall(r"^```python\n(.*?)^```", _text(ROOT / name), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})
