"""What holds for all tests."""

from __future__ import annotations

import signal

# Started in the background of a script, a process inherits an ignored Ctrl-C, and so would every process under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
