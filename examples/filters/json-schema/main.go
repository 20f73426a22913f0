package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	pw "example.org/json-schema/proxywasm"
)

func init() {
	pw.Register(func() pw.Filter {
		return &validator{Methods: []string{"POST", "PUT", "PATCH"}, MaxBytes: 256 * 1024}
	})
}

// The host calls the exported functions; nothing happens here.
func main() {}

type validator struct {
	Schema   json.RawMessage `json:"schema"`
	Methods  []string        `json:"methods"`
	MaxBytes int             `json:"maxBytes"`
	schema   *schema
}

func (v *validator) Configure(settings []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(settings))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if v.Schema == nil {
		return errors.New("settings /schema: is missing")
	}
	compiled, err := compileSchema(v.Schema)
	if err != nil {
		return fmt.Errorf("settings /schema%w", err)
	}
	v.schema = compiled
	return nil
}

func (v *validator) Open() pw.Exchange { return &exchange{filter: v} }

type exchange struct {
	pw.Default
	filter *validator
	check  bool
}

func (e *exchange) OnRequestHeaders(end bool) pw.Action {
	method, _ := pw.RequestHeader(":method")
	if !slices.Contains(e.filter.Methods, method) {
		return pw.Continue
	}
	if kind, _ := pw.RequestHeader("content-type"); !isJSON(kind) {
		return refuse(415, "The body must be JSON.")
	}
	if end {
		return refuse(400, "The body is missing.")
	}
	e.check = true
	return pw.Continue
}

// OnRequestBody collects the body: nothing of it goes on before it is known to fit.
func (e *exchange) OnRequestBody(size int, end bool) pw.Action {
	if !e.check {
		return pw.Continue
	}
	if size > e.filter.MaxBytes {
		return refuse(413, "The body is too large.")
	}
	if !end {
		return pw.Pause
	}
	e.check = false
	value, err := decode(pw.RequestBody(size))
	if err != nil {
		return refuse(400, "The body is not JSON.")
	}
	if problems := e.filter.schema.validate(value, "", nil); len(problems) > 0 {
		slices.Sort(problems)
		return refuse(422, "The body does not fit the schema.", problems...)
	}
	return pw.Continue
}

func isJSON(contentType string) bool {
	kind := strings.ToLower(strings.TrimSpace(strings.SplitN(contentType, ";", 2)[0]))
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// decode reads exactly one value: what stands behind it, another reader might take for the body.
func decode(body []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	return value, nil
}

// refuse answers with a problem document (RFC 9457).
func refuse(status int, title string, problems ...string) pw.Action {
	pw.Log(pw.Info, fmt.Sprintf("refused with %d: %s", status, title))
	body, _ := json.Marshal(struct {
		Title    string   `json:"title"`
		Status   int      `json:"status"`
		Problems []string `json:"problems,omitempty"`
	}{title, status, problems})
	return pw.Respond(status, [][2]string{{"content-type", "application/problem+json"}}, body)
}
