"""What Slicer's Extensions Index asks for, and the addresses that the owner has to fill in."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml

from XVRegistrationLib import __version__

REPOSITORY = re.compile(r"(?:github|raw\.githubusercontent)\.com/([^/\s]+)/SlicerXVRegistration")
# Of the schema of an entry, version 1.0.1, which allows no other keys.
REQUIRED, OPTIONAL = (
    {"$schema", "category", "scm_url"},
    {"build_dependencies", "build_subdirectory", "enabled", "scm_revision", "scm_type", "tier"},
)


@pytest.fixture(scope="module")
def entry(tree):
    return json.loads((tree.root / "XVRegistration.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def extension(tree):
    """The extension's values in CMakeLists.txt."""
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]+)"\)$', tree.cmake("CMakeLists.txt"), re.MULTILINE))


def test_the_entry_has_the_keys_of_its_schema(entry):
    assert entry["$schema"].endswith("/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert REQUIRED <= set(entry) <= REQUIRED | OPTIONAL
    assert entry["tier"] in (1, 3, 5)
    assert re.fullmatch(r"https://github\.com/[^/]+/Slicer[^/]+", entry["scm_url"])


def test_the_entry_and_the_module_say_the_same(entry, extension, tree):
    assert entry["build_dependencies"] == extension["DEPENDS"].split()
    module = (tree.module / "XVRegistration.py").read_text(encoding="utf-8")
    assert f'translate("qSlicerAbstractCoreModule", "{entry["category"]}")' in module
    assert extension["HOMEPAGE"] == entry["scm_url"]


def test_the_pictures_that_are_shown_there_are_here(entry, extension, tree):
    base = entry["scm_url"].replace("github.com", "raw.githubusercontent.com") + f"/{entry['scm_revision']}/"
    urls = [extension["ICONURL"], *extension["SCREENSHOTURLS"].split()]
    assert len(urls) >= 2
    for url in urls:
        assert url.startswith(base)
        assert (tree.root / url.removeprefix(base)).is_file(), url


def test_addresses_are_alike_and_all_named_where_the_owner_is_told_of_them(tree):
    page = (tree.root / "Documentation/publishing.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^- `([^`]+)`$", page, re.MULTILINE))
    texts = {name: (tree.root / name).read_text(encoding="utf-8") for name in told}
    owners = {name: set(REPOSITORY.findall(text)) for name, text in texts.items()}
    assert len(set.union(*owners.values())) == 1, owners
    assert all(owners.values()), owners
    others = [*tree.root.glob("*.*"), *(tree.root / "Documentation").glob("*.md"), *tree.library.rglob("*.py")]
    names = {
        path.relative_to(tree.root).as_posix(): path for path in others if path.suffix != ".png" and path.is_file()
    }
    found = {name for name, path in names.items() if REPOSITORY.search(path.read_text(encoding="utf-8"))}
    assert found == told


def test_the_readme_has_what_the_index_looks_for(tree):
    readme = (tree.root / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# XVRegistration\n")
    for part in ("### Modules", "Documentation/tutorial.md", "## How to cite", "Licence: Apache-2.0", "!["):
        assert part in readme, part


def test_the_citation_names_this_version_and_the_works_of_the_readme(tree):
    citation = yaml.safe_load((tree.root / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((tree.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert (citation["version"], citation["license"]) == (__version__, project["license"])
    assert citation["repository-code"] == project["urls"]["Homepage"]
    cited = (tree.root / "README.md").read_text(encoding="utf-8").partition("## How to cite")[2]
    for work in citation["references"]:
        identifier = work.get("doi") or work["identifiers"][0]["value"]
        assert identifier in cited
        assert work["title"].lower() in cited.lower()
        assert all(author["family-names"] in cited for author in work["authors"])
