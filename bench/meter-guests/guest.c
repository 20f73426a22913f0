// Work of the kind that filters do, for bench/meter.ts. Every export takes a number of rounds and returns a checksum.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(#name))) uint32_t run_##name(uint32_t rounds)

EXPORT(empty) { return rounds; }

static const char HEADERS[] =
    "accept: */*\r\ncontent-type: application/json; charset=utf-8\r\nx-request-id: 0123456789abcdef\r\n"
    "cookie: a=1; b=2; session=abcdef0123\r\nuser-agent: bench/1.0 (one; two)\r\n";

/** Splits lines and cookies, lower-cases names, writes an answer. */
EXPORT(headers) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        char *copy = strdup(HEADERS), *rest = copy, *line;
        while ((line = strsep(&rest, "\r\n")) != NULL) {
            char *colon = strchr(line, ':');
            if (colon == NULL) continue;
            *colon = 0;
            for (char *at = line; *at != 0; at++) {
                if (*at >= 'A' && *at <= 'Z') *at |= 32;
            }
            if (strcmp(line, "cookie") == 0) {
                char *pairs = colon + 1, *pair;
                while ((pair = strsep(&pairs, ";")) != NULL) sum += strlen(pair);
            }
        }
        char answer[64];
        sum += snprintf(answer, sizeof answer, "x-seen: %u-%s", sum & 1023, "bench");
        free(copy);
    }
    return sum;
}

/** Checksum by a table, byte by byte. */
EXPORT(crc32) {
    static uint32_t table[256];
    if (table[1] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
            table[i] = value;
        }
    }
    uint32_t crc = ~0u;
    for (uint32_t round = 0; round < rounds; round++) {
        for (const char *at = HEADERS; *at != 0; at++) crc = crc >> 8 ^ table[(crc ^ (uint8_t)*at) & 255];
    }
    return ~crc;
}

/** Is it UTF-8, and does a word of a list stand in it? */
EXPORT(scan) {
    static const char *const WORDS[] = {"select ", "<script", "../", "union", "bench", NULL};
    uint32_t sum = 0;
    char text[sizeof HEADERS];
    memcpy(text, HEADERS, sizeof HEADERS);
    for (uint32_t round = 0; round < rounds; round++) {
        // Another text each time, or the compiler looks once.
        text[round % 64] ^= 1;
        int more = 0;
        for (const uint8_t *at = (const uint8_t *)text; *at != 0; at++) {
            if (more > 0) {
                if ((*at & 0xc0) != 0x80) break;
                more--;
            } else if (*at >= 0x80) {
                more = *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : 1;
            }
        }
        for (const char *const *word = WORDS; *word != NULL; word++) {
            const char *found = strstr(text, *word);
            sum += found == NULL ? 1 : (uint32_t)(found - text);
        }
    }
    return sum;
}

typedef struct {
    const char *name;
    uint32_t count;
} Entry;

static int byCount(const void *a, const void *b) { return (int)((const Entry *)a)->count - (int)((const Entry *)b)->count; }

/** A hash table of words, then sorted by how often they come. */
EXPORT(table) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        Entry entries[64];
        memset(entries, 0, sizeof entries);
        for (uint32_t i = 0; i + 4 < sizeof HEADERS; i += 3) {
            uint32_t hash = 2166136261u;
            for (int k = 0; k < 4; k++) hash = (hash ^ (uint8_t)HEADERS[i + k]) * 16777619u;
            uint32_t slot = hash & 63;
            for (int tries = 0; tries < 64 && entries[slot].name != NULL && memcmp(entries[slot].name, HEADERS + i, 4) != 0; tries++)
                slot = (slot + 1) & 63;
            entries[slot].name = HEADERS + i;
            entries[slot].count += hash >> 20;
        }
        qsort(entries, 64, sizeof(Entry), byCount);
        sum += entries[63].count;
    }
    return sum;
}

/** Numbers as text and back. */
EXPORT(numbers) {
    uint32_t sum = 0;
    char text[32];
    for (uint32_t round = 0; round < rounds; round++) {
        snprintf(text, sizeof text, "%.3f", (double)(round % 977) * 1.25);
        sum += (uint32_t)strtod(text, NULL);
        sum += (uint32_t)strtoul("1234567", NULL, 10);
    }
    return sum;
}
