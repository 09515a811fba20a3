"""
What each fault makes of an answer.

A fault has a name and says two things: whether the vendor acted, and what comes back.
``_after`` in a name means that he did.
"""

from __future__ import annotations

from sim.adapters import Failure, Phase, Reply

API_KEY = "sk-sim-0123456789abcdef"
ECHO = "you sent"
"""In words of the vendor's that repeat the key."""
CONNECT_S, READ_S, GENERATE_S, DOWNLOAD_S = 2.0, 10.0, 40.0, 30.0
"""The sessions' timeouts."""
SPOKEN = frozenset({"cut", "hangs_after", "lost_after", "shifted", "slow"})
"""Faults after which the vendor has acted, beside those that say so."""
SLOW_S = 15.0
PAGE = b"<html><body>Bad gateway</body></html>"
WEATHER = {"down": "no_connection", "429": "429", "503": "503", "slow": "slow"}
"""What a storm does to every request."""


def acts(kind):
    """Return whether the vendor acts on a request that *kind* strikes."""
    return kind is None or kind in SPOKEN or kind.endswith("_after")


def never_leaves(kind):
    """Return the failure of a request that does not leave this machine, or None."""
    if kind == "no_connection":
        return Failure(sent=False, phase=Phase.CONNECT, reason="ConnectError: refused")
    if kind == "bad_certificate":
        reason = "CertificateError: not trusted"
        return Failure(sent=False, phase=Phase.TLS, reason=reason, retryable=False)
    return None


def delay(kind, patience, chance):
    """Return the seconds from the request's arrival to its answer, or its end."""
    if kind is None:
        return 0.01 + 0.1 * chance
    if kind.startswith("hangs"):
        return patience
    if kind == "slow":
        return min(patience * 0.9, SLOW_S * chance)
    return 0.01 + chance


def spoil(kind, whole, stray, chance):
    """
    Return what comes back instead of the answer *whole*.

    Args:
        whole: What the vendor said; None if he never got to say anything.

        stray: An earlier answer on the same connection, if any.
    """
    body = whole.body if whole is not None else b""
    match kind:
        case "lost_before" | "lost_after":
            return _broken("ServerDisconnectedError", Phase.ANSWER)
        case "hangs_before" | "hangs_after":
            return _broken("TimeoutError", Phase.ANSWER, timed_out=True)
        case "cut":
            end = int(len(body) * chance)
            reason = "ClientPayloadError"
            return _broken(reason, Phase.BODY, status=200, body=body[:end])
        case "shifted":
            return stray if stray is not None else whole
        case "slow":
            return whole
    return _spoken(kind.removesuffix("_after"), body, chance)


def _broken(reason, phase, **more):
    return Failure(sent=True, phase=phase, reason=reason, **more)


def _spoken(kind, body, chance):
    match kind:
        case "half_json":
            return Reply(200, {}, body[: int(len(body) * chance)])
        case "zipped":
            return Reply(200, {"content-encoding": "gzip"}, b"\x1f\x8b" + body)
        case "429_wait":
            return refusal(429, {"retry-after": str(1 + int(10 * chance))})
    if kind in FIXED:
        return FIXED[kind]
    if kind.startswith("200_"):
        return refusal(int(kind[4:]), http=200)
    return refusal(int(kind))


def refusal(code, headers=None, *, http=None, said="no"):
    """Return the vendor's no in his envelope."""
    body = f'{{"code":{code},"msg":"{said}","data":null}}'
    return Reply(http or code, headers or {}, body.encode())


FIXED = {
    "garbage": Reply(200, {}, PAGE),
    "empty": Reply(200, {}, b""),
    "403_page": Reply(403, {}, PAGE),
    "502": Reply(502, {}, PAGE),
    "429_long": refusal(429, {"retry-after": "600"}),
    "echo": refusal(401, said=f"{ECHO} {API_KEY}"),
    "307": Reply(307, {"location": "https://elsewhere.example/"}, b""),
}
