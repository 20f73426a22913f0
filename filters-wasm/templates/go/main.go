package main

import (
	"encoding/json"
	"fmt"

	pw "example.org/{{name}}/proxywasm"
)

func init() {
	pw.Register(func() pw.Filter { return &greeter{Greeting: "hello"} })
}

// The host calls the exported functions; nothing happens here.
func main() {}

// greeter is made once for each Filter resource that names this module.
type greeter struct {
	Greeting string `json:"greeting"`
}

// Configure reads the settings; an error refuses them.
func (g *greeter) Configure(settings []byte) error {
	if err := json.Unmarshal(settings, g); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

// Open is called for each exchange.
func (g *greeter) Open() pw.Exchange { return &greeting{filter: g} }

type greeting struct {
	pw.Default
	filter *greeter
}

func (g *greeting) OnRequestHeaders(end bool) pw.Action {
	if _, blocked := pw.RequestHeader("x-block"); !blocked {
		return pw.Continue
	}
	pw.Log(pw.Info, "blocked")
	return pw.Respond(403, nil, []byte("blocked\n"))
}

func (g *greeting) OnResponseHeaders(end bool) pw.Action {
	pw.SetResponseHeader("x-greeting", g.filter.Greeting)
	return pw.Continue
}
