"""A filter: the classes below are what a proxy calls."""

import json

from componentize_py_types import Err
from wit_world.imports import log
from wit_world.imports.types import Callbacks, LocalResponse, Verdict_Continue, Verdict_Respond

CONTINUE = Verdict_Continue()

greeting = "hello"


class Configuration:
    def configure(self, settings):
        """Reads the settings, JSON text; an Err refuses them. Answers which callbacks are wanted."""
        global greeting
        greeting = json.loads(settings).get("greeting", "hello")
        if not isinstance(greeting, str):
            raise Err("settings /greeting: must be text")
        return Callbacks.REQUEST_HEAD | Callbacks.RESPONSE_HEAD


class Heads:
    def on_request_head(self, exchange, request, end):
        if request.header("x-block") is None:
            return CONTINUE
        log.write(log.Level.INFO, "blocked")
        return Verdict_Respond(LocalResponse(403, [], b"blocked\n"))

    def on_response_head(self, exchange, request, response, end):
        response.set_header("x-greeting", greeting)
        return CONTINUE

    def on_done(self, exchange, request):
        pass
