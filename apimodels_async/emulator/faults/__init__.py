"""Fault injection: which faults there are, when one hits, what it does to an answer."""
