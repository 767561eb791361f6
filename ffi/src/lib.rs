//! Forwards the C API (native/include/sluice/sluice.h) to Deno. No state, no policy: documentation, ownership and
//! threads are in that header. Only u32, i32, `&[u8]` and `&mut [u8]` cross: those reach JavaScript as plain numbers
//! and typed arrays.

use deno_bindgen::deno_bindgen;

mod c {
    extern "C" {
        pub fn sl_error_text(out: *mut u8, len: usize) -> i32;
        pub fn sl_abi(out: *mut u8, len: usize) -> i32;
        pub fn sl_gateway_new(config: *const u8, len: usize) -> i32;
        pub fn sl_gateway_describe(gateway: u32, out: *mut u8, len: usize) -> i32;
        pub fn sl_gateway_certificate(
            gateway: u32,
            set: u32,
            cert: *const u8,
            cert_len: usize,
            key: *const u8,
            key_len: usize,
            names: *const u8,
            names_len: usize,
        ) -> i32;
        pub fn sl_gateway_certificate_replace(
            gateway: u32,
            set: u32,
            index: u32,
            cert: *const u8,
            cert_len: usize,
            key: *const u8,
            key_len: usize,
            ocsp: *const u8,
            ocsp_len: usize,
        ) -> i32;
        pub fn sl_certificate_describe(
            cert: *const u8,
            cert_len: usize,
            key: *const u8,
            key_len: usize,
            out: *mut u8,
            len: usize,
        ) -> i32;
        pub fn sl_ocsp_describe(response: *const u8, response_len: usize, out: *mut u8, len: usize) -> i32;
        pub fn sl_gateway_resumption(gateway: u32, set: u32, index: u32, row: *const u8, len: usize) -> i32;
        pub fn sl_gateway_handshake(gateway: u32, set: u32, index: u32, row: *const u8, len: usize) -> i32;
        pub fn sl_gateway_client_auth(
            gateway: u32,
            set: u32,
            index: u32,
            mode: u32,
            cas: *const u8,
            len: usize,
        ) -> i32;
        pub fn sl_gateway_steks(gateway: u32, keys: *const u8, len: usize) -> i32;
        pub fn sl_gateway_listen(gateway: u32, address: *const u8, len: usize, certificates: u32) -> i32;
        pub fn sl_gateway_adopt(gateway: u32, fd: u32, certificates: u32) -> i32;
        pub fn sl_gateway_client_hello(gateway: u32, listener: u32, timeout_ms: u32) -> i32;
        pub fn sl_socket_address(fd: u32, out: *mut u8, len: usize) -> i32;
        pub fn sl_notify(path: *const u8, path_len: usize, text: *const u8, len: usize) -> i32;
        pub fn sl_ring_bytes(exchanges: u32) -> u32;
        pub fn sl_gateway_attach(gateway: u32, worker: u32, isolate: u32, region: *mut u8, len: usize) -> i32;
        pub fn sl_gateway_isolate_wake(gateway: u32, isolate: u32, port: u32, token: *const u8, len: usize) -> i32;
        pub fn sl_gateway_isolate_gone(gateway: u32, isolate: u32, reason: u32) -> i32;
        pub fn sl_gateway_isolate_state(gateway: u32, isolate: u32) -> i32;
        pub fn sl_plan_load(gateway: u32, blob: *const u8, len: usize) -> i32;
        pub fn sl_gateway_start(gateway: u32) -> i32;
        pub fn sl_gateway_wake(gateway: u32, worker: u32) -> i32;
        pub fn sl_gateway_drain(gateway: u32, deadline_ms: u32) -> i32;
        pub fn sl_gateway_state(gateway: u32) -> i32;
        pub fn sl_gateway_join(gateway: u32, wait_ms: u32) -> i32;
        pub fn sl_gateway_free(gateway: u32) -> i32;
        pub fn sl_gateway_worker_conns(gateway: u32, worker: u32) -> i32;
        pub fn sl_gateway_stats(gateway: u32, out: *mut u8, len: usize) -> i32;
        pub fn sl_gateway_upstreams(gateway: u32, out: *mut u8, len: usize) -> i32;
        pub fn sl_kernel_tls_describe(out: *mut u8, len: usize) -> i32;
        pub fn sl_certificate_make(out: *mut u8, len: usize) -> i32;
    }
}

// An empty slice's pointer means nothing: C gets NULL.
fn input(bytes: &[u8]) -> *const u8 {
    if bytes.is_empty() { std::ptr::null() } else { bytes.as_ptr() }
}

fn output(bytes: &mut [u8]) -> *mut u8 {
    if bytes.is_empty() { std::ptr::null_mut() } else { bytes.as_mut_ptr() }
}

#[deno_bindgen]
pub fn sluice_error_text(out: &mut [u8]) -> i32 {
    unsafe { c::sl_error_text(output(out), out.len()) }
}

