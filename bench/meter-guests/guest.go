// Work of the kind that filters do, for bench/meter.ts. Every export takes a number of rounds and returns a checksum.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"regexp"
	"sort"
	"strings"
)

//go:wasmexport empty
func empty(rounds uint32) uint32 { return rounds }

const text = `{"user": {"id": 1234, "name": "Ada", "roles": ["admin", "dev", "ops"]}, "items": [{"sku": "a-1", "n": 3}], "ok": true, "total": 123.45}`

//go:wasmexport json
func jsonRounds(rounds uint32) uint32 {
	sum := 0
	for i := uint32(0); i < rounds; i++ {
		var value map[string]any
		if json.Unmarshal([]byte(text), &value) != nil {
			return 0
		}
		out, _ := json.Marshal(value)
		sum += len(out)
	}
	return uint32(sum)
}

var pattern = regexp.MustCompile(`"([a-z]+)": *("[^"]*"|\d+)`)

//go:wasmexport regexp
func regexpRounds(rounds uint32) uint32 {
	sum := 0
	for i := uint32(0); i < rounds; i++ {
		sum += len(pattern.FindAllString(text, -1))
	}
	return uint32(sum)
}

//go:wasmexport sha256
func sha256Rounds(rounds uint32) uint32 {
	sum := uint32(0)
	for i := uint32(0); i < rounds; i++ {
		digest := sha256.Sum256([]byte(text))
		sum += uint32(digest[0])
	}
	return sum
}

//go:wasmexport headers
func headersRounds(rounds uint32) uint32 {
	sum := 0
	for i := uint32(0); i < rounds; i++ {
		fields := map[string]string{}
		for _, part := range strings.Split("accept: */*\ncookie: a=1; b=2\nuser-agent: bench", "\n") {
			name, value, _ := strings.Cut(part, ": ")
			fields[strings.ToLower(name)] = value
		}
		names := make([]string, 0, len(fields))
		for name := range fields {
			names = append(names, name)
		}
		sort.Strings(names)
		sum += len(strings.Join(names, ","))
	}
	return uint32(sum)
}

func main() {}
