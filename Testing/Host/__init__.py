"""A window that runs a scripted Slicer module without Slicer: strict stand-ins for its Qt, CTK and qMRML widgets over
the real MRML scene, displayable managers and `slicer.util` of slicer-core.

    from Testing.Host import start_host
    host = start_host()
    widget = host.open_module("XVRegistration/XVRegistration.py")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from Testing.Host.host import Host

_host: Host | None = None


def start_host(size: tuple[int, int] = (1500, 900), testing: bool = True) -> Host:
    """This process's host; the first call makes it, with a window of `size`, px.

    With `testing`, message boxes are logged and not shown, as in Slicer's own testing mode.
    """
    global _host
    if _host is None:
        from Testing.Host.host import Host

        _host = Host(size, testing)
    return _host


__all__ = ["start_host"]
