//! latmon's binary: prints and exits.

fn main() {}
