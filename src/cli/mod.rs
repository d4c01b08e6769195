//! One file per subcommand: what was typed becomes what is decided.

pub(crate) mod rrd;
