;; The least that is a proxy-wasm filter. Cases put what they try in place of the lines that begin with `;; the`.
(module
  (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
  ;; the imports
  (memory (export "memory") 1)
  (data (i32.const 0x100) "initialize main start vm_start configure request_headers")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 0x1000))
  (func $say (param $text i32) (param $size i32) (drop (call $proxy_log (i32.const 2) (local.get $text) (local.get $size))))
  ;; the rest
)
