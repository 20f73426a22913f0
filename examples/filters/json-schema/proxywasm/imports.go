package proxywasm

import "unsafe"

// Functions of the host (proxy-wasm 0.2.1, https://github.com/proxy-wasm/spec). All answer a status; 0 is ok.

//go:wasmimport env proxy_log
func hostLog(level int32, text unsafe.Pointer, size int32) int32

//go:wasmimport env proxy_get_property
func hostGetProperty(path unsafe.Pointer, pathSize int32, outAt, outSize unsafe.Pointer) int32

//go:wasmimport env proxy_set_property
func hostSetProperty(path unsafe.Pointer, pathSize int32, value unsafe.Pointer, valueSize int32) int32

//go:wasmimport env proxy_get_header_map_value
func hostGetHeader(kind int32, name unsafe.Pointer, nameSize int32, outAt, outSize unsafe.Pointer) int32

//go:wasmimport env proxy_add_header_map_value
func hostAddHeader(kind int32, name unsafe.Pointer, nameSize int32, value unsafe.Pointer, valueSize int32) int32

//go:wasmimport env proxy_replace_header_map_value
func hostReplaceHeader(kind int32, name unsafe.Pointer, nameSize int32, value unsafe.Pointer, valueSize int32) int32

//go:wasmimport env proxy_remove_header_map_value
func hostRemoveHeader(kind int32, name unsafe.Pointer, nameSize int32) int32

//go:wasmimport env proxy_get_buffer_bytes
func hostGetBuffer(buffer, start, length int32, outAt, outSize unsafe.Pointer) int32

//go:wasmimport env proxy_set_buffer_bytes
func hostSetBuffer(buffer, start, length int32, data unsafe.Pointer, size int32) int32

//go:wasmimport env proxy_send_local_response
func hostSendLocalResponse(status int32, details unsafe.Pointer, detailsSize int32, body unsafe.Pointer, bodySize int32,
	headers unsafe.Pointer, headersSize int32, grpcStatus int32) int32
