"""Hides members of JSON answers by name, and numbers of payment cards."""

import json

from componentize_py_types import Err
from masking import Ambiguous, Masker
from wit_world.imports import log
from wit_world.imports.types import Callbacks, Verdict_Continue, Verdict_Fail, Verdict_Pause

CONTINUE = Verdict_Continue()
PAUSE = Verdict_Pause()

masker = Masker([], True, "***")
# Exchanges whose answer is JSON.
masked = set()


class Configuration:
    def configure(self, settings):
        global masker
        given = json.loads(settings)
        members, cards, mask = given.get("members", []), given.get("cards", True), given.get("mask", "***")
        if not isinstance(members, list) or not all(isinstance(each, str) and each for each in members):
            raise Err("settings /members: must be a list of names")
        if not isinstance(cards, bool):
            raise Err("settings /cards: must be true or false")
        if not isinstance(mask, str) or not mask:
            raise Err("settings /mask: must be a text")
        masker = Masker(members, cards, mask)
        return Callbacks.RESPONSE_HEAD | Callbacks.RESPONSE_BODY | Callbacks.DONE


class Heads:
    def on_request_head(self, exchange, request, end):
        return CONTINUE

    def on_response_head(self, exchange, request, response, end):
        kind = (response.header("content-type") or "").split(";")[0].strip().lower()
        if end or not (kind == "application/json" or kind.endswith("+json")):
            return CONTINUE
        if response.header("content-encoding") not in (None, "identity"):
            return Verdict_Fail("the answer is encoded: it cannot be looked at")
        masked.add(exchange)
        return CONTINUE

    def on_done(self, exchange, request):
        masked.discard(exchange)


class Bodies:
    def on_request_body(self, exchange, body, end):
        return CONTINUE

    def on_request_trailers(self, exchange, trailers):
        return CONTINUE

    def on_response_body(self, exchange, body, end):
        if exchange not in masked:
            return CONTINUE
        if not end:
            return PAUSE
        length = body.length()
        try:
            text, count = masker.mask_json(body.read(0, length))
        except (ValueError, Ambiguous, RecursionError) as error:
            return Verdict_Fail(f"the answer cannot be read: {error}")
        if count > 0:
            body.replace(0, length, text)
            log.write(log.Level.INFO, f"{count} values masked")
        return CONTINUE

    def on_response_trailers(self, exchange, trailers):
        return CONTINUE
