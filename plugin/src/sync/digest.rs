//! FNV-1a, to tell whether anything is other than before.

/// What was added so far, in eight bytes.
pub(crate) struct Digest(i64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0xcbf2_9ce4_8422_2325_u64.cast_signed())
    }
}

impl Digest {
    /// Of these bytes alone.
    pub(crate) fn of(bytes: &[u8]) -> i64 {
        let mut digest = Digest::default();
        digest.add(bytes);
        digest.value()
    }

    /// With the end of the bytes as a part of them.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ i64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    pub(crate) fn value(&self) -> i64 {
        self.0
    }
}
