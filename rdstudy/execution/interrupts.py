"""Interrupts that wait for a moment at which work can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Let SIGINT and SIGTERM take effect only after the block; a second one takes effect at once.

    Only signals that Python handles, and only in the main thread: elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Handler] = {}
    noticed: list[int] = []

    def notice(signum: int, frame: FrameType | None) -> None:
        noticed.append(signum)
        signal.signal(signum, before[signum])

    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler):
            before[number] = handler
            signal.signal(number, notice)
    try:
        yield
    finally:
        for caught, former in before.items():
            signal.signal(caught, former)
    if noticed:
        before[noticed[0]](noticed[0], None)
