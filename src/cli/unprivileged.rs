//! What a look and a trace begin with, before they read a name or a packet that a stranger made, and before there is a
//! second thread.

use latmon::privileges;
use latmon::probe::{self, EchoSettings};

use super::Failure;

/// Opens the sockets for such echoes, and gives up what that took.
pub(super) fn open_sockets(echo: &EchoSettings) -> Result<(), Failure> {
    probe::open_ahead(echo);
    privileges::drop_capabilities().map_err(Failure::failed)
}
