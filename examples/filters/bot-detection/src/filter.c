#include "proxy_wasm.h"

#include <stdio.h>

#define TOKENS_MAX 64

typedef struct {
  pw_text tokens[TOKENS_MAX];
  size_t count;
} token_list;

static token_list deny;
static token_list allow;
static bool mark;
static bool require_user_agent;

/* A list of tokens that are not empty; false: it is something else. */
static bool read_list(pw_text list, token_list *into) {
  into->count = 0;
  if (list.at == NULL) return true;
  if (list.at[0] != '[') return false;
  for (pw_text each; (each = pw_json_element(list, into->count)).at != NULL; into->count++) {
    if (into->count == TOKENS_MAX || !pw_json_is_text(each)) return false;
    into->tokens[into->count] = pw_json_text(each);
    if (into->tokens[into->count].size == 0) return false;
  }
  return true;
}

static const pw_text *find(const token_list *list, pw_text text) {
  for (size_t i = 0; i < list->count; i++)
    if (pw_contains(text, list->tokens[i])) return &list->tokens[i];
  return NULL;
}

static bool refuse(const char *why) {
  pw_log(PW_ERROR, why);
  return false;
}

bool filter_configure(pw_text settings) {
  if (!pw_json_valid(settings)) return refuse("settings are not JSON");
  if (!read_list(pw_json_member(settings, "deny"), &deny) || deny.count == 0)
    return refuse("settings /deny: must be a list of 1 to 64 texts that are not empty");
  if (!read_list(pw_json_member(settings, "allow"), &allow))
    return refuse("settings /allow: must be a list of at most 64 texts that are not empty");
  pw_text mode = pw_json_member(settings, "mode");
  mark = pw_equals(mode, "\"mark\"");
  if (mode.at != NULL && !mark && !pw_equals(mode, "\"refuse\"")) return refuse("settings /mode: must be refuse or mark");
  pw_text required = pw_json_member(settings, "requireUserAgent");
  require_user_agent = !pw_equals(required, "false");
  if (required.at != NULL && require_user_agent && !pw_equals(required, "true"))
    return refuse("settings /requireUserAgent: must be true or false");
  return true;
}

/* What a caller is refused for; NULL at: nothing. */
static pw_text judge(void) {
  pw_text agent = pw_header(PW_REQUEST_HEADERS, "user-agent");
  if (agent.at == NULL || agent.size == 0) return require_user_agent ? pw_literal("no user-agent") : agent;
  if (find(&allow, agent) != NULL) return (pw_text){NULL, 0};
  const pw_text *token = find(&deny, agent);
  return token == NULL ? (pw_text){NULL, 0} : *token;
}

pw_action filter_request_headers(uint32_t context, bool end) {
  /* Only this filter says who is a bot. */
  if (mark) pw_remove_header(PW_REQUEST_HEADERS, "x-bot");
  pw_text reason = judge();
  if (reason.at == NULL || reason.size == 0) return PW_CONTINUE;
  if (mark) {
    pw_set_header(PW_REQUEST_HEADERS, "x-bot", reason);
    return PW_CONTINUE;
  }
  char line[128];
  snprintf(line, sizeof line, "refused: %.*s", (int)reason.size, reason.at);
  pw_log(PW_INFO, line);
  return pw_respond(403, "automated callers are not served here\n");
}

pw_action filter_request_body(uint32_t context, size_t size, bool end) { return PW_CONTINUE; }
pw_action filter_response_headers(uint32_t context, bool end) { return PW_CONTINUE; }
pw_action filter_response_body(uint32_t context, size_t size, bool end) { return PW_CONTINUE; }
