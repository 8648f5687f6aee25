"""Whether this machine can draw without a screen, found out without risking the process."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from typing import Any

import vtk

# VTK ends the process where it cannot get an OpenGL context, so a child process tries.
_ATTEMPT = """
from XVRegistrationLib.scene.standalone.graphics import offscreen_window
import vtk
window = offscreen_window((16, 16))
window.AddRenderer(vtk.vtkRenderer())
window.Render()
raise SystemExit(0 if window.SupportsOpenGL() else 1)
"""


def offscreen_window(size: tuple[int, int]) -> Any:
    """A vtkRenderWindow of `size` (width, height), px, that never appears on a screen."""
    # The default on Linux first asks for an X server and needs libX11; EGL needs neither.
    window = vtk.vtkEGLRenderWindow() if platform.system() == "Linux" else vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.ShowWindowOff()
    window.SetSize(*size)
    return window


@functools.cache
def missing_graphics() -> str | None:
    """One sentence on what to install where pictures of views cannot be drawn; None where they can."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", _ATTEMPT], capture_output=True, timeout=60, env=_environment(), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"Pictures of the views cannot be drawn here: trying to draw one failed ({type(e).__name__})."
    if child.returncode == 0:
        return None
    if platform.system() == "Linux":
        return (
            "Pictures of the views cannot be drawn here because OpenGL (EGL) does not work; "
            "on Debian or Ubuntu, install the packages libegl1 and libgl1-mesa-dri."
        )
    return "Pictures of the views cannot be drawn here because OpenGL does not work; install a graphics driver."


def _environment() -> dict[str, str]:
    """This process's environment, with its import path handed on."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
