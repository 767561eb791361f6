// Links the data plane, BoringSSL and compression, all static. tools/build.ts says where they are.
use std::env::var;
use std::process::Command;

fn main() {
    let native = folder("SLUICE_NATIVE_DIR", "the folder of libsluice.a (native/build/release)");
    let boringssl = folder("SLUICE_BORINGSSL_DIR", "the folder of BoringSSL's lib/libssl.a");
    let compression = folder("SLUICE_COMPRESSION_DIR", "the folder of lib/libcompression.a");
    println!("cargo:rustc-link-search=native={native}");
    println!("cargo:rustc-link-search=native={boringssl}/lib");
    println!("cargo:rustc-link-search=native={compression}/lib");
    for library in ["sluice", "ssl", "crypto", "compression"] {
        println!("cargo:rustc-link-lib=static={library}");
    }
    // Of the compiler, static, too: the packed binary may meet a system that has glibc alone.
    for library in ["stdc++", "gcc_eh"] {
        println!("cargo:rustc-link-search=native={}", folder_of(library));
        println!("cargo:rustc-link-lib=static={library}");
    }
    println!("cargo:rerun-if-changed={native}/libsluice.a");
    println!("cargo:rerun-if-changed={boringssl}/lib/libssl.a");
    println!("cargo:rerun-if-changed={compression}/lib/libcompression.a");
    // A function that C does not define must fail here, not in the user's process.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    // Deno closes the library when an isolate ends, but BoringSSL has left destructors for the threads that called it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}

fn folder_of(library: &str) -> String {
    let name = format!("-print-file-name=lib{library}.a");
    let output = Command::new("c++").arg(&name).output().expect("c++ runs");
    let path = String::from_utf8(output.stdout).expect("a path");
    match path.trim().rsplit_once('/') {
        Some((folder, _)) => folder.to_string(),
        None => panic!("c++ has no lib{library}.a"),
    }
}

fn folder(name: &str, what: &str) -> String {
    println!("cargo:rerun-if-env-changed={name}");
    var(name).unwrap_or_else(|_| panic!("{name} is not set: {what}. `deno task build` sets it."))
}
