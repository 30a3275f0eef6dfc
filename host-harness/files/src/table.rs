//! Tables as spreadsheets, databases and scripts write them: the one reader of all imports.
//!
//! | in the file | what becomes of it |
//! |---|---|
//! | `,` `;` or tab between cells | taken from the first line, as is Excel's own line `sep=;` |
//! | case, spaces, `_`, `-` and `.` in a header | of no account: `Created At` is `created_at` |
//! | a column without a name | passed over, cells behind the last name too if they are empty |
//! | two columns of a name that is looked for | refused: which one counts is not guessed |
//! | a row of empty cells | passed over |
//! | a row that is too short or too long | told by its line, and left out |
//! | a quote that is never closed | told by the line that opens it: it would swallow the rest in silence |

use std::io::{Chain, Read as _};

use super::Place;

/// Behind the last row, to see whether a quote is still open there.
const END: &str = "\u{0}end of the table\u{0}";
const END_LINE: &[u8] = b"\n\0end of the table\0\n";

/// Headers that a message lists at most; exports with thousands of columns exist.
const LISTED: usize = 30;

/// A table without its first row, if that is its header.
pub(crate) struct Table<'a> {
    header: Vec<String>,
    /// Cells that a row has at least: up to the last column with a name.
    named: usize,
    rows: csv::StringRecordsIntoIter<Chain<&'a [u8], &'static [u8]>>,
    lines: Lines<'a>,
    ended: bool,
}

/// A row, and the line that it begins on.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) line: u64,
    cells: csv::StringRecord,
}

impl Row {
    /// A cell without the spaces around it; none if it is empty.
    pub(crate) fn cell(&self, column: usize) -> Option<&str> {
        self.cells.get(column).map(str::trim).filter(|cell| !cell.is_empty())
    }
}

/// Part of a table that cannot be read.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) reason: String,
}

/// Several columns that a name may mean.
#[derive(Debug, PartialEq)]
pub(crate) struct Twice {
    /// As the first is written.
    pub(crate) name: String,
    /// From 1.
    pub(crate) columns: Vec<usize>,
}

impl<'a> Table<'a> {
    /// A table whose first row says what its columns are; none if there is no row.
    pub(crate) fn with_header(text: &'a str) -> Option<Result<Table<'a>, Fault>> {
        let mut table = Table::without_header(text, None);
        match table.next()? {
            Ok(header) => {
                table.header = header.cells.iter().map(|name| name.trim().to_owned()).collect();
                let named = table.header.iter().rposition(|name| !name.is_empty());
                table.named = named.map_or(0, |last| last + 1);
                Some(Ok(table))
            }
            Err(fault) => Some(Err(fault)),
        }
    }

    /// One of rows alone, where lines that begin with `comment` are none.
    pub(crate) fn without_header(text: &'a str, comment: Option<char>) -> Table<'a> {
        let (text, stated, first) = separator(text);
        let delimiter = stated.unwrap_or_else(|| delimiter(text, comment));
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .comment(comment.and_then(|comment| u8::try_from(comment).ok()))
            .from_reader(text.as_bytes().chain(END_LINE));
        let lines = Lines { text, at: 0, line: first, comment };
        Table { header: Vec::new(), named: 0, rows: reader.into_records(), lines, ended: false }
    }

    /// The columns' names, as they are written.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// The names for a message: not all of thousands.
    pub(crate) fn listed(&self) -> String {
        listed(self.header.iter().map(String::as_str).filter(|name| !name.is_empty()))
    }

    /// The column of the first of these names that there is.
    pub(crate) fn column(&self, names: &[&str]) -> Result<Option<usize>, Twice> {
        for name in names {
            let wanted = folded(name);
            let alike = self.header.iter().enumerate().filter(|(_, name)| folded(name) == wanted);
            let alike: Vec<(usize, &String)> = alike.collect();
            match alike.as_slice() {
                [] => {}
                [(column, _)] => return Ok(Some(*column)),
                [(_, name), ..] => {
                    let columns = alike.iter().map(|(column, _)| column + 1).collect();
                    return Err(Twice { name: (*name).clone(), columns });
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Table<'_> {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let (row, line) = match self.rows.next()? {
                Ok(row) => {
                    let line = self.lines.of(row.position());
                    (row, line)
                }
                Err(error) => {
                    let line = self.lines.of(error.position());
                    let place = Place { line, column: None };
                    return Some(Err(Fault { place, reason: error.to_string() }));
                }
            };
            if row.get(0) == Some(END) {
                self.ended = true;
                break;
            }
            let fault = |column: usize, reason: String| {
                Some(Err(Fault { place: Place { line, column: Some(column as u64) }, reason }))
            };
            if let Some(column) = row.iter().position(|cell| cell.contains(END)) {
                self.ended = true;
                return fault(column + 1, "a quote opens in this row and is never closed".to_owned());
            }
            if row.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let wide = self.header.len();
            let too_long = wide > 0 && row.iter().skip(wide).any(|cell| !cell.trim().is_empty());
            if row.len() < self.named || too_long {
                let reason =
                    format!("the line has {} fields and the header {wide}; check its quotes", row.len());
                return fault(row.len(), reason);
            }
            return Some(Ok(Row { line, cells: row }));
        }
        None
    }
}

/// A name as it is compared.
pub(crate) fn folded(name: &str) -> String {
    let kept = name.chars().filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '.'));
    kept.flat_map(char::to_lowercase).collect()
}

/// Names for a message: not all of thousands.
pub(crate) fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What Excel writes so that it finds its own separator again, what comes after it, and the line that this begins on.
fn separator(text: &str) -> (&str, Option<u8>, u64) {
    let stated = text.get(..4).filter(|start| start.eq_ignore_ascii_case("sep=")).and_then(|_| text.get(4..));
    let line = stated.and_then(|rest| rest.split_once('\n'));
    match line.map(|(line, rest)| (line.trim_end_matches('\r').as_bytes(), rest)) {
        Some(([separator], rest)) => (rest, Some(*separator), 2),
        _ => (text, None, 1),
    }
}

/// What stands most often between the cells of the first row.
fn delimiter(text: &str, comment: Option<char>) -> u8 {
    let is_comment = |line: &&str| comment.is_some_and(|comment| line.starts_with(comment));
    let first = text.lines().find(|line| !line.trim().is_empty() && !is_comment(line)).unwrap_or_default();
    let mut within = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in first.bytes() {
        within ^= byte == b'"';
        for (delimiter, count) in &mut counts {
            *count += usize::from(!within && byte == *delimiter);
        }
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| delimiter)
}

/// The number of the line that a row begins on. The `csv` crate tells where it began to look, which may be before the
/// end of the line before, before empty lines, and before comments.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    comment: Option<char>,
}

