"""
What a Redis server did and has forgotten, and what may be bought twice for that reason:
what is ordered anew while the claim of the one before is not there.
"""

from __future__ import annotations


class Forgotten:
    """Attempts that the server has no record of, though it had one."""

    def __init__(self, site, keys):
        self._site, self._keys = site, keys
        self._gone = {}
        """Attempt -> when it was forgotten."""
        self.granted = set()
        """Attempts whose callers know that they may order."""
        self._said = {}
        """Attempt -> when the last word about it was taken."""
        self.bought = {}
        """Purchase -> its attempt."""
        self._forgettings = set()
        """Those that users asked for: each may be repeated."""
        self._key_of = {}
        self._pairs = set()
        """Attempts of one key, of which the second was begun as the first was gone."""

    def said(self, attempt):
        """Take down that a store took a word about an attempt."""
        self._said[attempt] = self._site.world.now

    def excuses(self, one, other):
        """Return whether both purchases may be there."""
        pair = frozenset((self.bought.get(one), self.bought.get(other)))
        return pair in self._pairs

    def is_twin(self, purchase):
        """Return whether there may be another one."""
        attempt = self.bought.get(purchase)
        return any(attempt in pair for pair in self._pairs)

    def has_no(self, attempt):
        """Return whether there need be no record of an attempt now."""
        return attempt in self._gone

    def is_gone(self, attempt):
        """Return whether an attempt is forgotten, and no word was said of it since."""
        when = self._gone.get(attempt)
        return when is not None and self._said.get(attempt, -1.0) <= when

    # --- what was done

    def did(self, call, answer):
        """Take down what the server has done, in the step in which it did."""
        operation, *words = call
        see = getattr(self, f"_did_{operation.decode()}", None)
        if see is not None:
            see(words, answer)

    def _did_begin(self, words, answer):
        fields = dict(zip(words[5::2], words[6::2], strict=True))
        self._keys.alive(fields[b"owner"].decode())
        if not answer[0]:
            return
        key, attempt = fields[b"idempotency_key"], int(answer[1][0])
        for other in self._gone:
            if other != attempt and self._key_of.get(other) == key:
                self._pairs.add(frozenset((other, attempt)))
        self._key_of[attempt] = key

    def _did_restore(self, words, _answer):
        self._keys.counts["written down again"] += 1
        self._gone.pop(int(words[0]), None)

    def _did_ended(self, words, answer):
        if answer:
            self._keys.ended(int(words[0]))

    def _did_handed_over(self, words, _answer):
        for attempt in map(int, words):
            if self._site.shared.attempt(attempt) is not None:
                self._keys.handed_over(attempt)

    def _did_forget(self, words, answer):
        _, key, call = words
        if call not in self._forgettings:
            self._forgettings.add(call)
            self._keys.forgot(key.decode(), gone=answer)

    def _did_renew(self, words, _answer):
        self._keys.alive(words[0].decode())

    def _did_release(self, words, _answer):
        self._keys.gone(words[0].decode())

    def _did_recover(self, words, answer):
        self._keys.alive(words[1].decode())
        if answer is not None:
            self._keys.recovered(_attempt_in(answer), words[1].decode())

    # --- what was forgotten

    def lost(self, calls, *, kept):
        """
        Take down what the server has forgotten: calls, when, and their answers.

        Args:
            kept: Whether it promised to keep what is durable.
        """
        now, given, recovered = self._site.world.now, [], []
        for when, call, answer in calls:
            operation, *words = call or (b"",)
            known = False
            match operation:
                case b"begin" if answer[0]:
                    attempt = int(answer[1][0])
                    self._gone[attempt] = now
                    known = attempt in self.granted
                case b"restore":
                    self._gone[int(words[0])] = now
                case b"accepted" | b"ended":
                    attempt = int(words[0])
                    known = self._said.get(attempt, -1.0) >= when
                case b"handed_over":
                    given += map(int, words)
                case b"recover" if answer is not None:
                    recovered.append(_attempt_in(answer))
            self._keys.counts[f"forgotten {operation.decode()}"] += 1
            if known and kept:
                detail = f"{operation.decode()} of attempt {attempt} was forgotten"
                self._site.audit.broke("durable_kept", detail)
        self._keys.reverted(self._site.shared.leases(), given, recovered)


def _attempt_in(row):
    return int(dict(zip(row[::2], row[1::2], strict=True))[b"attempt"])
