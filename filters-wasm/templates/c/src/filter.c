#include "proxy_wasm.h"

static pw_text greeting;

/* Called once for each Filter resource that names this module. */
bool filter_configure(pw_text settings) {
  greeting = pw_literal("hello");
  if (!pw_json_valid(settings)) {
    pw_log(PW_ERROR, "settings are not JSON");
    return false;
  }
  pw_text value = pw_json_member(settings, "greeting");
  if (value.at == NULL) return true;
  if (!pw_json_is_text(value)) {
    pw_log(PW_ERROR, "settings /greeting: must be text");
    return false;
  }
  greeting = pw_json_text(value);
  return true;
}

pw_action filter_request_headers(uint32_t context, bool end) {
  if (pw_header(PW_REQUEST_HEADERS, "x-block").at == NULL) return PW_CONTINUE;
  pw_log(PW_INFO, "blocked");
  return pw_respond(403, "blocked\n");
}

pw_action filter_response_headers(uint32_t context, bool end) {
  pw_set_header(PW_RESPONSE_HEADERS, "x-greeting", greeting);
  return PW_CONTINUE;
}

pw_action filter_request_body(uint32_t context, size_t size, bool end) { return PW_CONTINUE; }
pw_action filter_response_body(uint32_t context, size_t size, bool end) { return PW_CONTINUE; }
