// Cargo wants a target; this package has none (see Cargo.toml).
