//! latmon's binary: prints and exits.

mod cli;

use std::ffi::OsString;
use std::io::{self, BufWriter};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.split_first() {
        Some((verb, rest)) if verb == "rrd" => {
            let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
            ExitCode::from(cli::rrd::run(rest, &mut out, &mut io::stderr().lock()))
        }
        _ => ExitCode::from(2),
    }
}
