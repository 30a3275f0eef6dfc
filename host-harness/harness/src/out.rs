//! What the program prints: results on standard output, everything else on standard error.
//!
//! | who reads | what happens |
//! |---|---|
//! | nobody any more (`… | head`) | the verb ends without a word, with the exit code of SIGPIPE |
//! | a disk that is full | the verb fails and says so |
//! | nobody, of standard error | the text is lost and the verb goes on |
//!
//! `print!` and its relatives panic in each of these cases, so clippy forbids them in this crate.

use std::fmt;
use std::io::{self, Write};

/// Standard output took no more.
#[derive(Debug, thiserror::Error)]
#[error("standard output could not be written")]
pub(crate) struct Unprinted(#[from] io::Error);

impl Unprinted {
    /// Whether the reader went away, which is no failure of this program.
    pub(crate) fn is_unread(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes the text to standard output as it is.
pub(crate) fn print(text: &str) -> Result<(), Unprinted> {
    write(format_args!("{text}"))
}

/// Writes to standard output, all of it.
pub(crate) fn write(text: fmt::Arguments<'_>) -> Result<(), Unprinted> {
    let mut output = io::stdout().lock();
    output.write_fmt(text)?;
    Ok(output.flush()?)
}

/// Writes to standard error. Where that fails there is nobody to tell.
pub(crate) fn tell(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Prints a line on standard output; fails if that does.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line on standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::out::tell(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) use {note, say};
