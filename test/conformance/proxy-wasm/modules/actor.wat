;; A proxy-wasm filter that does what its configuration says: the guest of most cases in ../cases. README.md has its language.
;;
;; The configuration is a script of lines
;;
;;     CALLBACK[:end|:more|:COUNT] CALL ARGUMENT … [> SHOW …] [=> anything]
;;
;; When the host runs a callback, every line that begins with its name is run, in order: the host function CALL is called, and
;; `CALLBACK CALL ARGUMENT … => STATUS [what is shown]` is logged at level info. What stands behind `=>` in the script is for
;; those who compare.
(module
  (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_log_level" (func $proxy_get_log_level (param i32) (result i32)))
  (import "env" "proxy_get_property" (func $proxy_get_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $proxy_set_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $proxy_get_header_map_value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $proxy_add_header_map_value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $proxy_replace_header_map_value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $proxy_remove_header_map_value (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $proxy_get_header_map_pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_header_map_pairs" (func $proxy_set_header_map_pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_size" (func $proxy_get_header_map_size (param i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $proxy_get_buffer_bytes (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $proxy_set_buffer_bytes (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_status" (func $proxy_get_buffer_status (param i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $proxy_send_local_response (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $proxy_continue_stream (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $proxy_close_stream (param i32) (result i32)))
  (import "env" "proxy_http_call" (func $proxy_http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_status" (func $proxy_get_status (param i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_call" (func $proxy_grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_stream" (func $proxy_grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_send" (func $proxy_grpc_send (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_grpc_cancel" (func $proxy_grpc_cancel (param i32) (result i32)))
  (import "env" "proxy_grpc_close" (func $proxy_grpc_close (param i32) (result i32)))
  (import "env" "proxy_get_shared_data" (func $proxy_get_shared_data (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $proxy_set_shared_data (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_register_shared_queue" (func $proxy_register_shared_queue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_resolve_shared_queue" (func $proxy_resolve_shared_queue (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_enqueue_shared_queue" (func $proxy_enqueue_shared_queue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_dequeue_shared_queue" (func $proxy_dequeue_shared_queue (param i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $proxy_define_metric (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_record_metric" (func $proxy_record_metric (param i32 i64) (result i32)))
  (import "env" "proxy_increment_metric" (func $proxy_increment_metric (param i32 i64) (result i32)))
  (import "env" "proxy_get_metric" (func $proxy_get_metric (param i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $proxy_set_tick_period_milliseconds (param i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $proxy_get_current_time_nanoseconds (param i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $proxy_set_effective_context (param i32) (result i32)))
  (import "env" "proxy_done" (func $proxy_done (result i32)))
  (import "env" "proxy_call_foreign_function" (func $proxy_call_foreign_function (param i32 i32 i32 i32 i32 i32) (result i32)))

  (memory (export "memory") 2)
  (table 64 funcref)

  ;; Memory:
  ;;   0x0100  slots that host functions write to, 8 of 16 bytes (&0 to &7)
  ;;   0x0200  arguments of the call in hand, 16 of 8 bytes
  ;;   0x0300  parameters of the callback in hand, 5 of 4 bytes ($1 to $5)
  ;;   0x0340  how often each callback ran, 4 bytes each
  ;;   0x0400  names of statuses, 24 bytes each; 0x0c00 names of callbacks, likewise
  ;;   0x0800  names of calls, each followed by a blank, in the order of the table
  ;;   0x2000  the line that will be logged; 0x8000 texts of arguments; 0x10000 what the host allocates
  (data (i32.const 0x400)
    "OK                      NOT_FOUND               BAD_ARGUMENT            SERIALIZATION_FAILURE   "
    "PARSE_FAILURE           BAD_EXPRESSION          INVALID_MEMORY_ACCESS   EMPTY                   "
    "CAS_MISMATCH            RESULT_MISMATCH         INTERNAL_FAILURE        BROKEN_CONNECTION       "
    "UNIMPLEMENTED           ")
  (data (i32.const 0xc00)
    "context_create          vm_start                configure               request_headers         "
    "request_body            request_trailers        response_headers        response_body           "
    "response_trailers       http_call_response      queue_ready             tick                    "
    "done                    log                     delete                  foreign_function        ")
  (data (i32.const 0x800)
    "log get_log_level get_property set_property get_header_map_value "
    "add_header_map_value replace_header_map_value remove_header_map_value get_header_map_pairs set_header_map_pairs "
    "get_header_map_size get_buffer_bytes set_buffer_bytes get_buffer_status send_local_response "
    "continue_stream close_stream http_call get_status grpc_call "
    "grpc_stream grpc_send grpc_cancel grpc_close get_shared_data "
    "set_shared_data register_shared_queue resolve_shared_queue enqueue_shared_queue dequeue_shared_queue "
    "define_metric record_metric increment_metric get_metric set_tick_period_milliseconds "
    "get_current_time_nanoseconds set_effective_context done call_foreign_function "
    "\00")

  (func $do_log (result i32) (call $proxy_log (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_get_log_level (result i32) (call $proxy_get_log_level (call $arg (i32.const 0))))
  (func $do_get_property (result i32) (call $proxy_get_property (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))))
  (func $do_set_property (result i32) (call $proxy_set_property (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))))
  (func $do_get_header_map_value (result i32) (call $proxy_get_header_map_value (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4))))
  (func $do_add_header_map_value (result i32) (call $proxy_add_header_map_value (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4))))
  (func $do_replace_header_map_value (result i32) (call $proxy_replace_header_map_value (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4))))
  (func $do_remove_header_map_value (result i32) (call $proxy_remove_header_map_value (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_get_header_map_pairs (result i32) (call $proxy_get_header_map_pairs (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_set_header_map_pairs (result i32) (call $proxy_set_header_map_pairs (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_get_header_map_size (result i32) (call $proxy_get_header_map_size (call $arg (i32.const 0)) (call $arg (i32.const 1))))
  (func $do_get_buffer_bytes (result i32) (call $proxy_get_buffer_bytes (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4))))
  (func $do_set_buffer_bytes (result i32) (call $proxy_set_buffer_bytes (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4))))
  (func $do_get_buffer_status (result i32) (call $proxy_get_buffer_status (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_send_local_response (result i32) (call $proxy_send_local_response (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4)) (call $arg (i32.const 5)) (call $arg (i32.const 6)) (call $arg (i32.const 7))))
  (func $do_continue_stream (result i32) (call $proxy_continue_stream (call $arg (i32.const 0))))
  (func $do_close_stream (result i32) (call $proxy_close_stream (call $arg (i32.const 0))))
  (func $do_http_call (result i32) (call $proxy_http_call (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4)) (call $arg (i32.const 5)) (call $arg (i32.const 6)) (call $arg (i32.const 7)) (call $arg (i32.const 8)) (call $arg (i32.const 9))))
  (func $do_get_status (result i32) (call $proxy_get_status (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_grpc_call (result i32) (call $proxy_grpc_call (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4)) (call $arg (i32.const 5)) (call $arg (i32.const 6)) (call $arg (i32.const 7)) (call $arg (i32.const 8)) (call $arg (i32.const 9)) (call $arg (i32.const 10)) (call $arg (i32.const 11))))
  (func $do_grpc_stream (result i32) (call $proxy_grpc_stream (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4)) (call $arg (i32.const 5)) (call $arg (i32.const 6)) (call $arg (i32.const 7)) (call $arg (i32.const 8))))
  (func $do_grpc_send (result i32) (call $proxy_grpc_send (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))))
  (func $do_grpc_cancel (result i32) (call $proxy_grpc_cancel (call $arg (i32.const 0))))
  (func $do_grpc_close (result i32) (call $proxy_grpc_close (call $arg (i32.const 0))))
  (func $do_get_shared_data (result i32) (call $proxy_get_shared_data (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4))))
  (func $do_set_shared_data (result i32) (call $proxy_set_shared_data (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4))))
  (func $do_register_shared_queue (result i32) (call $proxy_register_shared_queue (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_resolve_shared_queue (result i32) (call $proxy_resolve_shared_queue (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4))))
  (func $do_enqueue_shared_queue (result i32) (call $proxy_enqueue_shared_queue (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_dequeue_shared_queue (result i32) (call $proxy_dequeue_shared_queue (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2))))
  (func $do_define_metric (result i32) (call $proxy_define_metric (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3))))
  (func $do_record_metric (result i32) (call $proxy_record_metric (call $arg (i32.const 0)) (call $arg64 (i32.const 1))))
  (func $do_increment_metric (result i32) (call $proxy_increment_metric (call $arg (i32.const 0)) (call $arg64 (i32.const 1))))
  (func $do_get_metric (result i32) (call $proxy_get_metric (call $arg (i32.const 0)) (call $arg (i32.const 1))))
  (func $do_set_tick_period_milliseconds (result i32) (call $proxy_set_tick_period_milliseconds (call $arg (i32.const 0))))
  (func $do_get_current_time_nanoseconds (result i32) (call $proxy_get_current_time_nanoseconds (call $arg (i32.const 0))))
  (func $do_set_effective_context (result i32) (call $proxy_set_effective_context (call $arg (i32.const 0))))
  (func $do_done (result i32) (call $proxy_done))
  (func $do_call_foreign_function (result i32) (call $proxy_call_foreign_function (call $arg (i32.const 0)) (call $arg (i32.const 1)) (call $arg (i32.const 2)) (call $arg (i32.const 3)) (call $arg (i32.const 4)) (call $arg (i32.const 5))))

  (elem (i32.const 0) func
    $do_log $do_get_log_level $do_get_property $do_set_property
    $do_get_header_map_value $do_add_header_map_value $do_replace_header_map_value $do_remove_header_map_value
    $do_get_header_map_pairs $do_set_header_map_pairs $do_get_header_map_size $do_get_buffer_bytes
    $do_set_buffer_bytes $do_get_buffer_status $do_send_local_response $do_continue_stream
    $do_close_stream $do_http_call $do_get_status $do_grpc_call
    $do_grpc_stream $do_grpc_send $do_grpc_cancel $do_grpc_close
    $do_get_shared_data $do_set_shared_data $do_register_shared_queue $do_resolve_shared_queue
    $do_enqueue_shared_queue $do_dequeue_shared_queue $do_define_metric $do_record_metric
    $do_increment_metric $do_get_metric $do_set_tick_period_milliseconds $do_get_current_time_nanoseconds
    $do_set_effective_context $do_done $do_call_foreign_function)

  (global $script (mut i32) (i32.const 0))
  (global $script_end (mut i32) (i32.const 0))
  (global $at (mut i32) (i32.const 0))         ;; where reading stands
  (global $end (mut i32) (i32.const 0))        ;; end of the line that is read
  (global $out (mut i32) (i32.const 0))        ;; end of the line that is written
  (global $texts (mut i32) (i32.const 0))      ;; end of the texts of arguments
  (global $arguments (mut i32) (i32.const 0))  ;; how many there are
  (global $heap (mut i32) (i32.const 0x10000))
  (global $allocator (mut i32) (i32.const 0))  ;; 0 honest, 1 answers 0, 2 answers an address beyond memory, 3 traps
  (global $answer (mut i32) (i32.const 0))     ;; what the callback will answer
  (global $root (mut i32) (i32.const 0))
  (global $context (mut i32) (i32.const 0))    ;; the stream context made last

  (func $allocate (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $place i32)
    (if (i32.eq (global.get $allocator) (i32.const 1)) (then (return (i32.const 0))))
    (if (i32.eq (global.get $allocator) (i32.const 2)) (then (return (i32.const 0xfffffff0))))
    (if (i32.eq (global.get $allocator) (i32.const 3)) (then (unreachable)))
    (local.set $place (global.get $heap))
    (global.set $heap (i32.and (i32.add (i32.add (local.get $place) (local.get $size)) (i32.const 15)) (i32.const -16)))
    (loop $more
      (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))) (then
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (return (i32.const 0))))
        (br $more))))
    (local.get $place))

  ;; ---------------------------------------------------------------- reading

  (func $peek (result i32)
    (if (result i32) (i32.lt_u (global.get $at) (global.get $end))
      (then (i32.load8_u (global.get $at))) (else (i32.const 0))))
  (func $skip (global.set $at (i32.add (global.get $at) (i32.const 1))))
  (func $blanks
    (loop $more (if (i32.eq (call $peek) (i32.const 0x20)) (then (call $skip) (br $more)))))
  (func $word
    (loop $more (if (i32.gt_u (call $peek) (i32.const 0x20)) (then (call $skip) (br $more)))))
  ;; If the script goes on with the text at $text, which ends with a blank: skips it and answers its length, else 0.
  (func $take (param $text i32) (result i32)
    (local $i i32) (local $c i32)
    (loop $more
      (local.set $c (i32.load8_u (i32.add (local.get $text) (local.get $i))))
      (if (i32.gt_u (local.get $c) (i32.const 0x20)) (then
        (if (i32.ge_u (i32.add (global.get $at) (local.get $i)) (global.get $end)) (then (return (i32.const 0))))
        (if (i32.ne (i32.load8_u (i32.add (global.get $at) (local.get $i))) (local.get $c)) (then (return (i32.const 0))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more))))
    (global.set $at (i32.add (global.get $at) (local.get $i)))
    (local.get $i))
  (func $digit (param $c i32) (result i32)
    (if (i32.le_u (i32.sub (local.get $c) (i32.const 0x30)) (i32.const 9))
      (then (return (i32.sub (local.get $c) (i32.const 0x30)))))
    (if (i32.le_u (i32.sub (local.get $c) (i32.const 0x61)) (i32.const 5))
      (then (return (i32.sub (local.get $c) (i32.const 0x57)))))
    (i32.const 16))
  ;; 12, -12 or 0x0c
  (func $number (result i64)
    (local $value i64) (local $minus i32) (local $base i32) (local $digit i32)
    (local.set $base (i32.const 10))
    (if (i32.eq (call $peek) (i32.const 0x2d)) (then (local.set $minus (i32.const 1)) (call $skip)))
    (if (i32.eq (call $peek) (i32.const 0x30)) (then
      (call $skip)
      (if (i32.eq (call $peek) (i32.const 0x78)) (then (local.set $base (i32.const 16)) (call $skip)))))
    (loop $more
      (local.set $digit (call $digit (call $peek)))
      (if (i32.lt_u (local.get $digit) (local.get $base)) (then
        (local.set $value (i64.add
          (i64.mul (local.get $value) (i64.extend_i32_u (local.get $base))) (i64.extend_i32_u (local.get $digit))))
        (call $skip)
        (br $more))))
    (if (result i64) (local.get $minus) (then (i64.sub (i64.const 0) (local.get $value))) (else (local.get $value))))
  (func $keep (param $byte i32)
    (i32.store8 (global.get $texts) (local.get $byte))
    (global.set $texts (i32.add (global.get $texts) (i32.const 1))))
  ;; Keeps a text up to $stop or $other or the end of the line; \hh is a byte. Answers its length; $at is on what stopped it.
  (func $text (param $stop i32) (param $other i32) (result i32)
    (local $from i32) (local $c i32)
    (local.set $from (global.get $texts))
    (block $done
      (loop $more
        (local.set $c (call $peek))
        (br_if $done (i32.eqz (local.get $c)))
        (br_if $done (i32.or (i32.eq (local.get $c) (local.get $stop)) (i32.eq (local.get $c) (local.get $other))))
        (call $skip)
        (if (i32.eq (local.get $c) (i32.const 0x5c)) (then
          (local.set $c (i32.shl (call $digit (call $peek)) (i32.const 4)))
          (call $skip)
          (local.set $c (i32.or (local.get $c) (call $digit (call $peek))))
          (call $skip)))
        (call $keep (local.get $c))
        (br $more)))
    (i32.sub (global.get $texts) (local.get $from)))

  ;; ---------------------------------------------------------------- arguments

  (func $push (param $value i64)
    (i64.store offset=0x200 (i32.shl (global.get $arguments) (i32.const 3)) (local.get $value))
    (global.set $arguments (i32.add (global.get $arguments) (i32.const 1))))
  (func $push_range (param $from i32)
    (call $push (i64.extend_i32_u (local.get $from)))
    (call $push (i64.extend_i32_u (i32.sub (global.get $texts) (local.get $from)))))
  (func $arg (param $index i32) (result i32) (i32.load offset=0x200 (i32.shl (local.get $index) (i32.const 3))))
  (func $arg64 (param $index i32) (result i64) (i64.load offset=0x200 (i32.shl (local.get $index) (i32.const 3))))
  ;; {name=value|name=value}, serialised as header maps are
  (func $pairs
    (local $from i32) (local $count i32) (local $scan i32) (local $lengths i32) (local $c i32)
    (local.set $from (global.get $texts))
    (call $skip)
    (if (i32.ne (call $peek) (i32.const 0x7d)) (then (local.set $count (i32.const 1))))
    (local.set $scan (global.get $at))
    (loop $more
      (local.set $c (i32.load8_u (local.get $scan)))
      (if (i32.eq (local.get $c) (i32.const 0x7c)) (then (local.set $count (i32.add (local.get $count) (i32.const 1)))))
      (local.set $scan (i32.add (local.get $scan) (i32.const 1)))
      (br_if $more (i32.and (i32.ne (local.get $c) (i32.const 0x7d)) (i32.lt_u (local.get $scan) (global.get $end)))))
    (i32.store (local.get $from) (local.get $count))
    (local.set $lengths (i32.add (local.get $from) (i32.const 4)))
    (global.set $texts (i32.add (local.get $lengths) (i32.shl (local.get $count) (i32.const 3))))
    (loop $each
      (if (local.get $count) (then
        (i32.store (local.get $lengths) (call $text (i32.const 0x3d) (i32.const 0x3d)))
        (call $keep (i32.const 0))
        (call $skip)
        (i32.store offset=4 (local.get $lengths) (call $text (i32.const 0x7c) (i32.const 0x7d)))
        (call $keep (i32.const 0))
        (if (i32.eq (call $peek) (i32.const 0x7c)) (then (call $skip)))
        (local.set $lengths (i32.add (local.get $lengths) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $each))))
    (call $skip)
    (call $push_range (local.get $from)))
  ;; One argument. Answers 0 when there is none.
  (func $argument (result i32)
    (local $c i32) (local $from i32)
    (call $blanks)
    (local.set $c (call $peek))
    (if (i32.eq (local.get $c) (i32.const 0x22)) (then
      (call $skip)
      (local.set $from (global.get $texts))
      (drop (call $text (i32.const 0x22) (i32.const 0x22)))
      (call $skip)
      (call $push_range (local.get $from))
      (return (i32.const 1))))
    (if (i32.eq (local.get $c) (i32.const 0x7b)) (then (call $pairs) (return (i32.const 1))))
    (if (i32.eq (local.get $c) (i32.const 0x26)) (then
      (call $skip)
      (call $push (i64.add (i64.const 0x100) (i64.shl (call $number) (i64.const 4))))
      (return (i32.const 1))))
    (if (i32.eq (local.get $c) (i32.const 0x2a)) (then
      (call $skip)
      (call $push (i64.load32_u offset=0x100 (i32.shl (i32.wrap_i64 (call $number)) (i32.const 4))))
      (return (i32.const 1))))
    (if (i32.eq (local.get $c) (i32.const 0x24)) (then
      (call $skip)
      (local.set $c (call $peek))
      (if (i32.eq (local.get $c) (i32.const 0x72)) (then (call $push (i64.extend_i32_u (global.get $root)))))
      (if (i32.eq (local.get $c) (i32.const 0x63)) (then (call $push (i64.extend_i32_u (global.get $context)))))
      (if (i32.lt_u (call $digit (local.get $c)) (i32.const 6)) (then
        (call $push (i64.load32_u offset=0x2fc (i32.shl (call $digit (local.get $c)) (i32.const 2))))))
      (call $word)
      (return (i32.const 1))))
    (if (i32.or (i32.eq (local.get $c) (i32.const 0x2d)) (i32.lt_u (call $digit (local.get $c)) (i32.const 10))) (then
      (call $push (call $number))
      (return (i32.const 1))))
    (i32.const 0))

  ;; ---------------------------------------------------------------- the line that is logged

  (func $put (param $byte i32)
    (if (i32.lt_u (global.get $out) (i32.const 0x7fff)) (then
      (i32.store8 (global.get $out) (local.get $byte))
      (global.set $out (i32.add (global.get $out) (i32.const 1))))))
  (func $put_range (param $from i32) (param $to i32)
    (loop $more
      (if (i32.lt_u (local.get $from) (local.get $to)) (then
        (call $put (i32.load8_u (local.get $from)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (br $more)))))
  (func $put_name (param $name i32)
    (loop $more
      (if (i32.gt_u (i32.load8_u (local.get $name)) (i32.const 0x20)) (then
        (call $put (i32.load8_u (local.get $name)))
        (local.set $name (i32.add (local.get $name) (i32.const 1)))
        (br $more)))))
  (func $put_number (param $value i64)
    (if (i64.lt_s (local.get $value) (i64.const 0)) (then
      (call $put (i32.const 0x2d))
      (local.set $value (i64.sub (i64.const 0) (local.get $value)))))
    (if (i64.gt_u (local.get $value) (i64.const 9)) (then
      (call $put_number (i64.div_u (local.get $value) (i64.const 10)))))
    (call $put (i32.add (i32.const 0x30) (i32.wrap_i64 (i64.rem_u (local.get $value) (i64.const 10))))))
  (func $put_hex (param $nibble i32)
    (call $put (i32.add (local.get $nibble)
      (select (i32.const 0x30) (i32.const 0x57) (i32.lt_u (local.get $nibble) (i32.const 10))))))
  (func $put_byte_hex (param $c i32)
    (call $put_hex (i32.shr_u (local.get $c) (i32.const 4)))
    (call $put_hex (i32.and (local.get $c) (i32.const 15))))
  ;; Bytes that are not visible, quotes and what the script's language uses stand as \hh.
  (func $put_text (param $from i32) (param $size i32)
    (local $c i32)
    (loop $more
      (if (local.get $size) (then
        (local.set $c (i32.load8_u (local.get $from)))
        (if (i32.or (i32.or (i32.lt_u (local.get $c) (i32.const 0x20)) (i32.gt_u (local.get $c) (i32.const 0x7e)))
                    (i32.or (i32.eq (local.get $c) (i32.const 0x22)) (i32.eq (local.get $c) (i32.const 0x5c))))
          (then (call $put (i32.const 0x5c)) (call $put_byte_hex (local.get $c)))
          (else (call $put (local.get $c))))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $size (i32.sub (local.get $size) (i32.const 1)))
        (br $more)))))
  (func $put_pairs (param $from i32) (param $size i32)
    (local $i i32) (local $count i32) (local $data i32) (local $lengths i32)
    (call $put (i32.const 0x7b))
    (if (i32.ge_u (local.get $size) (i32.const 4)) (then (local.set $count (i32.load (local.get $from)))))
    (local.set $lengths (i32.add (local.get $from) (i32.const 4)))
    (local.set $data (i32.add (local.get $lengths) (i32.shl (local.get $count) (i32.const 3))))
    (loop $more
      (if (i32.lt_u (local.get $i) (local.get $count)) (then
        (if (local.get $i) (then (call $put (i32.const 0x7c))))
        (call $put_text (local.get $data) (i32.load (local.get $lengths)))
        (local.set $data (i32.add (i32.add (local.get $data) (i32.load (local.get $lengths))) (i32.const 1)))
        (call $put (i32.const 0x3d))
        (call $put_text (local.get $data) (i32.load offset=4 (local.get $lengths)))
        (local.set $data (i32.add (i32.add (local.get $data) (i32.load offset=4 (local.get $lengths))) (i32.const 1)))
        (local.set $lengths (i32.add (local.get $lengths) (i32.const 8)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more))))
    (call $put (i32.const 0x7d)))
  ;; text, hex, pairs (pointer in slot 0, size in slot 1); u32 (slot 0), u64 (slot 0), second (u32 of slot 1)
  (func $show (param $what i32)
    (local $from i32) (local $size i32)
    (local.set $from (i32.load (i32.const 0x100)))
    (local.set $size (i32.load (i32.const 0x110)))
    (call $put (i32.const 0x20))
    (if (i32.eq (local.get $what) (i32.const 0x74)) (then
      (call $put (i32.const 0x22))
      (call $put_text (local.get $from) (local.get $size))
      (call $put (i32.const 0x22))))
    (if (i32.eq (local.get $what) (i32.const 0x68)) (then
      (loop $more
        (if (local.get $size) (then
          (call $put_byte_hex (i32.load8_u (local.get $from)))
          (local.set $from (i32.add (local.get $from) (i32.const 1)))
          (local.set $size (i32.sub (local.get $size) (i32.const 1)))
          (br $more))))))
    (if (i32.eq (local.get $what) (i32.const 0x70)) (then (call $put_pairs (local.get $from) (local.get $size))))
    (if (i32.eq (local.get $what) (i32.const 0x75)) (then (call $put_number (i64.load32_u (i32.const 0x100)))))
    (if (i32.eq (local.get $what) (i32.const 0x6c)) (then (call $put_number (i64.load (i32.const 0x100)))))
    (if (i32.eq (local.get $what) (i32.const 0x73)) (then (call $put_number (i64.load32_u (i32.const 0x110))))))

  ;; ---------------------------------------------------------------- running

  ;; Index of the call that the script names; -1: none of the host's.
  (func $find (result i32)
    (local $name i32) (local $index i32) (local $from i32)
    (local.set $name (i32.const 0x800))
    (local.set $from (global.get $at))
    (loop $more
      (if (i32.load8_u (local.get $name)) (then
        (if (call $take (local.get $name)) (then
          (if (i32.le_u (call $peek) (i32.const 0x20)) (then (return (local.get $index))))
          (global.set $at (local.get $from))))
        (loop $on
          (local.set $name (i32.add (local.get $name) (i32.const 1)))
          (br_if $on (i32.ne (i32.load8_u (i32.sub (local.get $name) (i32.const 1))) (i32.const 0x20))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $more))))
    (i32.const -1))
  ;; What is not a call of the host: return, args, allocator, grow, trap, by their first two letters.
  (func $own (param $from i32)
    (local $word i32) (local $number i32)
    (local.set $word (i32.load16_u (global.get $at)))
    (call $word)
    (call $blanks)
    (if (i32.eq (local.get $word) (i32.const 0x7274)) (then (unreachable)))
    (if (i32.eq (local.get $word) (i32.const 0x7261)) (then
      (call $put_range (local.get $from) (global.get $at))
      (call $put (i32.const 0x3d)) (call $put (i32.const 0x3e))
      (loop $each
        (call $put (i32.const 0x20))
        (call $put_number (i64.load32_s offset=0x300 (i32.shl (local.get $number) (i32.const 2))))
        (local.set $number (i32.add (local.get $number) (i32.const 1)))
        (br_if $each (i32.lt_u (local.get $number) (i32.const 5))))
      (call $log_line)
      (return)))
    (local.set $number (i32.wrap_i64 (call $number)))
    (if (i32.eq (local.get $word) (i32.const 0x6572)) (then (global.set $answer (local.get $number))))
    (if (i32.eq (local.get $word) (i32.const 0x6c61)) (then (global.set $allocator (local.get $number))))
    (if (i32.eq (local.get $word) (i32.const 0x7267)) (then (drop (memory.grow (local.get $number))))))
  (func $log_line
    (drop (call $proxy_log (i32.const 2) (i32.const 0x2000) (i32.sub (global.get $out) (i32.const 0x2000)))))
  ;; The rest of a line: $from is where it began.
  (func $perform (param $from i32)
    (local $index i32) (local $status i32) (local $shows i32) (local $to i32)
    (global.set $out (i32.const 0x2000))
    (global.set $texts (i32.const 0x8000))
    (global.set $arguments (i32.const 0))
    (local.set $index (call $find))
    (if (i32.lt_s (local.get $index) (i32.const 0)) (then (call $own (local.get $from)) (return)))
    (loop $more (br_if $more (call $argument)))
    (local.set $shows (global.get $at))
    ;; The line up to =>, without the blanks in front of it.
    (loop $on
      (if (i32.and (i32.ne (call $peek) (i32.const 0)) (i32.ne (call $peek) (i32.const 0x3d))) (then (call $skip) (br $on))))
    (local.set $to (global.get $at))
    (loop $back
      (if (i32.eq (i32.load8_u (i32.sub (local.get $to) (i32.const 1))) (i32.const 0x20)) (then
        (local.set $to (i32.sub (local.get $to) (i32.const 1)))
        (br $back))))
    (local.set $status (call_indirect (result i32) (local.get $index)))
    ;; The call may have run other callbacks, and their lines.
    (global.set $out (i32.const 0x2000))
    (global.set $end (call $line_end (local.get $from)))
    (call $put_range (local.get $from) (local.get $to))
    (call $put (i32.const 0x20)) (call $put (i32.const 0x3d)) (call $put (i32.const 0x3e)) (call $put (i32.const 0x20))
    (if (i32.lt_u (local.get $status) (i32.const 13))
      (then (call $put_name (i32.add (i32.const 0x400) (i32.mul (local.get $status) (i32.const 24)))))
      (else (call $put_number (i64.extend_i32_s (local.get $status)))))
    (if (i32.eqz (local.get $status)) (then
      (global.set $at (local.get $shows))
      (call $blanks)
      (if (i32.eq (call $peek) (i32.const 0x3e)) (then
        (call $skip)
        (loop $each
          (call $blanks)
          (if (i32.lt_u (global.get $at) (local.get $to)) (then
            (call $show (call $peek))
            (call $word)
            (br $each)))))))) 
    (call $log_line))
  ;; Does the rest of a callback's name in the script, :end, :more or :COUNT, hold now?
  (func $holds (param $callback i32) (param $stream_end i32) (result i32)
    (local $c i32)
    (if (i32.ne (call $peek) (i32.const 0x3a)) (then (return (i32.eq (call $peek) (i32.const 0x20)))))
    (call $skip)
    (local.set $c (call $peek))
    (if (i32.lt_u (call $digit (local.get $c)) (i32.const 10)) (then
      (return (i32.eq (i32.wrap_i64 (call $number)) (i32.load offset=0x340 (i32.shl (local.get $callback) (i32.const 2)))))))
    (call $word)
    (if (i32.eq (local.get $c) (i32.const 0x65)) (then (return (local.get $stream_end))))
    (i32.eqz (local.get $stream_end)))
  ;; Runs the lines of a callback. Answers what the script says, else $otherwise.
  (func $run (param $callback i32) (param $stream_end i32) (param $otherwise i32) (result i32)
    (local $line i32) (local $count i32)
    (local.set $count (i32.shl (local.get $callback) (i32.const 2)))
    (i32.store offset=0x340 (local.get $count) (i32.add (i32.load offset=0x340 (local.get $count)) (i32.const 1)))
    (global.set $answer (local.get $otherwise))
    (local.set $line (global.get $script))
    (loop $lines
      (if (i32.lt_u (local.get $line) (global.get $script_end)) (then
        (global.set $at (local.get $line))
        (global.set $end (local.get $line))
        (loop $on
          (if (i32.lt_u (global.get $end) (global.get $script_end)) (then
            (if (i32.ne (i32.load8_u (global.get $end)) (i32.const 0x0a)) (then
              (global.set $end (i32.add (global.get $end) (i32.const 1)))
              (br $on))))))
        (if (call $take (i32.add (i32.const 0xc00) (i32.mul (local.get $callback) (i32.const 24)))) (then
          (if (call $holds (local.get $callback) (local.get $stream_end)) (then
            (call $blanks)
            (call $perform (local.get $line))))))
        (local.set $line (i32.add (call $line_end (local.get $line)) (i32.const 1)))
        (br $lines))))
    (global.get $answer))
  ;; The end of a line: found anew, because a call may have run another callback in between.
  (func $line_end (param $line i32) (result i32)
    (loop $on
      (if (i32.lt_u (local.get $line) (global.get $script_end)) (then
        (if (i32.ne (i32.load8_u (local.get $line)) (i32.const 0x0a)) (then
          (local.set $line (i32.add (local.get $line) (i32.const 1)))
          (br $on))))))
    (local.get $line))
  (func $given (param $a i32) (param $b i32) (param $c i32) (param $d i32) (param $e i32)
    (i32.store (i32.const 0x300) (local.get $a))
    (i32.store (i32.const 0x304) (local.get $b))
    (i32.store (i32.const 0x308) (local.get $c))
    (i32.store (i32.const 0x30c) (local.get $d))
    (i32.store (i32.const 0x310) (local.get $e)))

  ;; ---------------------------------------------------------------- callbacks

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_context_create") (param $id i32) (param $parent i32)
    (if (local.get $parent) (then (global.set $context (local.get $id))) (else (global.set $root (local.get $id))))
    (call $given (local.get $id) (local.get $parent) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $run (i32.const 0) (i32.const 0) (i32.const 0))))
  (func (export "proxy_on_vm_start") (param $id i32) (param $size i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param $id i32) (param $size i32) (result i32)
    (if (i32.eqz (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (local.get $size) (i32.const 0x100) (i32.const 0x110)))
      (then
        (global.set $script (i32.load (i32.const 0x100)))
        (global.set $script_end (i32.add (global.get $script) (i32.load (i32.const 0x110))))))
    (call $given (local.get $id) (local.get $size) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $run (i32.const 2) (i32.const 0) (i32.const 1)))
  (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
    (call $given (local.get $id) (local.get $count) (local.get $end) (i32.const 0) (i32.const 0))
    (call $run (i32.const 3) (local.get $end) (i32.const 0)))
  (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
    (call $given (local.get $id) (local.get $size) (local.get $end) (i32.const 0) (i32.const 0))
    (call $run (i32.const 4) (local.get $end) (i32.const 0)))
  (func (export "proxy_on_request_trailers") (param $id i32) (param $count i32) (result i32)
    (call $given (local.get $id) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $run (i32.const 5) (i32.const 1) (i32.const 0)))
  (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
    (call $given (local.get $id) (local.get $count) (local.get $end) (i32.const 0) (i32.const 0))
    (call $run (i32.const 6) (local.get $end) (i32.const 0)))
  (func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
    (call $given (local.get $id) (local.get $size) (local.get $end) (i32.const 0) (i32.const 0))
    (call $run (i32.const 7) (local.get $end) (i32.const 0)))
  (func (export "proxy_on_response_trailers") (param $id i32) (param $count i32) (result i32)
    (call $given (local.get $id) (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $run (i32.const 8) (i32.const 1) (i32.const 0)))
  (func (export "proxy_on_http_call_response") (param $id i32) (param $call i32) (param $headers i32) (param $body i32) (param $trailers i32)
    (call $given (local.get $id) (local.get $call) (local.get $headers) (local.get $body) (local.get $trailers))
    (drop (call $run (i32.const 9) (i32.const 1) (i32.const 0))))
  (func (export "proxy_on_queue_ready") (param $id i32) (param $queue i32)
    (call $given (local.get $id) (local.get $queue) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $run (i32.const 10) (i32.const 0) (i32.const 0))))
  (func (export "proxy_on_tick") (param $id i32)
    (call $given (local.get $id) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $run (i32.const 11) (i32.const 0) (i32.const 0))))
  (func (export "proxy_on_done") (param $id i32) (result i32)
    (call $given (local.get $id) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $run (i32.const 12) (i32.const 0) (i32.const 1)))
  (func (export "proxy_on_log") (param $id i32)
    (call $given (local.get $id) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $run (i32.const 13) (i32.const 0) (i32.const 0))))
  (func (export "proxy_on_delete") (param $id i32)
    (call $given (local.get $id) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $run (i32.const 14) (i32.const 0) (i32.const 0)))))
