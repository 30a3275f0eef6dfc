//! Answers that come compressed, decoded a little at a time: what is decoded is never more than a few kilobytes ahead
//! of what is read, however much an answer promises to become. The cap on an answer's size counts decoded bytes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::{Body, Frame};

/// What is asked for; what comes may be another.
pub(super) const ACCEPTED: &str = "gzip, deflate";

/// How an answer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

/// The coding of an answer, which its headers do not tell any more. None for what is not compressed, or in a way that is
/// not known here, which its headers go on telling.
pub(super) fn coding(headers: &mut HeaderMap) -> Option<Coding> {
    let mut told = headers.get_all(CONTENT_ENCODING).iter();
    let only = told.next().filter(|_| told.next().is_none())?.to_str().ok()?.trim();
    let coding = match only {
        _ if only.eq_ignore_ascii_case("gzip") || only.eq_ignore_ascii_case("x-gzip") => Coding::Gzip,
        _ if only.eq_ignore_ascii_case("deflate") => Coding::Deflate,
        _ => return None,
    };
    headers.remove(CONTENT_ENCODING);
    // That of the compressed bytes.
    headers.remove(CONTENT_LENGTH);
    Some(coding)
}

enum Decoder {
    /// Before the first byte, which tells zlib's form from the bare one: both are sent under the name of deflate.
    Undecided,
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Bare(DeflateDecoder<Vec<u8>>),
}

impl Decoder {
    /// Takes some of these bytes, and answers how many.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Decoder::Undecided => {
                let zlib = bytes.first().is_some_and(|first| first & 0x0f == 8);
                *self = match zlib {
                    true => Decoder::Zlib(ZlibDecoder::new(Vec::new())),
                    false => Decoder::Bare(DeflateDecoder::new(Vec::new())),
                };
                self.take(bytes)
            }
            Decoder::Gzip(decoder) => decoder.write(bytes),
            Decoder::Zlib(decoder) => decoder.write(bytes),
            Decoder::Bare(decoder) => decoder.write(bytes),
        }
    }

    /// No more bytes come; an error if the stream is not at its end.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Decoder::Undecided => Ok(()),
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Zlib(decoder) => decoder.try_finish(),
            Decoder::Bare(decoder) => decoder.try_finish(),
        }
    }

    fn decoded(&mut self) -> Vec<u8> {
        match self {
            Decoder::Undecided => Vec::new(),
            Decoder::Gzip(decoder) => std::mem::take(decoder.get_mut()),
            Decoder::Zlib(decoder) => std::mem::take(decoder.get_mut()),
            Decoder::Bare(decoder) => std::mem::take(decoder.get_mut()),
        }
    }
}

/// A body, decoded while it is read.
pub(super) struct Decoded<B> {
    body: B,
    decoder: Decoder,
    /// Read and not decoded yet.
    waiting: VecDeque<Bytes>,
    /// Whether anything came, whether the decoder takes no more, whether the body is through, and whether all is.
    begun: bool,
    stuck: bool,
    read: bool,
    done: bool,
}

impl<B> Decoded<B> {
    pub(super) fn new(coding: Coding, body: B) -> Decoded<B> {
        let decoder = match coding {
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => Decoder::Undecided,
        };
        let waiting = VecDeque::new();
        Decoded { body, decoder, waiting, begun: false, stuck: false, read: false, done: false }
    }
}

impl<B, E> Body for Decoded<B>
where
    B: Body<Data = Bytes, Error = E> + Unpin,
    E: From<io::Error>,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let this = &mut *self;
        loop {
            let decoded = this.decoder.decoded();
            if !decoded.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(decoded.into()))));
            }
            if this.stuck {
                let extra = io::Error::new(io::ErrorKind::InvalidData, "bytes follow what was compressed");
                return Poll::Ready(Some(Err(extra.into())));
            }
            if this.done {
                return Poll::Ready(None);
            }
            if let Some(bytes) = this.waiting.front_mut() {
                if bytes.is_empty() {
                    this.waiting.pop_front();
                    continue;
                }
                let taken = this.decoder.take(bytes)?;
                bytes.advance(taken);
                (this.begun, this.stuck) = (true, taken == 0);
                continue;
            }
            if this.read {
                this.done = true;
                if this.begun {
                    this.decoder.end()?;
                }
                continue;
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                // Trailers say nothing of what is decoded.
                Some(frame) => this.waiting.extend(frame?.into_data().ok()),
                None => this.read = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http_body_util::{BodyExt, Full, Limited};

    use super::*;

    fn compressed(text: &[u8]) -> [(Coding, Vec<u8>); 3] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::best());
        for encoder in [&mut gzip as &mut dyn Write, &mut zlib, &mut bare] {
            encoder.write_all(text).unwrap();
        }
        [
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, bare.finish().unwrap()),
        ]
    }

    type Sent = http_body_util::combinators::BoxBody<Bytes, io::Error>;

    fn body(bytes: Vec<u8>) -> Sent {
        Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed()
    }

    #[tokio::test]
    async fn what_comes_compressed_is_read_as_what_it_was() {
        let text: Vec<u8> =
            (0..200_000_u32).flat_map(|n| n.wrapping_mul(40_503).to_string().into_bytes()).collect();
        for (coding, bytes) in compressed(&text) {
            let read = Decoded::new(coding, body(bytes.clone())).collect().await.unwrap().to_bytes();
            assert!(read == text, "{coding:?}");
            let cut = bytes.get(..bytes.len() - 9).unwrap().to_vec();
            assert!(Decoded::new(coding, body(cut)).collect().await.is_err(), "{coding:?}, cut");
            let nothing = Decoded::new(coding, body(Vec::new())).collect().await;
            assert_eq!(nothing.unwrap().to_bytes(), "", "an answer without a body");
        }
        assert!(Decoded::new(Coding::Gzip, body(b"no gzip at all".to_vec())).collect().await.is_err());
    }

    #[tokio::test]
    async fn a_decompression_bomb_ends_within_the_cap_and_a_few_kilobytes_at_a_time() {
        for (coding, bytes) in compressed(&vec![0; 64 << 20]) {
            assert!(bytes.len() < 100_000);
            let mut capped = Limited::new(Decoded::new(coding, body(bytes)), 1 << 20);
            let (mut read, mut largest) = (0, 0);
            let error = loop {
                match capped.frame().await.unwrap() {
                    Ok(frame) => {
                        let length = frame.into_data().unwrap().len();
                        (read, largest) = (read + length, largest.max(length));
                    }
                    Err(error) => break error,
                }
            };
            assert!(error.is::<http_body_util::LengthLimitError>(), "{error}");
            assert!(read <= 1 << 20 && largest <= 256 << 10, "{read} {largest}");
        }
    }

    #[test]
    fn a_coding_that_is_decoded_is_not_told_any_more_and_another_is() {
        for (told, expected) in [
            ("gzip", Some(Coding::Gzip)),
            (" X-GZIP ", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            ("br", None),
            ("gzip, gzip", None),
            ("identity", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, told.parse().unwrap());
            headers.insert(CONTENT_LENGTH, 9.into());
            assert_eq!(coding(&mut headers), expected, "{told}");
            assert_eq!(headers.is_empty(), expected.is_some(), "{told}");
        }
    }
}
