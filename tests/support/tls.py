"""Certificates for servers on this machine."""

from __future__ import annotations

import ssl


def certificate(authority, name="localhost", **options):
    """Return a server's TLS settings, with a certificate that *authority* issued."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **options).configure_cert(context)
    return context


def trusting(authority):
    """Return a client's TLS settings that trust *authority*."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
