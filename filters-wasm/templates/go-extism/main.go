package main

import (
	"encoding/json"
	"fmt"

	"github.com/extism/go-pdk"
)

// The host calls the exported functions; nothing happens here.
func main() {}

type settings struct {
	Greeting string `json:"greeting"`
}

// greeting is read once, when an instance starts.
var greeting = "hello"

// request has what of a request this filter looks at; there is more (docs/filters.md).
type request struct {
	Headers [][2]string `json:"headers"`
}

type answer struct {
	Headers *edits    `json:"headers,omitempty"`
	Respond *response `json:"respond,omitempty"`
}

type edits struct {
	Set [][2]string `json:"set"`
}

type response struct {
	Status int    `json:"status"`
	Body   string `json:"body"`
}

// An error refuses the settings.
//
//go:wasmexport on_configure
func onConfigure() int32 {
	read := settings{Greeting: greeting}
	if err := json.Unmarshal(pdk.Input(), &read); err != nil {
		return fail(fmt.Errorf("settings: %w", err))
	}
	greeting = read.Greeting
	return 0
}

//go:wasmexport on_request
func onRequest() int32 {
	var got request
	if err := json.Unmarshal(pdk.Input(), &got); err != nil {
		return fail(err)
	}
	for _, header := range got.Headers {
		if header[0] == "x-block" {
			pdk.Log(pdk.LogInfo, "blocked")
			return send(answer{Respond: &response{Status: 403, Body: "blocked\n"}})
		}
	}
	return 0
}

//go:wasmexport on_response
func onResponse() int32 {
	return send(answer{Headers: &edits{Set: [][2]string{{"x-greeting", greeting}}}})
}

func send(what answer) int32 {
	if err := pdk.OutputJSON(what); err != nil {
		return fail(err)
	}
	return 0
}

// fail ends the exchange as the filter's onFailure says.
func fail(err error) int32 {
	pdk.SetError(err)
	return 1
}
