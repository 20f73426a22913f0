"""What is hidden, without anything of a proxy."""

import json
import re

# 13 to 19 digits, also in groups.
CARD = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])")


class Ambiguous(Exception):
    pass


class Masker:
    def __init__(self, members, cards, mask):
        self.members = {name.lower() for name in members}
        self.cards = cards
        self.mask = mask

    def mask_json(self, data):
        """The document with what is to be hidden hidden, and how much that was."""
        document = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
        self.count = 0
        document = self._walk(document)
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8"), self.count

    def _walk(self, value):
        if isinstance(value, dict):
            return {name: self._hide() if name.lower() in self.members else self._walk(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._walk(each) for each in value]
        if not self.cards or isinstance(value, (bool, float)) or value is None:
            return value
        text = CARD.sub(self._card, str(value))
        return value if text == str(value) else text

    def _hide(self):
        self.count += 1
        return self.mask

    def _card(self, found):
        digits = re.sub(r"[^0-9]", "", found[0])
        if not luhn(digits):
            return found[0]
        self.count += 1
        return "****" + digits[-4:]


def unique(pairs):
    """Readers disagree about which of two members counts: the one that is masked might be the other."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Ambiguous("a member stands twice")
    return found


def refuse(text):
    raise ValueError(f"{text} is no JSON")


def luhn(digits):
    total = 0
    for i, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if i % 2 == 1 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
