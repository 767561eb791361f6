//! Writes the TypeScript binding to the file named by the first argument. The inventory comes in link order, which is
//! nobody's promise, so it is sorted by name: the same source gives the same file everywhere.

extern crate sluice_ffi; // or the linker has no reason to take its inventory

use deno_bindgen::codegen::{generate, Options, Target};
use deno_bindgen::{Inventory, Symbol, INVENTORY};

fn main() {
    let out = std::env::args_os().nth(1).expect("usage: bindgen FILE");
    let mut symbols: Vec<&Symbol> = INVENTORY
        .iter()
        .map(|item| match item {
            Inventory::Symbol(symbol) => symbol,
            Inventory::Struct(item) => panic!("struct {}: only functions cross here", item.name),
        })
        .collect();
    symbols.sort_by_key(|symbol| symbol.name);
    assert!(!symbols.is_empty(), "the linker dropped the inventory");

    let sorted: Vec<Inventory> = symbols.into_iter().map(|symbol| Inventory::Symbol(copy(symbol))).collect();
    generate(
        Box::leak(sorted.into_boxed_slice()),
        Options {
            target: Target::Deno,
            out: Some(out.into()),
            local_dylib_path: "libsluice_ffi.so".into(),
            lazy_init: true,
        },
    )
    .expect("write the binding");
}

fn copy(symbol: &Symbol) -> Symbol {
    Symbol {
        name: symbol.name,
        parameters: symbol.parameters,
        return_type: symbol.return_type,
        non_blocking: symbol.non_blocking,
        internal: symbol.internal,
        is_constructor: symbol.is_constructor,
    }
}
