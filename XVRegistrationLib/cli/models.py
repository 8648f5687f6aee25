"""`xvregistration models`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from XVRegistrationLib.cli.progress import clock, console
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.home import models_folder
from XVRegistrationLib.registration.library import ListedModel, models_in

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """List the models below a folder, and what is wrong with those that cannot be read."""
    root = models_folder() if options.folder is None else Path(options.folder)
    if options.folder is not None and not root.is_dir():
        raise InputError(f"{root} is not a folder; give one that holds models.")
    models, damaged = models_in(root)
    if options.json:
        rows = [{**dataclasses.asdict(model), "folder": str(model.folder)} for model in models]
        unusable = [{"folder": str(folder), "why": why} for folder, why in damaged]
        print(json.dumps({"models": rows, "unusable": unusable}, indent=2))
        return 0
    if models:
        console.print(_table(models, root))
    for folder, why in damaged:
        console.print(f"{folder.name}: {why}", markup=False)
    if not models and not damaged:
        console.print(f"{root} holds no models. `xvregistration train` and `pretrain` make them.", markup=False)
    return 0


def _table(models: list[ListedModel], root: Path) -> Table:
    table = Table("model", "what", "view", "range", "detector", "trained", "X-rays", "error", "volume")
    for model in models:
        turn, shift = (" ".join(f"{v:g}" for v in values) for values in (model.rotation, model.translation))
        table.add_row(
            escape(str(model.folder.relative_to(root)) if model.folder != root else model.folder.name),
            escape(", ".join(filter(None, (model.kind, model.anatomy)))),
            model.view,
            f"{turn} deg, {shift} mm",
            model.detector,
            clock(model.seconds) if model.seconds else "-",
            f"{model.images:,}" if model.images else "-",
            "-" if model.error is None else f"{model.error:.1f} mm",
            model.fingerprint[:8] if model.kind != "pretrained" else f"{model.patients} patients",
        )
    return table
