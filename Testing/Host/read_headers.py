"""Write api.json: what PythonQt shows of Slicer's and CTK's classes that the host stands for, read from their headers.

    python -m Testing.Host.read_headers SLICER.git CTK.git

takes Git directories with the two sources. The tests hold the host, the .ui file and the panel's code against that list.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

API = Path(__file__).with_name("api.json")
_REPOSITORIES = ("Slicer/Slicer", "commontk/CTK")
_ACCESS = re.compile(
    r"(?P<access>public|protected|private)\s*(?P<slots>slots|Q_SLOTS)?\s*:(?!:)|(?P<signals>signals|Q_SIGNALS)\s*:"
)


def names_in_header(source: str, name: str) -> dict[str, Any] | None:
    """Base class, properties, slots, invokable methods, signals and enumeration members of one class, or None."""
    source = re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.DOTALL)
    found = re.search(rf"class\s+(?:\w+_EXPORT\s+)?{name}\b[^;{{]*\{{.*?^\}};", source, re.DOTALL | re.MULTILINE)
    if found is None:
        return None
    head, _, body = found.group(0).partition("{")
    base = re.search(r":\s*public\s+(\w+)", head)
    parts: dict[str, list[str]] = {"slots": [], "invokables": [], "signals": [], "enumerators": []}
    for section, text in _sections(body):
        if section in ("slots", "signals"):
            parts[section] += _functions(text)
        elif section == "public":
            parts["invokables"] += _functions("".join(re.findall(r"Q_INVOKABLE[^;{]*\([^;{]*[;{]", text)))
            for members in re.findall(r"\benum\s+\w+\s*\{(.*?)\}", text, re.DOTALL):
                parts["enumerators"] += re.findall(r"^\s*(\w+)\s*(?:=|,|$)", members, re.MULTILINE)
    return {
        "base": base.group(1) if base else None,
        "properties": sorted(set(re.findall(r"Q_PROPERTY\([^)]*?(\w+)\s+READ\b", body))),
        **{key: sorted(set(names)) for key, names in parts.items()},
    }


def _sections(body: str) -> list[tuple[str, str]]:
    """The text under each access label, as "public", "slots", "signals" or "hidden"."""
    sections, kind, start = [], "hidden", 0
    for label in _ACCESS.finditer(body):
        sections.append((kind, body[start : label.start()]))
        if label["signals"]:
            kind = "signals"
        elif label["access"] != "public":
            kind = "hidden"
        else:
            kind = "slots" if label["slots"] else "public"
        start = label.end()
    return [*sections, (kind, body[start:])]


def _functions(text: str) -> list[str]:
    text = re.sub(r"Q_\w+\([^)]*\)", "", text)
    return re.findall(r"[\w*&>]\s+[*&]*(\w+)\s*\(", text)


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def read(repository: Path, name: str, slug: str) -> dict[str, Any] | None:
    """The entry of one class, with its header and the revision of the source; None where it is not declared."""
    paths = [
        p for p in _git(repository, "ls-tree", "-r", "--name-only", "HEAD").splitlines() if p.endswith(f"/{name}.h")
    ]
    for path in paths:
        entry = names_in_header(_git(repository, "show", f"HEAD:{path}"), name)
        if entry is not None:
            return {"header": path, "source": slug, "revision": _git(repository, "rev-parse", "HEAD").strip(), **entry}
    return None


def decorations(repository: Path) -> dict[str, set[str]]:
    """Class -> methods that Slicer's or CTK's decorators add to it for Python."""
    files = _git(repository, "ls-tree", "-r", "--name-only", "HEAD").splitlines()
    added: dict[str, set[str]] = {}
    for path in files:
        if path.endswith("PythonQtDecorators.h"):
            source = re.sub(r"/\*.*?\*/|//[^\n]*", "", _git(repository, "show", f"HEAD:{path}"), flags=re.DOTALL)
            members = re.findall(r"\b(\w+)\s*\(\s*(?:const\s+)?(\w+)\s*\*\s*\w+", source)
            members += [(name, owner) for owner, name in re.findall(r"\bstatic_([A-Za-z]+)_(\w+)\s*\(", source)]
            for name, owner in members:
                added.setdefault(owner, set()).add(name)
    return added


def main(arguments: list[str]) -> int:
    from Testing.Host.host_classes import host_classes

    wanted, found = sorted(host_classes()), {}
    while wanted:
        name = wanted.pop()
        entry = next(
            (e for path, slug in zip(arguments, _REPOSITORIES, strict=True) if (e := read(Path(path), name, slug))),
            None,
        )
        if entry is None:
            print(f"{name} is declared in no header", file=sys.stderr)
            return 1
        found[name] = entry
        base = entry["base"] or ""
        if re.match(r"(ctk|qMRML|qSlicer)", base) and base not in found:
            wanted.append(base)
    for repository in map(Path, arguments):
        for name, methods in decorations(repository).items():
            if name in found:
                found[name]["decorators"] = sorted(methods)
    API.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} classes in {API}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
