//! httparse behind one C function. Its table is left uninitialised, as it allows: that of the others is, too.

use std::mem::MaybeUninit;

/// The bytes of the request head at the start of `data`; 0: partial, -1: bad.
///
/// # Safety
/// `data` has `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn bench_httparse(data: *const u8, len: usize) -> isize {
    let mut fields: [MaybeUninit<httparse::Header>; 100] = [const { MaybeUninit::uninit() }; 100];
    let mut request = httparse::Request::new(&mut []);
    let bytes = std::slice::from_raw_parts(data, len);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(n)) => {
            std::hint::black_box(&request);
            n as isize
        }
        Ok(httparse::Status::Partial) => 0,
        Err(_) => -1,
    }
}
