//! Text → standard output, and what became of it.

use std::io::{self, Write as _};

/// Who reads standard output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// It has the text.
    Here,
    /// It has gone, as `| head` does: it wants no more, and no complaint.
    Gone,
}

/// Prints `text`, all of it.
pub fn print(text: &str) -> Result<Reader, String> {
    let mut stdout = io::stdout().lock();
    // What stands behind the last line break is held back until it is flushed.
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::Here),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(format!("the output could not be written: {error}; send it elsewhere")),
    }
}
