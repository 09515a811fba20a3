"""Sessions for tests: quick to poll and to try again, and patient."""

from __future__ import annotations

from apimodels_async import PollPolicy, RetryPolicy, Session, Timeouts

KEY = "sk_canary_7f3a9c51d2"
"""Of the emulator and of raw servers; no text may show it."""
# A server that means well is never too late, however busy the machine is.
PATIENT = Timeouts(connect=20, read=20, generate=20, download=20)
IMPATIENT = Timeouts(connect=3, read=0.2, generate=0.4, download=20)
ENDLESS = {"hang", "slow head", "slow body"}


def patience(fault):
    """Return time-outs for a fault of ``raw.CUTS``: only what never ends is cut off."""
    return IMPATIENT if fault in ENDLESS else PATIENT


def make_session(server, *, kind=Session, **options):
    """Return a session of class *kind* on *server*."""
    defaults = {
        "api_key": getattr(server, "api_key", KEY),
        "base_url": server.base_url,
        "polling": PollPolicy.unchecked(interval=0.05),
        "retry": RetryPolicy(base=0.01),
        "timeouts": PATIENT,
    }
    return kind(**(defaults | options))
