/* Bindings to proxy-wasm 0.2.1 (https://github.com/proxy-wasm/spec): what filters need of it. proxy_wasm.c is the rest. */
#ifndef PROXY_WASM_H
#define PROXY_WASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that are valid until the callback ends; not terminated by NUL. `at` is NULL when there is nothing. */
typedef struct {
  const char *at;
  size_t size;
} pw_text;

typedef enum { PW_CONTINUE = 0, PW_PAUSE = 1 } pw_action;
typedef enum { PW_DEBUG = 1, PW_INFO = 2, PW_WARN = 3, PW_ERROR = 4 } pw_level;
typedef enum { PW_REQUEST_HEADERS = 0, PW_RESPONSE_HEADERS = 2 } pw_map;
typedef enum { PW_REQUEST_BODY = 0, PW_RESPONSE_BODY = 1 } pw_body;

/* A filter writes these five. `context` names the exchange. */
bool filter_configure(pw_text settings);           /* false refuses the settings: log the reason before */
pw_action filter_request_headers(uint32_t context, bool end);
pw_action filter_request_body(uint32_t context, size_t size, bool end);
pw_action filter_response_headers(uint32_t context, bool end);
pw_action filter_response_body(uint32_t context, size_t size, bool end);

/* What a filter may do. */
pw_text pw_literal(const char *text);
bool pw_equals(pw_text text, const char *other);
bool pw_contains(pw_text text, pw_text part);      /* ASCII letters in any case */
void pw_log(pw_level level, const char *text);
pw_text pw_header(pw_map map, const char *name);   /* the first value; also ":method", ":path", ":authority" */
void pw_set_header(pw_map map, const char *name, pw_text value);
void pw_remove_header(pw_map map, const char *name);
pw_text pw_read_body(pw_body body, size_t size);
void pw_replace_body(pw_body body, size_t size, pw_text with);
pw_text pw_property(const char *path);             /* "source.address" */
pw_action pw_respond(uint32_t status, const char *body);

/* Settings: JSON that is only read. */
bool pw_json_valid(pw_text json);
pw_text pw_json_member(pw_text object, const char *name); /* the member's value as it is written; NULL: none */
pw_text pw_json_element(pw_text list, size_t index);      /* likewise */
bool pw_json_is_text(pw_text value);
pw_text pw_json_text(pw_text value);               /* without quotes, escapes resolved */

/* Memory that lasts until the module ends, for settings. */
pw_text pw_keep(pw_text text);

#endif
