//! Inputs a little wrong: what a file or a message becomes on a bad way. For runs that end; `fuzz/` is for those that
//! do not.

/// A copy with up to eight small damages: bytes changed, cut out, doubled, put in, or the end missing.
pub(crate) fn mangled(input: &[u8], draw: &mut fastrand::Rng) -> Vec<u8> {
    const TELLING: [&[u8]; 14] = [
        b"\"", b"{", b"}", b"[", b"]", b",", b"\\u0000", b"\0", b"\xff", b"null", b"-1", b"1e999", b"\r\n",
        b"v1,",
    ];
    let mut text = input.to_vec();
    for _ in 0..draw.usize(1..=8) {
        let at = draw.usize(0..=text.len());
        let to = (at + draw.usize(0..32)).min(text.len());
        match draw.u8(0..6) {
            0 if at < to => text[at] = draw.u8(..),
            1 => drop(text.drain(at..to)),
            2 => {
                let part = text[at..to].to_vec();
                text.splice(at..at, part);
            }
            3 => drop(text.splice(at..at, draw.choice(TELLING).unwrap_or_default().iter().copied())),
            4 if draw.u8(0..8) == 0 => text.truncate(at),
            _ => drop(text.splice(at..to, draw.choice(TELLING).unwrap_or_default().iter().copied())),
        }
    }
    text
}
