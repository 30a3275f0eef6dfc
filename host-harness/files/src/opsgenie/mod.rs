//! What a person gives for a move from Opsgenie: saved records, and what names stand for. Pure but for reading files.

/// The number of the line that a row of a table begins on. The `csv` crate tells where it began to look, which may be
/// before the end of the line before, before empty lines, and before comments.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    comment: char,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, comment: char) -> Lines<'a> {
        Lines { text, at: 0, line: 1, comment }
    }

    /// Of the row that was looked for from here on; rows come in order.
    fn of(&mut self, position: Option<&csv::Position>) -> Option<u64> {
        let from = usize::try_from(position?.byte()).ok()?;
        let mut rest = self.text.get(from..)?;
        loop {
            let after = rest.trim_start_matches(['\r', '\n']);
            rest = match after.starts_with(self.comment) {
                true => after.split_once('\n').map_or("", |(_, after)| after),
                false => after,
            };
            if !rest.starts_with(['\r', '\n', self.comment]) {
                break;
            }
        }
        let at = self.text.len() - rest.len();
        let between = self.text.get(self.at..at)?;
        self.line += between.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.at = at;
        Some(self.line)
    }
}

pub mod files;
pub mod mapping;

#[cfg(test)]
mod tests;
