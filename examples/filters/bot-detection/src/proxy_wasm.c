#include "proxy_wasm.h"

#include <stdlib.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT(proxy_log) extern uint32_t proxy_log(uint32_t level, const char *text, size_t size);
IMPORT(proxy_get_property)
extern uint32_t proxy_get_property(const char *path, size_t path_size, const char **at, size_t *size);
IMPORT(proxy_get_header_map_value)
extern uint32_t proxy_get_header_map_value(uint32_t map, const char *name, size_t name_size, const char **at, size_t *size);
IMPORT(proxy_replace_header_map_value)
extern uint32_t proxy_replace_header_map_value(uint32_t map, const char *name, size_t name_size, const char *value, size_t value_size);
IMPORT(proxy_remove_header_map_value)
extern uint32_t proxy_remove_header_map_value(uint32_t map, const char *name, size_t name_size);
IMPORT(proxy_get_buffer_bytes)
extern uint32_t proxy_get_buffer_bytes(uint32_t buffer, uint32_t start, uint32_t length, const char **at, size_t *size);
IMPORT(proxy_set_buffer_bytes)
extern uint32_t proxy_set_buffer_bytes(uint32_t buffer, uint32_t start, uint32_t length, const char *data, size_t size);
IMPORT(proxy_send_local_response)
extern uint32_t proxy_send_local_response(uint32_t status, const char *details, size_t details_size, const char *body,
                                          size_t body_size, const char *headers, size_t headers_size, uint32_t grpc_status);

/* ---- memory: what the host hands over, and scratch data, lives until the next callback begins. */

typedef struct block {
  struct block *next;
  char bytes[];
} block;

static block *blocks;

static void *scratch(size_t size) {
  block *made = malloc(sizeof(block) + size + 1);
  if (made == NULL) __builtin_trap();
  made->next = blocks;
  blocks = made;
  return made->bytes;
}

static void begin(void) {
  while (blocks != NULL) {
    block *next = blocks->next;
    free(blocks);
    blocks = next;
  }
}

/* ---- what the host calls */

EXPORT(proxy_abi_version_0_2_1) void proxy_abi_version(void) {}
EXPORT(proxy_on_memory_allocate) void *proxy_on_memory_allocate(size_t size) { return scratch(size); }
EXPORT(proxy_on_vm_start) uint32_t proxy_on_vm_start(uint32_t root, uint32_t size) { return 1; }
EXPORT(proxy_on_context_create) void proxy_on_context_create(uint32_t id, uint32_t parent) { begin(); }

EXPORT(proxy_on_configure) uint32_t proxy_on_configure(uint32_t root, uint32_t size) {
  begin();
  pw_text settings = pw_literal("{}");
  if (size > 0 && proxy_get_buffer_bytes(7, 0, size, &settings.at, &settings.size) != 0) return 0;
  return filter_configure(settings);
}
EXPORT(proxy_on_request_headers) uint32_t proxy_on_request_headers(uint32_t id, uint32_t count, uint32_t end) {
  begin();
  return filter_request_headers(id, end != 0);
}
EXPORT(proxy_on_request_body) uint32_t proxy_on_request_body(uint32_t id, uint32_t size, uint32_t end) {
  begin();
  return filter_request_body(id, size, end != 0);
}
EXPORT(proxy_on_response_headers) uint32_t proxy_on_response_headers(uint32_t id, uint32_t count, uint32_t end) {
  begin();
  return filter_response_headers(id, end != 0);
}
EXPORT(proxy_on_response_body) uint32_t proxy_on_response_body(uint32_t id, uint32_t size, uint32_t end) {
  begin();
  return filter_response_body(id, size, end != 0);
}

/* ---- what a filter calls */

pw_text pw_literal(const char *text) { return (pw_text){text, strlen(text)}; }

bool pw_equals(pw_text text, const char *other) {
  return text.at != NULL && strlen(other) == text.size && memcmp(text.at, other, text.size) == 0;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool pw_contains(pw_text text, pw_text part) {
  if (text.at == NULL || part.size > text.size) return false;
  for (size_t from = 0; from + part.size <= text.size; from++) {
    size_t i = 0;
    while (i < part.size && lower(text.at[from + i]) == lower(part.at[i])) i++;
    if (i == part.size) return true;
  }
  return false;
}

void pw_log(pw_level level, const char *text) { proxy_log(level, text, strlen(text)); }

pw_text pw_header(pw_map map, const char *name) {
  pw_text value = {NULL, 0};
  if (proxy_get_header_map_value(map, name, strlen(name), &value.at, &value.size) != 0) return (pw_text){NULL, 0};
  /* An empty value needs no memory, and the host may give none. */
  return value.at == NULL ? pw_literal("") : value;
}

void pw_set_header(pw_map map, const char *name, pw_text value) {
  /* Hosts differ in what "replace" does to the second value of a name. */
  if (name[0] != ':') pw_remove_header(map, name);
  proxy_replace_header_map_value(map, name, strlen(name), value.at, value.size);
}

void pw_remove_header(pw_map map, const char *name) { proxy_remove_header_map_value(map, name, strlen(name)); }

pw_text pw_read_body(pw_body body, size_t size) {
  pw_text bytes = {NULL, 0};
  if (proxy_get_buffer_bytes(body, 0, size, &bytes.at, &bytes.size) != 0) return (pw_text){NULL, 0};
  return bytes;
}

void pw_replace_body(pw_body body, size_t size, pw_text with) { proxy_set_buffer_bytes(body, 0, size, with.at, with.size); }

pw_text pw_property(const char *path) {
  size_t size = strlen(path);
  char *key = scratch(size);
  for (size_t i = 0; i < size; i++) key[i] = path[i] == '.' ? 0 : path[i];
  pw_text value = {NULL, 0};
  if (proxy_get_property(key, size, &value.at, &value.size) != 0) return (pw_text){NULL, 0};
  return value;
}

pw_action pw_respond(uint32_t status, const char *body) {
  proxy_send_local_response(status, NULL, 0, body, strlen(body), NULL, 0, (uint32_t)-1);
  return PW_PAUSE;
}

pw_text pw_keep(pw_text text) {
  char *copy = malloc(text.size + 1);
  if (copy == NULL) __builtin_trap();
  memcpy(copy, text.at, text.size);
  copy[text.size] = 0;
  return (pw_text){copy, text.size};
}