impl Lines<'_> {
    /// Of the row that was looked for from here on; rows come in order.
    fn of(&mut self, position: Option<&csv::Position>) -> u64 {
        let from = position.and_then(|position| usize::try_from(position.byte()).ok());
        let Some(mut rest) = from.and_then(|from| self.text.get(from..)) else {
            return self.line;
        };
        let is_comment = |rest: &str| self.comment.is_some_and(|comment| rest.starts_with(comment));
        loop {
            let after = rest.trim_start_matches(['\r', '\n']);
            rest = match is_comment(after) {
                true => after.split_once('\n').map_or("", |(_, after)| after),
                false => after,
            };
            if !rest.starts_with(['\r', '\n']) && !is_comment(rest) {
                break;
            }
        }
        let at = self.text.len() - rest.len();
        let between = self.text.get(self.at..at).unwrap_or_default();
        self.line += between.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.at = at;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with the cells of these columns, and faults as they are told.
    fn check(text: &str, names: &[&str], expected: &[&str]) {
        let mut table = Table::with_header(text).unwrap().unwrap();
        let columns: Vec<usize> = names.iter().map(|name| table.column(&[name]).unwrap().unwrap()).collect();
        let told: Vec<String> = table
            .by_ref()
            .map(|row| match row {
                Ok(row) => {
                    let cells: Vec<&str> = columns.iter().map(|at| row.cell(*at).unwrap_or("-")).collect();
                    format!("{}: {}", row.line, cells.join(" "))
                }
                Err(fault) => format!("{}! {}", fault.place.line, fault.reason),
            })
            .collect();
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn a_table_is_read_whatever_wrote_it() {
        let both = ["id", "name"];
        check("id,name\n1,Ann\n", &both, &["2: 1 Ann"]);
        check("sep=;\r\nID;Name\r\n1;Ann\r\n", &both, &["3: 1 Ann"]);
        check("SEP=|\nID|Name\n1|Ann", &both, &["3: 1 Ann"]);
        check("I_D\tN a-m.e\n1\tAnn, B\n", &both, &["2: 1 Ann, B"]);
        check("\n\n id ; name ;;\n 1 ; Ann ;;\n", &both, &["4: 1 Ann"]);
        check(",id,name\n0,1,Ann\n1,2,Bo\n", &both, &["2: 1 Ann", "3: 2 Bo"]);
        check("id,name\n\n,,\n , \n2,Bo,,\n", &both, &["5: 2 Bo"]);
        check("id,name\n1,\"A\n\nB\"\n2,Bo\n", &["id"], &["2: 1", "5: 2"]);
        check("\"a,b;c;d\";id;name\nx;1;Ann\n", &both, &["2: 1 Ann"]);
    }

    #[test]
    fn a_row_of_another_width_and_an_open_quote_are_told_by_their_line() {
        let width = |line: u64, fields: u64| {
            format!("{line}! the line has {fields} fields and the header 2; check its quotes")
        };
        check(
            "id,name\n1\n2,Bo\n3,C,D\n",
            &["id"],
            &[&width(2, 1), "3: 2", &width(4, 3)].map(|text: &str| text),
        );
        let open = "3! a quote opens in this row and is never closed";
        check("id,name\n1,Ann\n2,\"Bo\n3,Cy\n4,Di\n", &["id"], &["2: 1", open]);
        assert!(Table::with_header("id,\"name\n1,x\n").unwrap().is_err());
        assert!(Table::with_header("\n  \n").is_none());
    }

    #[test]
    fn a_name_that_two_columns_have_is_refused_only_if_it_is_looked_for() {
        let table = Table::with_header("id,Status,note,note,STATUS\n").unwrap().unwrap();
        assert_eq!(table.column(&["id"]), Ok(Some(0)));
        assert_eq!(table.column(&["status"]), Err(Twice { name: "Status".into(), columns: vec![2, 5] }));
        assert_eq!(table.column(&["title", "id"]), Ok(Some(0)));
    }

    #[test]
    fn thousands_of_columns_are_read_and_not_all_listed() {
        let header: Vec<String> = (0..5_000).map(|number| format!("c{number}")).collect();
        let row: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
        let text = format!("{}\n{}\n", header.join(","), row.join(","));
        check(&text, &["c4999"], &["2: 4999"]);
        let table = Table::with_header(&text).unwrap().unwrap();
        assert!(table.listed().ends_with("c29 and 4970 more"), "{}", table.listed());
    }
}
