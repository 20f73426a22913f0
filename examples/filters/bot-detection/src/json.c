#include "proxy_wasm.h"

#include <stdlib.h>
#include <string.h>

/* A JSON text that is walked, not built: settings are read once. */

#define DEPTH_MAX 32

typedef struct {
  const char *at;
  const char *end;
} cursor;

static void space(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t')) c->at++;
}

static bool take(cursor *c, char wanted) {
  space(c);
  if (c->at >= c->end || *c->at != wanted) return false;
  c->at++;
  return true;
}

static bool skip_text(cursor *c) {
  if (!take(c, '"')) return false;
  while (c->at < c->end && *c->at != '"') {
    if ((unsigned char)*c->at < 0x20) return false;
    c->at += *c->at == '\\' ? 2 : 1;
  }
  return take(c, '"');
}

static bool skip(cursor *c, int depth);

static bool skip_members(cursor *c, int depth, bool object) {
  const char close = object ? '}' : ']';
  c->at++;
  if (take(c, close)) return true;
  do {
    space(c);
    if (object && (!skip_text(c) || !take(c, ':'))) return false;
    if (!skip(c, depth + 1)) return false;
  } while (take(c, ','));
  return take(c, close);
}

static bool skip_word(cursor *c, const char *word) {
  size_t size = strlen(word);
  if ((size_t)(c->end - c->at) < size || memcmp(c->at, word, size) != 0) return false;
  c->at += size;
  return true;
}

static bool skip(cursor *c, int depth) {
  space(c);
  if (c->at >= c->end || depth > DEPTH_MAX) return false;
  if (*c->at == '"') return skip_text(c);
  if (*c->at == '{' || *c->at == '[') return skip_members(c, depth, *c->at == '{');
  if (skip_word(c, "true") || skip_word(c, "false") || skip_word(c, "null")) return true;
  const char *from = c->at;
  while (c->at < c->end && strchr("+-.eE0123456789", *c->at) != NULL && *c->at != 0) c->at++;
  return c->at > from;
}

bool pw_json_valid(pw_text json) {
  cursor c = {json.at, json.at + json.size};
  if (json.at == NULL || !skip(&c, 0)) return false;
  space(&c);
  return c.at == c.end;
}

static pw_text nothing(void) { return (pw_text){NULL, 0}; }

static pw_text value_at(cursor *c) {
  space(c);
  const char *from = c->at;
  return skip(c, 0) ? (pw_text){from, (size_t)(c->at - from)} : nothing();
}

pw_text pw_json_member(pw_text object, const char *name) {
  cursor c = {object.at, object.at + object.size};
  if (object.at == NULL || !take(&c, '{') || take(&c, '}')) return nothing();
  do {
    pw_text key = value_at(&c);
    if (key.at == NULL || !take(&c, ':')) return nothing();
    pw_text value = value_at(&c);
    if (value.at == NULL) return nothing();
    if (pw_equals(pw_json_text(key), name)) return value;
  } while (take(&c, ','));
  return nothing();
}

pw_text pw_json_element(pw_text list, size_t index) {
  cursor c = {list.at, list.at + list.size};
  if (list.at == NULL || !take(&c, '[') || take(&c, ']')) return nothing();
  for (;;) {
    pw_text value = value_at(&c);
    if (value.at == NULL || index == 0) return value;
    index--;
    if (!take(&c, ',')) return nothing();
  }
}

bool pw_json_is_text(pw_text value) { return value.size >= 2 && value.at[0] == '"'; }

static char *put_utf8(char *out, unsigned long code) {
  if (code < 0x80) *out++ = (char)code;
  else if (code < 0x800) {
    *out++ = (char)(0xc0 | (code >> 6));
    *out++ = (char)(0x80 | (code & 0x3f));
  } else {
    *out++ = (char)(0xe0 | (code >> 12));
    *out++ = (char)(0x80 | ((code >> 6) & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  }
  return out;
}

/* Escapes never make a text longer. Kept as long as the module lives, so use it for settings. */
pw_text pw_json_text(pw_text value) {
  if (!pw_json_is_text(value)) return nothing();
  char *text = malloc(value.size);
  if (text == NULL) __builtin_trap();
  char *out = text;
  for (const char *p = value.at + 1; p < value.at + value.size - 1; p++) {
    if (*p != '\\') {
      *out++ = *p;
      continue;
    }
    p++;
    const char *plain = strchr("n\nt\tr\rb\bf\f", *p);
    if (*p == 'u' && p + 4 < value.at + value.size) {
      char digits[5] = {p[1], p[2], p[3], p[4], 0};
      out = put_utf8(out, strtoul(digits, NULL, 16));
      p += 4;
    } else *out++ = plain != NULL && *p >= 'a' ? plain[1] : *p;
  }
  return (pw_text){text, (size_t)(out - text)};
}
