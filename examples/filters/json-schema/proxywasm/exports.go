package proxywasm

import "unsafe"

// What the host calls.

var (
	filters   = map[int32]Filter{}
	exchanges = map[int32]Exchange{}
	// given keeps what the host hands over until it is taken: the collector must not see it as garbage.
	given = map[uint32][]byte{}
)

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size int32) uint32 {
	bytes := make([]byte, max(size, 1))
	at := uint32(uintptr(unsafe.Pointer(unsafe.SliceData(bytes))))
	given[at] = bytes
	return at
}

// take hands over what the host wrote at an address.
func take(at, size uint32) []byte {
	bytes := given[at]
	delete(given, at)
	if uint32(len(bytes)) < size {
		return nil
	}
	return bytes[:size]
}

//go:wasmexport proxy_on_vm_start
func onVMStart(root, size int32) int32 { return 1 }

//go:wasmexport proxy_on_context_create
func onContextCreate(id, parent int32) {
	if parent == 0 {
		filters[id] = makeFilter()
	} else {
		exchanges[id] = filters[parent].Open()
	}
}

//go:wasmexport proxy_on_configure
func onConfigure(root, size int32) int32 {
	settings := []byte("{}")
	if size > 0 {
		settings = buffer(settingsBuffer, int(size))
	}
	if err := filters[root].Configure(settings); err != nil {
		Log(Error, err.Error())
		return 0
	}
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(id, count, end int32) int32 {
	return int32(exchanges[id].OnRequestHeaders(end != 0))
}

//go:wasmexport proxy_on_request_body
func onRequestBody(id, size, end int32) int32 {
	return int32(exchanges[id].OnRequestBody(int(size), end != 0))
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(id, count, end int32) int32 {
	return int32(exchanges[id].OnResponseHeaders(end != 0))
}

//go:wasmexport proxy_on_response_body
func onResponseBody(id, size, end int32) int32 {
	return int32(exchanges[id].OnResponseBody(int(size), end != 0))
}

//go:wasmexport proxy_on_log
func onLog(id int32) {
	if exchange, ok := exchanges[id]; ok {
		exchange.OnLog()
	}
}

//go:wasmexport proxy_on_delete
func onDelete(id int32) {
	delete(exchanges, id)
	delete(filters, id)
}
