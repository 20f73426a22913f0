// Package proxywasm binds the proxy-wasm ABI for plain Go (1.24 and later, -buildmode=c-shared): what filters need of it.
package proxywasm

import (
	"encoding/binary"
	"strings"
	"unsafe"
)

// Action is what a callback answers.
type Action int32

const (
	Continue Action = 0
	// Pause: nothing goes on until the filter answers; of a body: the rest is collected.
	Pause Action = 1
)

// Level of a log line.
type Level int32

const (
	Debug Level = 1
	Info  Level = 2
	Warn  Level = 3
	Error Level = 4
)

const (
	requestHeaders  = 0
	responseHeaders = 2
	requestBody     = 0
	responseBody    = 1
	settingsBuffer  = 7
)

// Filter holds the settings and everything that exchanges share.
type Filter interface {
	// Configure reads the settings (JSON); an error refuses them.
	Configure(settings []byte) error
	Open() Exchange
}

// Exchange is one request and its answer. Embed Default and write the callbacks that matter.
type Exchange interface {
	// OnRequestHeaders: end means that there is no body.
	OnRequestHeaders(end bool) Action
	// OnRequestBody: size bytes are there now; end: there will not be more.
	OnRequestBody(size int, end bool) Action
	OnResponseHeaders(end bool) Action
	OnResponseBody(size int, end bool) Action
	// OnLog: the exchange is over.
	OnLog()
}

// Default lets everything pass.
type Default struct{}

func (Default) OnRequestHeaders(bool) Action    { return Continue }
func (Default) OnRequestBody(int, bool) Action  { return Continue }
func (Default) OnResponseHeaders(bool) Action   { return Continue }
func (Default) OnResponseBody(int, bool) Action { return Continue }
func (Default) OnLog()                          {}

var makeFilter func() Filter

// Register says which filter this module is. Call it once, from init.
func Register(make func() Filter) { makeFilter = make }

// Log writes a line; in a proxy it stands in the proxy's own log.
func Log(level Level, text string) { hostLog(int32(level), textAt(text), int32(len(text))) }

// RequestHeader answers the first value of a field, and whether there is one. Also :method, :path, :authority.
func RequestHeader(name string) (string, bool)  { return header(requestHeaders, name) }
func ResponseHeader(name string) (string, bool) { return header(responseHeaders, name) }

// SetRequestHeader puts one field with this value in the place of all of that name.
func SetRequestHeader(name, value string)  { setHeader(requestHeaders, name, value) }
func SetResponseHeader(name, value string) { setHeader(responseHeaders, name, value) }

func RemoveRequestHeader(name string)  { hostRemoveHeader(requestHeaders, textAt(name), int32(len(name))) }
func RemoveResponseHeader(name string) { hostRemoveHeader(responseHeaders, textAt(name), int32(len(name))) }

// RequestBody is what is there of the body.
func RequestBody(size int) []byte  { return buffer(requestBody, size) }
func ResponseBody(size int) []byte { return buffer(responseBody, size) }

// ReplaceRequestBody takes the place of the first size bytes that are there.
func ReplaceRequestBody(size int, body []byte) {
	hostSetBuffer(requestBody, 0, int32(size), bytesAt(body), int32(len(body)))
}
func ReplaceResponseBody(size int, body []byte) {
	hostSetBuffer(responseBody, 0, int32(size), bytesAt(body), int32(len(body)))
}

// Respond answers itself; the request goes no further. Return what it returns.
func Respond(status int, headers [][2]string, body []byte) Action {
	pairs := serialise(headers)
	hostSendLocalResponse(int32(status), nil, 0, bytesAt(body), int32(len(body)), bytesAt(pairs), int32(len(pairs)), -1)
	return Pause
}

// Property is an attribute as text, for instance source.address.
func Property(path string) (string, bool) {
	key := strings.ReplaceAll(path, ".", "\x00")
	var at, size uint32
	if hostGetProperty(textAt(key), int32(len(key)), unsafe.Pointer(&at), unsafe.Pointer(&size)) != 0 {
		return "", false
	}
	return string(take(at, size)), true
}

// SetProperty: later filters see it as an attribute; selvedge.log.NAME goes into the access log.
func SetProperty(path, value string) {
	hostSetProperty(textAt(path), int32(len(path)), textAt(value), int32(len(value)))
}

func header(kind int32, name string) (string, bool) {
	var at, size uint32
	if hostGetHeader(kind, textAt(name), int32(len(name)), unsafe.Pointer(&at), unsafe.Pointer(&size)) != 0 {
		return "", false
	}
	return string(take(at, size)), true
}

func setHeader(kind int32, name, value string) {
	// Hosts differ in what "replace" does to the second value of a name.
	if !strings.HasPrefix(name, ":") {
		hostRemoveHeader(kind, textAt(name), int32(len(name)))
	}
	hostReplaceHeader(kind, textAt(name), int32(len(name)), textAt(value), int32(len(value)))
}

func buffer(kind int32, size int) []byte {
	var at, length uint32
	if hostGetBuffer(kind, 0, int32(size), unsafe.Pointer(&at), unsafe.Pointer(&length)) != 0 {
		return nil
	}
	return take(at, length)
}

func serialise(headers [][2]string) []byte {
	if len(headers) == 0 {
		return nil
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(headers)))
	for _, field := range headers {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(field[0])))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(field[1])))
	}
	for _, field := range headers {
		out = append(append(append(append(out, field[0]...), 0), field[1]...), 0)
	}
	return out
}

func textAt(text string) unsafe.Pointer  { return unsafe.Pointer(unsafe.StringData(text)) }
func bytesAt(bytes []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(bytes)) }
