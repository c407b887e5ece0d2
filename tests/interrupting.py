"""Ctrl-C for a process in the middle of its work: measured in its processor time.

By the clock a loaded machine would make it late, or begin its work after the signal.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil


def interrupt(child, after, most, send=None):
    """Send SIGINT to a child that has worked, and see it end.

    Parameters
    ----------
    child : subprocess.Popen
    after : float
        Seconds of processor time that it uses from now on, with processes of its own, until then.
    most : float
        Seconds that it may use from the signal to its end.
    send : callable, optional
        Sends the signal.

    Returns
    -------
    stdout, stderr : str or None
        What had not been read yet.
    """
    try:
        start = used(child)
        while used(child) < start + after:
            assert child.poll() is None, "it ended by itself"
            time.sleep(0.01)
        (send or (lambda: child.send_signal(signal.SIGINT)))()
        before, at = of_ended_children(), used(child)  # later than the signal, which may be late
        outputs = child.communicate(timeout=60)
    except BaseException:
        child.kill()  # no longer in the way of other tests
        raise
    spent = of_ended_children() - before - at
    assert spent < most, f"{spent:.2f} s of processor time after the signal"
    return outputs


def used(child):
    """Processor time of a child and of processes that it has, or has waited for, in seconds."""
    total = 0.0
    process = psutil.Process(child.pid)
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
            total += times.children_user + times.children_system
    return total


def of_ended_children():
    times = os.times()
    return times.children_user + times.children_system