#[deno_bindgen]
pub fn sluice_abi(out: &mut [u8]) -> i32 {
    unsafe { c::sl_abi(output(out), out.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_new(config: &[u8]) -> i32 {
    unsafe { c::sl_gateway_new(input(config), config.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_describe(gateway: u32, out: &mut [u8]) -> i32 {
    unsafe { c::sl_gateway_describe(gateway, output(out), out.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_certificate(gateway: u32, set: u32, cert: &[u8], key: &[u8], names: &[u8]) -> i32 {
    unsafe {
        c::sl_gateway_certificate(
            gateway,
            set,
            input(cert),
            cert.len(),
            input(key),
            key.len(),
            input(names),
            names.len(),
        )
    }
}

#[deno_bindgen]
pub fn sluice_gateway_certificate_replace(
    gateway: u32,
    set: u32,
    index: u32,
    cert: &[u8],
    key: &[u8],
    ocsp: &[u8],
) -> i32 {
    unsafe {
        c::sl_gateway_certificate_replace(
            gateway,
            set,
            index,
            input(cert),
            cert.len(),
            input(key),
            key.len(),
            input(ocsp),
            ocsp.len(),
        )
    }
}

#[deno_bindgen]
pub fn sluice_certificate_describe(cert: &[u8], key: &[u8], out: &mut [u8]) -> i32 {
    unsafe {
        c::sl_certificate_describe(input(cert), cert.len(), input(key), key.len(), output(out), out.len())
    }
}

#[deno_bindgen]
pub fn sluice_ocsp_describe(response: &[u8], out: &mut [u8]) -> i32 {
    unsafe { c::sl_ocsp_describe(input(response), response.len(), output(out), out.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_resumption(gateway: u32, set: u32, index: u32, row: &[u8]) -> i32 {
    unsafe { c::sl_gateway_resumption(gateway, set, index, input(row), row.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_handshake(gateway: u32, set: u32, index: u32, row: &[u8]) -> i32 {
    unsafe { c::sl_gateway_handshake(gateway, set, index, input(row), row.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_client_auth(gateway: u32, set: u32, index: u32, mode: u32, cas: &[u8]) -> i32 {
    unsafe { c::sl_gateway_client_auth(gateway, set, index, mode, input(cas), cas.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_steks(gateway: u32, keys: &[u8]) -> i32 {
    unsafe { c::sl_gateway_steks(gateway, input(keys), keys.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_listen(gateway: u32, address: &[u8], certificates: u32) -> i32 {
    unsafe { c::sl_gateway_listen(gateway, input(address), address.len(), certificates) }
}

#[deno_bindgen]
pub fn sluice_gateway_adopt(gateway: u32, fd: u32, certificates: u32) -> i32 {
    unsafe { c::sl_gateway_adopt(gateway, fd, certificates) }
}

#[deno_bindgen]
pub fn sluice_gateway_client_hello(gateway: u32, listener: u32, timeout_ms: u32) -> i32 {
    unsafe { c::sl_gateway_client_hello(gateway, listener, timeout_ms) }
}

#[deno_bindgen]
pub fn sluice_socket_address(fd: u32, out: &mut [u8]) -> i32 {
    unsafe { c::sl_socket_address(fd, output(out), out.len()) }
}

#[deno_bindgen]
pub fn sluice_notify(path: &[u8], text: &[u8]) -> i32 {
    unsafe { c::sl_notify(input(path), path.len(), input(text), text.len()) }
}

#[deno_bindgen]
pub fn sluice_ring_bytes(exchanges: u32) -> u32 {
    unsafe { c::sl_ring_bytes(exchanges) }
}

#[deno_bindgen]
pub fn sluice_gateway_attach(gateway: u32, worker: u32, isolate: u32, region: &mut [u8]) -> i32 {
    unsafe { c::sl_gateway_attach(gateway, worker, isolate, output(region), region.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_isolate_wake(gateway: u32, isolate: u32, port: u32, token: &[u8]) -> i32 {
    unsafe { c::sl_gateway_isolate_wake(gateway, isolate, port, input(token), token.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_isolate_gone(gateway: u32, isolate: u32, reason: u32) -> i32 {
    unsafe { c::sl_gateway_isolate_gone(gateway, isolate, reason) }
}

#[deno_bindgen]
pub fn sluice_gateway_isolate_state(gateway: u32, isolate: u32) -> i32 {
    unsafe { c::sl_gateway_isolate_state(gateway, isolate) }
}

#[deno_bindgen]
pub fn sluice_plan_load(gateway: u32, blob: &[u8]) -> i32 {
    unsafe { c::sl_plan_load(gateway, input(blob), blob.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_start(gateway: u32) -> i32 {
    unsafe { c::sl_gateway_start(gateway) }
}

#[deno_bindgen]
pub fn sluice_gateway_wake(gateway: u32, worker: u32) -> i32 {
    unsafe { c::sl_gateway_wake(gateway, worker) }
}

#[deno_bindgen]
pub fn sluice_gateway_drain(gateway: u32, deadline_ms: u32) -> i32 {
    unsafe { c::sl_gateway_drain(gateway, deadline_ms) }
}

#[deno_bindgen]
pub fn sluice_gateway_state(gateway: u32) -> i32 {
    unsafe { c::sl_gateway_state(gateway) }
}

#[deno_bindgen]
pub fn sluice_gateway_join(gateway: u32, wait_ms: u32) -> i32 {
    unsafe { c::sl_gateway_join(gateway, wait_ms) }
}

#[deno_bindgen]
pub fn sluice_gateway_free(gateway: u32) -> i32 {
    unsafe { c::sl_gateway_free(gateway) }
}

#[deno_bindgen]
pub fn sluice_gateway_worker_conns(gateway: u32, worker: u32) -> i32 {
    unsafe { c::sl_gateway_worker_conns(gateway, worker) }
}

#[deno_bindgen]
pub fn sluice_gateway_stats(gateway: u32, out: &mut [u8]) -> i32 {
    unsafe { c::sl_gateway_stats(gateway, output(out), out.len()) }
}

#[deno_bindgen]
pub fn sluice_gateway_upstreams(gateway: u32, out: &mut [u8]) -> i32 {
    unsafe { c::sl_gateway_upstreams(gateway, output(out), out.len()) }
}

#[deno_bindgen]
pub fn sluice_kernel_tls_describe(out: &mut [u8]) -> i32 {
    unsafe { c::sl_kernel_tls_describe(output(out), out.len()) }
}

#[deno_bindgen]
pub fn sluice_certificate_make(out: &mut [u8]) -> i32 {
    unsafe { c::sl_certificate_make(output(out), out.len()) }
}
